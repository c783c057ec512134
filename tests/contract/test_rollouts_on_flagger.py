"""Flagger beyond the port: what it is told, what others and outages do in between, and whose failure is whose."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.rollouts import LIMIT_S, MODEL, NAMESPACE, SERVICE, Moving, OnFlagger, flagger_traffic
from tests.contract.test_rollouts import PLAN, aborted, begun, given, shifted, weights
from tests.kubernetes.rights import granted
from tests.kubernetes.store import Object, Refusal, faults
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.rollouts import canaries
from tools.rollouts.canaries import GATES, RECORD
from tools.rollouts.flagger import FlaggerTraffic
from tools.rollouts.found import share_of
from tools.rollouts.port import Phase

SERVING = f"{MODEL}-serving"


async def prepared(on: OnFlagger, traffic: FlaggerTraffic) -> Moving:
    on.prepare()
    await on.phase("Initialized")
    return Moving(traffic, "flagger", no_time)


async def no_time() -> None: ...


def version(on: OnFlagger, name: str = SERVING) -> str:
    return str(on.cluster.of("ConfigMap", name, NAMESPACE)["data"]["model_version"])


def between(on: OnFlagger, command: str, plural: str, happening: Callable[[], None], times: int = 1) -> None:
    """Right before the next such calls of ours are carried out."""
    left = [times]

    def interfere(called: str, of: str, _name: str | None) -> None:
        if (called, of) == (command, plural) and left[0]:
            left[0] -= 1
            happening()

    on.cluster.server.interfere = interfere


# What it is told.


async def test_a_canary_that_is_not_there_is_made_and_begins_once_flagger_has_it_in_hand(on: OnFlagger) -> None:
    async with flagger_traffic(on, on.settings.model_copy(update={"max_latency_ms": 250.0})) as traffic:
        moving = Moving(traffic, "flagger", no_time)
        assert await weights(moving) == {"1": 100}
        await asyncio.to_thread(on.flagger.go_away)
        expected = (await traffic.state(MODEL)).token
        for _ in range(2):
            with pytest.raises(TemporaryError, match="take flights in hand first"):
                await traffic.begin(PLAN, expected=expected, key="run-1/1/stage/0")
        assert version(on) == "1", "else the new version would be taken for the primary"
        on.flagger.come_back()
        await moving.patiently(lambda: traffic.begin(PLAN, expected=expected, key="run-1/1/stage/0"))
        assert (await moving.settled()).weights == {"1": 90, "2": 10}
    canary = on.canary
    assert faults({part: value for part, value in canary.items() if part != "status"}) == []
    analysis = canary["spec"]["analysis"]
    assert (analysis["stepWeights"], analysis["threshold"], analysis["interval"]) == ([10, 50, 100], 5, "1s")
    assert "stepWeight" not in analysis, "it would override them"
    assert [hook["type"] for hook in analysis["webhooks"]] == list(GATES)
    for hook in analysis["webhooks"]:
        assert hook["metadata"] == {"model": MODEL, "rollout": "run-1/1"}
        assert hook["url"].endswith(f"/v1/hooks/flagger/{hook['type']}")
        assert f"//{NAMESPACE}.{MODEL}:{canaries.password('a key', NAMESPACE, MODEL)}@" in hook["url"]
    assert [metric["templateRef"]["name"] for metric in analysis["metrics"]] == ["oppen-error-percent", "oppen-latency-p99-ms"]
    templates = on.cluster.all("MetricTemplate", NAMESPACE)
    assert [each["spec"]["provider"]["address"] for each in templates] == ["http://prometheus:9090"] * 2


async def test_what_others_have_put_on_the_canary_stays(on: OnFlagger) -> None:
    theirs = {"name": "load-test", "type": "rollout", "url": "http://loadtester/"}
    check = {"name": "request-success-rate", "thresholdRange": {"min": 99}}
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        more = {
            "webhooks": [theirs],
            "metrics": [check],
            "stepWeight": 5,
            "alerts": [{"name": "a", "providerRef": {"name": "b"}}],
        }
        on.edit("Canary", MODEL, lambda item: item["spec"]["analysis"].update(more))
        await begun(moving)
        await aborted(moving)
        await begun(moving, PLAN.model_copy(update={"key": "run-2/1"}))
    analysis = on.canary["spec"]["analysis"]
    assert (analysis["webhooks"][0], len(analysis["webhooks"])) == (theirs, 6)
    assert (analysis["metrics"][0], len(analysis["metrics"])) == (check, 2)
    assert analysis["alerts"] == more["alerts"]
    assert "stepWeight" not in analysis
    assert on.cluster.of("ConfigMap", SERVING, NAMESPACE)["data"]["log_level"] == "info"


async def test_a_model_without_a_possible_name_says_what_to_do(on: OnFlagger) -> None:
    async with flagger_traffic(on, on.settings.model_copy(update={"canaries": {"Fraud_2": MODEL}})) as traffic:
        with pytest.raises(PermanentError, match="OPPEN_ROLLOUTS_CLUSTER"):
            await traffic.state("Fraud 3")
        assert (await traffic.state("Fraud_2")).weights == {"1": 100}
        assert traffic.is_canary("Fraud_2", MODEL)
        assert not traffic.is_canary("Fraud 3", MODEL)


async def test_the_account_needs_what_it_is_granted(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        await traffic.ping()
        moving = Moving(traffic, "flagger", no_time)
        await begun(moving)
    used = {right for token, namespace, right in on.cluster.server.used if (token, namespace) == (SERVICE, NAMESPACE)}
    assert used - granted("service") == granted("rollouts")


# What happens in between.


async def test_flaggers_own_writing_does_not_come_in_the_way(on: OnFlagger) -> None:
    def told() -> None:
        on.edit("Canary", MODEL, lambda item: item["metadata"].update(labels={"seen": "yes"}))

    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        between(on, "PATCH", "canaries", told)
        await begun(moving)
        assert on.canary["metadata"]["labels"] == {"seen": "yes"}
        assert await weights(moving) == {"1": 90, "2": 10}


async def test_what_is_written_to_all_the_time_is_tried_again_later(on: OnFlagger) -> None:
    count = iter(range(100))

    def told() -> None:
        on.edit("Canary", MODEL, lambda item: item["metadata"].update(labels={"seen": f"n{next(count)}"}))

    async with flagger_traffic(on) as traffic:
        await prepared(on, traffic)
        expected = (await traffic.state(MODEL)).token
        between(on, "PATCH", "canaries", told, times=50)
        with pytest.raises(TemporaryError, match="all the time"):
            await traffic.begin(PLAN, expected=expected, key="k")
        assert version(on) == "1"


@pytest.mark.parametrize("what", ["the canary", "the version"])
async def test_somebodys_change_in_between_is_a_conflict_and_nothing_begins(on: OnFlagger, what: str) -> None:
    def edit() -> None:
        if what == "the canary":
            on.edit("Canary", MODEL, lambda item: item["spec"]["analysis"].update(threshold=9))
        else:
            on.edit("ConfigMap", SERVING, lambda item: item["data"].update(model_version="3"))

    async with flagger_traffic(on) as traffic:
        await prepared(on, traffic)
        await asyncio.to_thread(on.flagger.go_away)
        expected = (await traffic.state(MODEL)).token
        between(on, "PATCH", "canaries" if what == "the canary" else "configmaps", edit)
        for _ in range(2):
            with pytest.raises(Conflict, match="somebody has changed"):
                await traffic.begin(PLAN, expected=expected, key="k")
        assert version(on) == ("1" if what == "the canary" else "3")


async def test_broken_off_between_the_two_it_goes_on_under_its_key(on: OnFlagger) -> None:
    def fail() -> None:
        raise Refusal(503, "ServiceUnavailable", "etcd is away")

    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        expected = (await traffic.state(MODEL)).token
        between(on, "PATCH", "configmaps", fail)
        with pytest.raises(TemporaryError, match="etcd is away"):
            await traffic.begin(PLAN, expected=expected, key="k")
        assert version(on) == "1"
        again = await traffic.begin(PLAN, expected=expected, key="k")
        assert (await moving.settled()).token == again.token
        assert await weights(moving) == {"1": 90, "2": 10}


async def test_an_edit_of_the_canary_or_of_the_version_makes_another_token(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        token = (await begun(moving)).token
        edits: tuple[tuple[str, str, Callable[[Object], Any]], ...] = (
            ("Canary", MODEL, lambda item: item["spec"]["analysis"].update(threshold=9)),
            ("Canary", MODEL, lambda item: item["metadata"]["annotations"].pop(RECORD)),
            ("ConfigMap", SERVING, lambda item: item["data"].update(log_level="debug")),
        )
        for kind, name, edit in edits:
            on.edit(kind, name, edit)
            fresh = (await traffic.state(MODEL)).token
            assert fresh != token
            with pytest.raises(Conflict):
                await traffic.shift(PLAN, 1, expected=token, key=f"{kind}/{fresh}")
            token = fresh


async def test_a_server_that_restarts_is_asked_again(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        made = await begun(moving)
        on.cluster.server.stop()
        for call in (traffic.state(MODEL), traffic.permit(MODEL), traffic.shift(PLAN, 1, expected=made.token, key="k")):
            with pytest.raises(TemporaryError):
                await call
        on.cluster.server.start()
        assert (await traffic.state(MODEL)).token == made.token
        await shifted(moving, 1)
        assert await weights(moving) == {"1": 50, "2": 50}


# Whose failure it is, and what is in force.


async def test_what_flagger_takes_back_by_itself_has_failed_and_what_failed_before_has_not(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        await begun(moving)
        on.flagger.check = lambda _: False
        await on.phase("Failed")
        standing = await traffic.state(MODEL)
        assert (standing.phase, standing.weights) == (Phase.FAILED, {"1": 100})
        assert standing.detail == "Flagger is Failed: Canary is Failed."
        assert (await aborted(moving)).phase is Phase.SETTLED
        on.flagger.check = lambda _: True
        await asyncio.to_thread(on.flagger.go_away)
        again = PLAN.model_copy(update={"key": "run-2/1", "version": "3"})
        started = await traffic.begin(again, expected=(await traffic.state(MODEL)).token, key="k")
        assert (on.canary["status"]["phase"], started.phase) == ("Failed", Phase.MOVING)
        on.flagger.come_back()
        assert (await moving.settled()).weights == {"1": 90, "3": 10}


async def test_a_promotion_is_in_force_once_the_primary_has_it(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        await begun(moving)
        await shifted(moving, 1)
        await shifted(moving, 2)
        await asyncio.to_thread(on.flagger.go_away)
        expected = (await traffic.state(MODEL)).token
        with pytest.raises(TemporaryError, match="the traffic of flights"):
            await traffic.give(MODEL, "2", expected=expected, key="k")
        on.flagger.come_back()
        await moving.patiently(lambda: traffic.give(MODEL, "2", expected=expected, key="k"))
        assert version(on, f"{SERVING}-primary") == "2"
        await on.phase("Succeeded")


async def test_a_promotion_that_was_not_begun_is_taken_back(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        await begun(moving)
        await shifted(moving, 1)
        await shifted(moving, 2)
        await asyncio.to_thread(on.flagger.go_away)
        before = await traffic.state(MODEL)
        with pytest.raises(TemporaryError):
            await traffic.give(MODEL, "2", expected=before.token, key="k")
        asked = await traffic.state(MODEL)
        back = await traffic.restore(MODEL, before.weights, expected=asked.token, key="k/back")
        again = await traffic.restore(MODEL, before.weights, expected=asked.token, key="k/back")
        assert (back.weights, again.token) == ({"2": 100}, back.token)
        permit = await traffic.permit(MODEL)
        assert permit is not None
        assert permit.ending == ""


async def test_there_is_no_way_back_to_shares(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        made = await given(moving, "2")
        with pytest.raises(PermanentError, match="no way back"):
            await traffic.restore(MODEL, {"1": 50, "2": 50}, expected=made.token, key="k")


@pytest.mark.parametrize(("phase", "error"), [("Promoting", TemporaryError), ("Progressing", Conflict)])
async def test_a_rollout_of_somebody_else_is_left_alone(on: OnFlagger, phase: str, error: type[Exception]) -> None:
    async with flagger_traffic(on) as traffic:
        await prepared(on, traffic)
        await asyncio.to_thread(on.flagger.go_away)
        on.edit("ConfigMap", SERVING, lambda item: item["data"].update(model_version="3"))
        on.say(phase=phase)
        with pytest.raises(error, match=f"{phase}|somebody else"):
            await traffic.begin(PLAN, expected=(await traffic.state(MODEL)).token, key="k")
        assert version(on) == "3"


async def test_a_suspended_canary_is_not_begun(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        await prepared(on, traffic)
        on.edit("Canary", MODEL, lambda item: item["spec"].update(suspend=True))
        with pytest.raises(PermanentError, match="suspended"):
            await traffic.begin(PLAN, expected=(await traffic.state(MODEL)).token, key="k")


async def test_a_champion_that_nobody_deployed_is_for_people(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        moving = await prepared(on, traffic)
        made = await begun(moving)
        with pytest.raises(PermanentError, match="deploy 7"):
            await moving.patiently(lambda: traffic.abort(MODEL, "7", expected=made.token, key="k"))
        assert await weights(moving) == {"1": 100}


async def test_one_read_tells_how_far_it_may_go(on: OnFlagger) -> None:
    async with flagger_traffic(on) as traffic:
        assert await traffic.permit(MODEL) is None
        moving = await prepared(on, traffic)
        assert await traffic.permit(MODEL) is None
        await begun(moving)
        async with asyncio.timeout(LIMIT_S):
            permit = await traffic.permit(MODEL)
        assert permit is not None
        assert (permit.rollout, permit.version, permit.weight, permit.asked) == ("run-1/1", "2", 10, 10)
        assert permit.untouched
        on.edit("Canary", MODEL, lambda item: item["spec"]["analysis"].update(threshold=9))
        permit = await traffic.permit(MODEL)
        assert permit is not None
        assert not permit.untouched


def test_a_canary_that_waits_for_its_promotion_keeps_its_share() -> None:
    spec = {"analysis": {"stepWeights": [10, 100]}}
    assert share_of({"spec": spec, "status": {"phase": "WaitingPromotion", "canaryWeight": 0}}) == 100
    assert share_of({"spec": spec, "status": {"phase": "Progressing", "canaryWeight": 10}}) == 10
    for phase in ("", "Initialized", "Waiting", "Promoting", "Finalising", "Succeeded", "Failed"):
        assert share_of({"spec": spec, "status": {"phase": phase, "canaryWeight": 10}}) == 0
