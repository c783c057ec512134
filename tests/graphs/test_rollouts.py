"""A rollout in the supervisor: stage by stage to the champion, back at once when it is worse, and out of people's way."""

from datetime import timedelta
from typing import Any

import pytest

from agents.actions import AbortRollout, NoAction, Promote, Risk, Rollback, Scale, StartRollout
from agents.guard import Bar, may_decide
from agents.policies import Freeze, Mode, Policies, Slo
from agents.promotion_rules import Guardrails, Rollouts, Stage
from agents.proposals import Edit, Reject, fingerprint
from agents.requests import Request, to_alert
from api.work.rollouts import standing_of
from graphs.context import Order
from graphs.rolling import MAX_TRIES
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, UNEXAMINED, Platform, healthy
from tests.twins.rollouts import SlowTraffic
from tests.twins.serving import TwinServing
from tools.errors import PermanentError, TemporaryError
from tools.predictions.records import PredictionRecord
from tools.registry.port import Alias
from tools.rollouts.gateway import GatewayTraffic
from tools.rollouts.port import Standing

STEP = timedelta(minutes=10)
ROLLOUTS = Rollouts(
    stages=(Stage(weight=0.1, hold=4 * HOUR), Stage(weight=0.5, hold=2 * HOUR), Stage(weight=1.0)),
    look_every=STEP,
    guardrails=Guardrails(errors=0.05, accuracy=0.05, latency=0.05),
    extend=6 * HOUR,
)
POLICIES = Policies(slo=Slo(min_accuracy=0.8), rollouts=ROLLOUTS, models=UNEXAMINED)


class Killed(BaseException):
    """Nothing that the code could catch: the process is gone."""


async def asked(**values: Any) -> Platform:
    """Somebody wants version 2 beside champion 1, and two others have approved it."""
    platform = await healthy(policies=values.pop("policies", POLICIES), **values)
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="better on the new routes")
    await platform.start(to_alert(request, "trg", platform.clock.now()))
    return platform


async def begun(**values: Any) -> Platform:
    platform = await asked(**values)
    await platform.decide(by=("alice", "bob"))
    return platform


async def roll(platform: Platform, accuracy: dict[str, float], *, most: int = 200) -> dict[str, Any]:
    """Look after look with traffic in between, until something else happens than waiting for the next look."""
    for _ in range(most):
        await platform.routed(STEP, accuracy=accuracy)
        ended: dict[str, Any] = await platform.wake()
        if "outcome" in ended or not await waits(platform):
            return ended
        if ended["rollout"].over:
            return ended
    raise AssertionError("it goes on for ever")


async def waits(platform: Platform) -> bool:
    interrupts = (await platform.graph.aget_state(platform.config)).interrupts
    return bool(interrupts) and interrupts[0].value["kind"] == "wait"


async def test_what_nobody_has_evaluated_needs_two_others() -> None:
    platform = await asked()
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert (proposal.action.version, proposal.action.from_version) == ("2", "1")
    assert proposal.action.slow_ms == 40
    assert proposal.requested_by == "carol"
    assert (await platform.waits_for("approval"))["quorum"] == 2
    assert await platform.weights() == {"1": 100}


async def test_a_challenger_that_holds_becomes_champion_stage_by_stage() -> None:
    platform = await begun()
    assert await platform.weights() == {"1": 90, "2": 10}
    assert await platform.registry.alias(MODEL, Alias.CHALLENGER) == "2"
    assert await platform.champion() == "1"
    seen = []
    for _ in range(200):
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        ended = await platform.wake()
        weights = await platform.weights()
        if weights not in seen:
            seen.append(weights)
        if ended["rollout"].over:
            break
    assert seen == [{"1": 90, "2": 10}, {"1": 50, "2": 50}, {"2": 100}]
    assert await platform.champion() == "2"
    proposal = ended["proposal"]
    assert isinstance(proposal.action, Promote)
    assert proposal.part_of == "run-1/1"
    await platform.routed(HOUR, accuracy={"2": 0.92})
    while "outcome" not in (ended := await platform.wake()):
        await platform.routed(HOUR, accuracy={"2": 0.92})
    assert ended["outcome"] == Outcome.RESOLVED
    assert any("50.0% of the traffic" in message.title for _, message, _ in platform.notify.sent)


async def test_a_challenger_that_is_worse_is_taken_back_at_the_first_stage() -> None:
    platform = await begun()
    ended = await roll(platform, {"1": 0.9, "2": 0.6})
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert ended["rollout"].stage == 0
    assert "worse" in ended["recommendation"].reason
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    await platform.routed(2 * HOUR, accuracy={"1": 0.9})
    while "outcome" not in (ended := await platform.wake()):
        await platform.routed(HOUR, accuracy={"1": 0.9})
    assert ended["outcome"] == Outcome.UNDONE


async def test_a_challenger_that_fails_with_all_the_traffic_is_taken_back_and_not_promoted() -> None:
    platform = await begun()
    while await platform.weights() != {"2": 100}:
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        await platform.wake()
    await platform.routed(STEP, accuracy={"2": 0.2})
    ended = await platform.wake()
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert "worse than the control was" in ended["recommendation"].reason
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_with_all_of_no_traffic_it_is_not_promoted_by_itself() -> None:
    platform = await begun()
    while await platform.weights() != {"2": 100}:
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        await platform.wake()
    while await waits(platform):
        await platform.wake()
    assert isinstance((await platform.proposal()).action, Promote)
    assert (await platform.waits_for("approval"))["quorum"] >= 1
    assert await platform.champion() == "1"


async def test_without_traffic_a_person_is_asked_and_a_no_takes_it_back() -> None:
    platform = await begun()
    for _ in range(200):
        await platform.wake()
        if not await waits(platform):
            break
    assert await platform.weights() == {"1": 90, "2": 10}
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert [stage.weight for stage in proposal.action.stages] == [0.5, 1.0]
    await platform.decide(Reject(reason="no traffic, no rollout"))
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_what_a_person_lets_go_on_goes_on_with_the_next_stage() -> None:
    platform = await begun()
    while await waits(platform):
        await platform.wake()
    ended = await platform.decide(by=("alice", "bob"))
    assert await platform.weights() == {"1": 50, "2": 50}
    assert (ended["rollout"].key, ended["rollout"].stage) == ("run-1/2", 0)


async def test_a_guardrail_that_policy_drops_later_still_guards_what_was_approved_with_it() -> None:
    platform = await begun()
    without = Guardrails(errors=0.05, accuracy=None, latency=None)
    platform.policies = POLICIES.model_copy(update={"rollouts": ROLLOUTS.model_copy(update={"guardrails": without})})
    ended = await roll(platform, {"1": 0.9, "2": 0.3})
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_an_approval_binds_by_what_is_judged() -> None:
    platform = await asked()
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert proposal.action.judging == ROLLOUTS.judging
    laxer = ROLLOUTS.judging.model_copy(update={"wrong_passes": 0.4})
    action = proposal.action.model_copy(update={"judging": laxer})
    assert fingerprint(action, proposal.state) != proposal.fingerprint


async def test_a_paused_rollout_stays_where_it_is_and_is_still_taken_back() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("pause", "dave", "a call")
    for _ in range(60):
        await platform.routed(STEP, accuracy={"2": 0.9})
        ended = await platform.wake()
    assert await platform.weights() == {"1": 90, "2": 10}
    assert ended["rollout"].paused_by == "dave"
    ended = await roll(platform, {"2": 0.3})
    assert await platform.weights() == {"1": 100}


async def test_an_order_to_abort_is_carried_out_in_its_givers_name() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    ended = await platform.wake()
    assert ended["proposal"].requested_by == "dave"
    assert "complaints" in ended["recommendation"].reason
    assert await platform.weights() == {"1": 100}


async def test_the_kill_switch_changes_nothing_not_even_back() -> None:
    platform = await begun()
    platform.mode = Mode.OBSERVE
    for _ in range(20):
        await platform.routed(STEP, accuracy={"2": 0.3})
        await platform.wake()
    assert await platform.weights() == {"1": 90, "2": 10}
    platform.mode = Mode.PROPOSE
    await platform.wake()
    assert await platform.weights() == {"1": 100}


async def unseen(platform: Platform, looks: int) -> None:
    """Looks without measurements, as far as the rollout goes on."""
    platform.predictions.go_down()
    for _ in range(looks):
        if (await platform.wake())["rollout"].over:
            return


async def test_a_challenger_that_nobody_sees_is_taken_back_and_people_are_told() -> None:
    platform = await begun()
    told = len(platform.notify.sent)
    looks = ROLLOUTS.extend // STEP
    await unseen(platform, looks)
    assert (await platform.weights(), len(platform.notify.sent)) == ({"1": 90, "2": 10}, told)
    ended = await platform.wake()
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert "nothing could be measured for 6 h" in ended["recommendation"].reason
    assert any("served unseen; it is being taken back" in message.title for _, message, _ in platform.notify.sent[told:])


async def test_measurements_that_come_back_in_time_let_the_rollout_go_on() -> None:
    platform = await begun()
    for _ in range(2):
        await unseen(platform, 4 * HOUR // STEP)
        platform.predictions.come_back()
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        ended = await platform.wake()
        assert (ended["rollout"].blind_since, await waits(platform)) == (None, True)
    assert await platform.weights() == {"1": 90, "2": 10}


async def test_under_the_kill_switch_people_are_told_once_that_nobody_sees_it() -> None:
    platform = await begun()
    platform.mode = Mode.OBSERVE
    told = len(platform.notify.sent)
    await unseen(platform, ROLLOUTS.extend // STEP + 5)
    assert await platform.weights() == {"1": 90, "2": 10}
    (message,) = {key: message for _, message, key in platform.notify.sent[told:]}.values()
    assert "keeps its traffic" in message.title
    platform.mode = Mode.PROPOSE
    await platform.wake()
    assert await platform.weights() == {"1": 100}
    assert any("it is being taken back" in message.title for _, message, _ in platform.notify.sent)


async def test_a_freeze_holds_it_and_still_takes_it_back() -> None:
    platform = await begun()
    now = platform.clock.now()
    platform.policies = POLICIES.model_copy(update={"freezes": (Freeze(name="sale", start=now, end=now + timedelta(days=3)),)})
    for _ in range(60):
        await platform.routed(STEP)
        await platform.wake()
    assert await platform.weights() == {"1": 90, "2": 10}
    await roll(platform, {"2": 0.3})
    assert await platform.weights() == {"1": 100}


async def test_a_route_that_somebody_changed_is_left_to_them() -> None:
    platform = await begun()
    route = await platform.serving.route(MODEL)
    await platform.serving.set_weights(MODEL, {"1": 70, "2": 30}, expected_generation=route.generation, key="by hand")
    ended = await platform.wake()
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 70, "2": 30})
    assert "theirs stands" in ended["reason"]


async def by_hand(platform: Platform) -> None:
    generation = (await platform.serving.route(MODEL)).generation
    # Past the disturbance: it is somebody else's change.
    await TwinServing.set_weights(platform.serving, MODEL, {"1": 60, "2": 40}, expected_generation=generation, key="by hand")


async def test_a_route_that_somebody_changed_before_the_receipt_is_left_to_them() -> None:
    platform = await asked()
    platform.serving.disturb.after("set_weights", lambda: by_hand(platform))
    await platform.decide(by=("alice", "bob"))
    ended = await roll(platform, {"1": 0.9, "2": 0.92})
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 60, "2": 40})
    assert "theirs stands" in ended["reason"]


async def test_a_route_that_somebody_changed_while_the_service_was_down_is_left_to_them() -> None:
    platform = await asked()

    async def die() -> None:
        await by_hand(platform)
        raise Killed

    platform.serving.disturb.after("set_weights", die)
    with pytest.raises(Killed):
        await platform.decide(by=("alice", "bob"))
    await platform.go_on()
    ended = await roll(platform, {"1": 0.9, "2": 0.92})
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 60, "2": 40})


async def test_a_champion_that_somebody_made_gets_the_traffic() -> None:
    platform = await begun()
    platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")
    ended = await platform.wake()
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert await platform.weights() == {"3": 100}
    assert "version 3 champion" in ended["recommendation"].reason


async def promoted_while(platform: Platform, happens: Any) -> dict[str, Any]:
    """To the end of a run in whose promotion, between route and alias, something happens."""
    for _ in range(200):
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        if await platform.weights() == {"2": 100}:
            platform.registry.disturb.before("set_alias", happens)
        ended: dict[str, Any] = await platform.wake()
        if "outcome" in ended:
            return ended
    raise AssertionError("it goes on for ever")


async def test_a_champion_that_somebody_made_between_route_and_alias_of_a_promotion_gets_the_traffic() -> None:
    platform = await begun()

    async def by_somebody() -> None:
        platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")

    ended = await promoted_while(platform, by_somebody)
    assert ended["outcome"] == Outcome.UNDONE
    assert (await platform.weights(), await platform.champion()) == ({"3": 100}, "3")
    (failed,) = platform.ledger.failures.values()  # type: ignore[attr-defined]
    assert "the weights are back on {'3': 100}" in failed
    assert "champion 3 instead of 1" in failed


async def test_a_champion_that_cannot_be_served_does_not_leave_the_traffic_with_the_challenger() -> None:
    platform = await begun()

    async def by_somebody() -> None:
        platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")
        platform.serving.break_version(MODEL, "3")

    ended = await promoted_while(platform, by_somebody)
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 100})
    assert "flights 3 cannot be loaded" in ended["reason"]


async def test_an_alias_that_may_not_be_moved_leaves_the_traffic_with_its_champion() -> None:
    platform = await begun()
    ended = await promoted_while(platform, PermanentError("403: not allowed"))
    assert ended["outcome"] == Outcome.UNDONE
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_one_rollout_at_a_time() -> None:
    platform = await healthy(policies=POLICIES)
    route = await platform.serving.route(MODEL)
    await platform.serving.set_weights(MODEL, {"1": 80, "3": 20}, expected_generation=route.generation, key="by hand")
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="now")
    ended = await platform.start(to_alert(request, "trg", platform.clock.now()))
    assert (ended["outcome"], "one rollout at a time" in ended["reason"]) == (Outcome.DENIED, True)


async def test_whoever_asked_for_it_does_not_approve_that_it_goes_on() -> None:
    platform = await begun()
    while await waits(platform):
        await platform.wake()
    proposal = await platform.proposal()
    assert may_decide("carol", proposal, POLICIES) is Bar.OWN_REQUEST
    assert may_decide("alice", proposal, POLICIES) is None


async def test_whoever_asked_for_it_does_not_approve_it_after_the_world_moved() -> None:
    platform = await asked()
    route = await platform.serving.route(MODEL)
    await platform.serving.set_weights(MODEL, {"1": 99, "2": 1}, expected_generation=route.generation, key="by hand")
    await platform.decide(by=("alice", "bob"))
    proposal = await platform.proposal()
    assert (proposal.id, proposal.requested_by) == ("run-1/2", "carol")
    assert may_decide("carol", proposal, POLICIES) is Bar.OWN_REQUEST


async def test_whoever_asked_for_it_does_not_approve_what_another_made_of_it() -> None:
    platform = await asked()
    action = (await platform.proposal()).action
    assert isinstance(action, StartRollout)
    slower = tuple(each.model_copy(update={"hold": 2 * each.hold}) for each in action.stages)
    await platform.decide(Edit(action=action.model_copy(update={"stages": slower})))
    proposal = await platform.proposal()
    assert proposal.requested_by == "alice"
    assert [may_decide(each, proposal, POLICIES) for each in ("alice", "carol", "bob")] == [Bar.OWN_REQUEST] * 2 + [None]


# Whatever a run comes to, the challenger does not stay half-way.


async def unclear() -> Platform:
    """Whether it goes on is asked."""
    platform = await begun()
    while await waits(platform):
        await platform.wake()
    assert await platform.weights() == {"1": 90, "2": 10}
    return platform


async def test_an_approval_under_the_kill_switch_waits_until_it_is_back() -> None:
    platform = await unclear()
    platform.mode = Mode.OBSERVE
    ended = await platform.decide(by=("alice", "bob"))
    assert "outcome" not in ended
    for _ in range(3):
        await platform.wake()
    assert (await waits(platform), await platform.weights()) == (True, {"1": 90, "2": 10})
    platform.mode = Mode.PROPOSE
    await platform.wake()
    assert isinstance((await platform.proposal()).action, StartRollout)


async def test_a_no_under_the_kill_switch_is_carried_out_when_it_is_back() -> None:
    platform = await unclear()
    platform.mode = Mode.OBSERVE
    await platform.decide(Reject(reason="no traffic"))
    await platform.wake()
    assert await platform.weights() == {"1": 90, "2": 10}
    platform.mode = Mode.PROPOSE
    ended = await platform.wake()
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_what_was_approved_and_is_frozen_meanwhile_is_taken_back() -> None:
    platform = await unclear()
    now = platform.clock.now()
    platform.policies = POLICIES.model_copy(update={"freezes": (Freeze(name="sale", start=now, end=now + timedelta(days=3)),)})
    ended = await platform.decide(by=("alice", "bob"))
    assert "sale" in ended["recommendation"].reason
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_what_too_few_have_approved_by_now_is_taken_back() -> None:
    platform = await unclear()
    ended = await platform.decide(by="alice")
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_made_into_nothing_it_is_taken_back() -> None:
    platform = await unclear()
    ended = await platform.decide(Edit(action=NoAction(reason="leave it")), by="alice")
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_made_into_something_else_that_is_done_and_it_is_taken_back() -> None:
    platform = await unclear()
    workers = (await platform.serving.capacity(MODEL)).workers
    await platform.decide(Edit(action=Scale(model=MODEL, from_workers=workers, workers=workers + 1)), by="alice")
    ended = await platform.decide(by="bob") if not await waits(platform) else await platform.wake()
    assert (await platform.serving.capacity(MODEL)).workers == workers + 1
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_a_promotion_that_cannot_be_done_is_taken_back() -> None:
    platform = await begun()
    for _ in range(200):
        if (await platform.weights()) == {"2": 100}:
            break
        await wake_with_traffic(platform, {"1": 0.9, "2": 0.92})
    platform.registry.disturb.before("set_alias", PermanentError("no right to do so"))
    ended = await roll(platform, {"2": 0.92})
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert "no right to do so" in ended["recommendation"].reason
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_a_champion_that_somebody_makes_during_the_promotion_gets_the_traffic() -> None:
    platform = await begun()
    while (await platform.weights()) != {"2": 100}:
        await wake_with_traffic(platform, {"1": 0.9, "2": 0.92})

    async def by_hand() -> None:
        platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")

    platform.registry.disturb.before("set_alias", by_hand)
    ended = await roll(platform, {"2": 0.92})
    while not ended["rollout"].over:
        ended = await platform.wake()
    assert (await platform.weights(), await platform.champion()) == ({"3": 100}, "3")


class Unsteady(GatewayTraffic):
    """Its weights are others each time that they are read, while nobody asks for others."""

    read = 0

    async def state(self, model: str) -> Standing:
        self.read += 1
        canary = 1 + self.read % 9
        return (await super().state(model)).model_copy(update={"weights": {"1": 100 - canary, "2": canary}})


async def test_a_world_that_does_not_hold_still_is_left_for_the_next_look() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.mover = Unsteady(platform.serving)
    ended = await platform.wake()
    platform.mover = None
    assert ("outcome" in ended, await waits(platform), await platform.weights()) == (False, True, {"1": 90, "2": 10})
    await platform.wake()
    assert await platform.weights() == {"1": 100}


async def test_an_order_to_abort_waits_for_the_kill_switch() -> None:
    platform = await begun()
    platform.mode = Mode.OBSERVE
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    for _ in range(3):
        ended = await platform.wake()
    assert ("outcome" in ended, await waits(platform), await platform.weights()) == (False, True, {"1": 90, "2": 10})
    platform.mode = Mode.PROPOSE
    ended = await platform.wake()
    assert ended["proposal"].requested_by == "dave"
    assert await platform.weights() == {"1": 100}


async def test_a_champion_that_somebody_made_waits_for_the_kill_switch() -> None:
    platform = await begun()
    platform.mode = Mode.OBSERVE
    platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")
    for _ in range(3):
        ended = await platform.wake()
    assert ("outcome" in ended, await waits(platform), await platform.weights()) == (False, True, {"1": 90, "2": 10})
    # Nothing was proposed that could only be refused.
    assert ended["proposal"].id == "run-1/1"
    platform.mode = Mode.PROPOSE
    await platform.wake()
    assert await platform.weights() == {"3": 100}


async def test_a_stage_that_cannot_be_begun_ends_the_rollout_not_the_run() -> None:
    platform = await begun()
    platform.serving.disturb.before("set_weights", PermanentError("version 2 cannot be loaded"))
    ended = await roll(platform, {"1": 0.9, "2": 0.92})
    assert "version 2 cannot be loaded" in ended["recommendation"].reason
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_measurements_that_cannot_be_read_end_the_rollout_not_the_run() -> None:
    platform = await begun()

    async def gone(*_: Any, **__: Any) -> Any:
        raise PermanentError("a column is gone")

    platform.predictions.tallies = gone  # type: ignore[method-assign]
    await platform.routed(STEP)
    ended = await platform.wake()
    assert "a column is gone" in ended["recommendation"].reason
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


@pytest.mark.parametrize("error", [TemporaryError("the registry is away"), PermanentError("the registry refuses")])
async def test_an_abort_needs_no_registry(error: Exception) -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")

    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    real = platform.registry.alias
    platform.registry.alias = fails  # type: ignore[method-assign]
    ended = await platform.wake()
    platform.registry.alias = real  # type: ignore[method-assign]
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    assert await platform.registry.alias(MODEL, Alias.CHALLENGER) == "2"
    action = ended["proposal"].action
    assert isinstance(action, AbortRollout)
    assert (action.blind, ended["proposal"].requested_by, ended["rollout"].over) == (True, "dave", True)
    status, reason = standing_of(ended)
    assert status == "taken_back"
    assert "dave ended it: complaints. The registry does not answer" in reason


async def test_a_challenger_that_is_worse_is_taken_back_while_the_registry_is_away() -> None:
    platform = await begun()
    platform.registry.go_down()
    for _ in range(60):
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.6})
        if (await platform.wake())["rollout"].over:
            break
    platform.registry.come_back()
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_nothing_is_brought_on_while_the_registry_is_away() -> None:
    platform = await begun()
    platform.registry.go_down()
    for _ in range(60):
        ended = await wake_with_traffic(platform, {"1": 0.9, "2": 0.92})
    assert (ended["rollout"].stage, await platform.weights()) == (0, {"1": 90, "2": 10})
    platform.registry.come_back()
    await wake_with_traffic(platform, {"1": 0.9, "2": 0.92})
    assert await platform.weights() == {"1": 50, "2": 50}


async def test_a_registry_that_goes_away_between_the_proposal_and_the_abort_does_not_keep_it_from_the_route() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    real, calls = platform.registry.alias, iter([True, True])

    async def twice(*args: Any, **values: Any) -> Any:
        if next(calls, False):
            return await real(*args, **values)
        raise TemporaryError("the registry is away")

    platform.registry.alias = twice  # type: ignore[method-assign]
    ended = await platform.wake()
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_what_cannot_be_taken_back_for_good_is_left_and_people_are_told() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")

    async def refused(_: str) -> Any:
        raise PermanentError("the gateway knows no such model")

    mover = GatewayTraffic(platform.serving)
    mover.state = refused  # type: ignore[method-assign]
    platform.mover = mover
    for _ in range(2 * MAX_TRIES):
        ended = await platform.wake()
        if "outcome" in ended:
            break
    assert ended["outcome"] == Outcome.FAILED
    assert standing_of(ended)[0] == "left"
    assert "the gateway knows no such model" in ended["reason"]
    assert platform.notify.sent[-1][2] == "run-1/closing"


async def test_what_is_refused_at_every_look_is_left_after_so_many() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.mover = Unsteady(platform.serving)
    for _ in range(MAX_TRIES):
        assert await waits(platform)
        ended = await platform.wake()
    assert ended["outcome"] == Outcome.FAILED
    assert f"in {MAX_TRIES} tries" in ended["reason"]
    assert standing_of(ended)[0] == "left"


async def test_a_registry_that_is_away_for_a_minute_is_waited_for() -> None:
    """Between the look and what it proposes."""
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    real, calls = platform.registry.alias, iter([False])

    async def away(*args: Any, **values: Any) -> Any:
        if next(calls, True):
            raise TemporaryError("the registry is away")
        return await real(*args, **values)

    platform.registry.alias = away  # type: ignore[method-assign]
    ended = await platform.wake()
    assert ("outcome" in ended, await waits(platform), await platform.weights()) == (False, True, {"1": 90, "2": 10})
    platform.registry.alias = real  # type: ignore[method-assign]
    await platform.wake()
    assert await platform.weights() == {"1": 100}


async def test_an_order_to_abort_given_while_people_are_asked_is_carried_out_when_they_say_yes() -> None:
    platform = await unclear()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    ended = await platform.decide(by=("alice", "bob"))
    assert (ended["proposal"].requested_by, ended["rollout"].key) == ("dave", "run-1/1")
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_an_order_to_abort_given_while_people_are_asked_is_why_it_is_taken_back() -> None:
    platform = await unclear()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    ended = await platform.decide(Reject(reason="expired"))
    assert (ended["proposal"].requested_by, "complaints" in ended["recommendation"].reason) == ("dave", True)
    assert await platform.weights() == {"1": 100}


async def test_an_order_holds_for_what_goes_on_under_another_proposal() -> None:
    platform = await unclear()
    ended = await platform.decide(by=("alice", "bob"))
    assert ended["rollout"].key == "run-1/2"
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    await platform.wake()
    assert await platform.weights() == {"1": 100}


# Where the traffic moves later than it is asked for.


async def slowly() -> tuple[Platform, SlowTraffic]:
    """Approved, and nothing has moved yet."""
    platform = await asked()
    platform.mover = slow = SlowTraffic(platform.serving)
    slow.patient = False
    await platform.decide(by=("alice", "bob"))
    return platform, slow


async def test_a_stages_time_begins_with_its_traffic() -> None:
    platform, slow = await slowly()
    for _ in range(12):
        await platform.routed(STEP)
        ended = await platform.wake()
    assert (ended["rollout"].moving, ended["rollout"].decision) == (True, None)
    assert await platform.weights() == {"1": 100}
    await slow.arrive(MODEL)
    ended = await platform.wake()
    moved_at = platform.clock.now()
    assert (ended["rollout"].moving, ended["rollout"].started) == (False, (moved_at,))
    await platform.routed(STEP)
    ended = await platform.wake()
    assert ended["rollout"].decision.reason.startswith("10 min of 4 h")


async def test_a_challenger_that_is_worse_is_taken_back_while_its_next_stage_is_waited_for() -> None:
    platform, slow = await slowly()
    await slow.arrive(MODEL)
    while not (ended := await wake_with_traffic(platform, {"1": 0.9, "2": 0.92}))["rollout"].moving:
        assert await platform.weights() == {"1": 90, "2": 10}
    assert ended["rollout"].stage == 1
    ended = await roll(platform, {"1": 0.9, "2": 0.3})
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert await platform.weights() == {"1": 100}


async def test_what_gives_the_rollout_up_by_itself_ends_it() -> None:
    platform, slow = await slowly()
    await slow.arrive(MODEL)
    await platform.wake()
    slow.give_up(MODEL, "1", "five checks have failed")
    ended = await platform.wake()
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert "five checks have failed" in ended["recommendation"].reason
    assert ended["rollout"].over


async def test_traffic_that_never_moves_ends_the_rollout() -> None:
    platform, _ = await slowly()
    for _ in range(200):
        if not (ended := await platform.wake())["rollout"].moving or ended["rollout"].over:
            break
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert "10.0% of the traffic was asked for" in ended["recommendation"].reason
    assert await platform.weights() == {"1": 100}


async def wake_with_traffic(platform: Platform, accuracy: dict[str, float]) -> dict[str, Any]:
    await platform.routed(STEP, accuracy=accuracy)
    ended: dict[str, Any] = await platform.wake()
    return ended


# With all the traffic.


async def promoted(**values: Any) -> Platform:
    """Version 2 has become champion, as what it answered so far asked for."""
    platform = await begun(**values)
    ended = await roll(platform, {"1": 0.9, "2": 0.92})
    assert (ended["rollout"].over, await platform.champion()) == (True, "2")
    return platform


async def verified(platform: Platform, accuracy: float) -> dict[str, Any]:
    """Looks at the new champion, until something else happens than waiting for the next."""
    for _ in range(100):
        await platform.routed(STEP, accuracy={"2": accuracy})
        ended: dict[str, Any] = await platform.wake()
        if "outcome" in ended or not await waits(platform):
            return ended
        if await platform.weights() != {"2": 100}:
            return ended
    raise AssertionError("it goes on for ever")


async def test_what_turns_bad_as_champion_is_proposed_to_be_taken_back() -> None:
    platform = await promoted()
    await verified(platform, 0.5)
    proposal = await platform.proposal()
    assert proposal.action == Rollback(model=MODEL, from_version="2", to_version="1")
    assert proposal.undo_of == "run-1/2"
    assert await platform.weights() == {"2": 100}
    await platform.decide(by=("alice", "bob"))
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_what_turns_bad_as_champion_is_taken_back_where_policy_lets_a_rollback_act() -> None:
    approval = POLICIES.approval.model_copy(update={"automatic": frozenset({Risk.LOW, Risk.MEDIUM, Risk.HIGH})})
    platform = await promoted(policies=POLICIES.model_copy(update={"approval": approval}))
    platform.mode = Mode.ACT
    await verified(platform, 0.5)
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def failing(platform: Platform, version: str, minutes: int = 10) -> None:
    """Everything that the version is asked fails."""
    start = platform.clock.now()
    platform.clock.pass_(timedelta(minutes=minutes))
    platform.predictions.add(
        PredictionRecord(
            id=f"failed-{place}",
            model=MODEL,
            version=version,
            at=int((start.timestamp() + place * 2) * 1e6),
            entity="",
            latency_us=1_000,
            features={},
            error="out of memory",
        )
        for place in range(minutes * 30)
    )


async def test_what_fails_with_all_the_traffic_never_becomes_champion() -> None:
    platform = await begun()
    while await platform.weights() != {"2": 100}:
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        await platform.wake()
    await failing(platform, "2")
    ended = await platform.wake()
    assert "The canary is worse than the control was, beyond chance: failed 100.0%" in ended["recommendation"].reason
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_without_an_answer_with_all_the_traffic_people_are_asked_before_it_is_champion() -> None:
    platform = await begun()
    while await platform.weights() != {"2": 100}:
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        await platform.wake()
    while await waits(platform):
        assert await platform.champion() == "1"
        await platform.wake()
    assert isinstance((await platform.proposal()).action, Promote)
    assert await platform.champion() == "1"


async def test_without_any_traffic_nobodys_yes_to_go_on_makes_it_champion_by_itself() -> None:
    platform = await begun()
    for stages in ((0.5, 1.0), (1.0,)):
        while await waits(platform):
            await platform.wake()
        action = (await platform.proposal()).action
        assert isinstance(action, StartRollout)
        assert tuple(stage.weight for stage in action.stages) == stages
        await platform.decide(by=("alice", "bob"))
    assert await platform.weights() == {"2": 100}
    while await waits(platform):
        assert await platform.champion() == "1"
        await platform.wake()
    assert isinstance((await platform.proposal()).action, Promote)
