"""The platform itself: autonomy, policies, models, the records of what was done, and what probes and scrapers see."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from agents.policies import Policies
from api import doctor
from api.store.actions import ActionLedger
from api.store.database import Database
from api.work.chores import Chore
from tests.e2e.bodies import alert, fields, group, refused
from tests.e2e.running import Platform, running, until
from tests.twins.clock import SteppedClock
from tests.work.cases import proposal, running_case
from tools.errors import TemporaryError
from tools.registry.port import Alias


async def test_the_mode_is_the_policies_until_somebody_sets_it(platform: Platform) -> None:
    assert (await platform.viewer.get("/v1/autonomy")).json() == {"mode": "propose", "actor": None, "reason": None, "at": None}
    body = {"mode": "act", "reason": "the week went well"}
    assert (await platform.approver.put("/v1/autonomy", json=body)).json()["actor"] == "some-approver"
    assert (await platform.viewer.get("/v1/autonomy")).json()["mode"] == "act"
    line = (await platform.viewer.get("/v1/audit", params={"subject": "autonomy"})).json()["items"][0]
    assert (line["actor"], line["data"]["mode"]) == ("some-approver", "act")


async def test_an_operator_throws_the_kill_switch_but_does_not_take_it_back(platform: Platform) -> None:
    off = {"mode": "observe", "reason": "something is wrong"}
    assert (await platform.operator.put("/v1/autonomy", json=off)).json()["mode"] == "observe"
    refused(await platform.operator.put("/v1/autonomy", json={"mode": "propose", "reason": "back"}), 403, "forbidden")
    refused(await platform.viewer.put("/v1/autonomy", json=off), 403, "forbidden")
    assert (await platform.approver.put("/v1/autonomy", json={"mode": "propose", "reason": "back"})).status_code == 200


async def test_a_change_of_mode_that_is_sent_again_is_one_change(platform: Platform) -> None:
    body, headers = {"mode": "observe", "reason": "drill"}, {"Idempotency-Key": "drill-1"}
    first = await platform.approver.put("/v1/autonomy", json=body, headers=headers)
    again = await platform.approver.put("/v1/autonomy", json=body, headers=headers)
    assert first.json() == again.json()
    assert len((await platform.viewer.get("/v1/audit", params={"subject": "autonomy"})).json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"mode": "off", "reason": "x"}, "mode"),
        ({"mode": "act"}, "reason"),
        ({"mode": "act", "reason": " "}, "reason"),
        ({"mode": "act", "reason": "\0"}, "reason"),
    ],
)
async def test_a_change_of_mode_says_why(platform: Platform, body: dict[str, Any], named: str) -> None:
    assert fields(refused(await platform.approver.put("/v1/autonomy", json=body), 422, "invalid")) == [named]


async def test_policies_are_shown_with_their_version(platform: Platform) -> None:
    shown = (await platform.viewer.get("/v1/policies")).json()
    assert shown["version"] == Policies().version
    assert shown["policies"]["mode"] == "propose"


@pytest.fixture
async def served(platform: Platform) -> Platform:
    for _ in range(2):
        platform.registry.publish("flights")
    await platform.registry.set_alias("flights", Alias.CHAMPION, "2", expected=None, key="k", actor="ada", reason="release")
    await platform.serving.set_weights("flights", {"2": 100}, expected_generation=0, key="k")
    return platform


async def test_a_model_is_shown_as_the_registry_and_the_gateway_have_it(served: Platform) -> None:
    assert (await served.viewer.get("/v1/models")).json() == {"items": ["flights"]}
    model = (await served.viewer.get("/v1/models/flights")).json()
    assert model["aliases"] == {"champion": "2"}
    assert [each["version"] for each in model["versions"]] == ["2", "1"]
    assert (model["route"]["weights"], model["serving_error"]) == ({"2": 100}, None)
    (move,) = (await served.viewer.get("/v1/models/flights/history")).json()["items"]
    assert (move["after"], move["actor"], move["reason"]) == ("2", "ada", "release")


async def test_which_version_was_champion_at_a_moment_is_answered(served: Platform) -> None:
    path, before = "/v1/models/flights/aliases", served.clock.now() - timedelta(hours=1)
    assert (await served.viewer.get(path)).json()["aliases"] == {"champion": "2"}
    assert (await served.viewer.get(path, params={"at": before.isoformat()})).json()["aliases"] == {}
    for wrong in ("yesterday", "2026-03-02T08:00:00", "9" * 40):
        assert fields(refused(await served.viewer.get(path, params={"at": wrong}), 422, "invalid")) == ["at"]


async def test_a_model_is_shown_without_the_gateway(served: Platform) -> None:
    served.serving.go_down()
    model = (await served.viewer.get("/v1/models/flights")).json()
    assert (model["route"], model["serving_error"]) == (None, "the gateway is down")


async def test_a_registry_that_is_away_is_503_with_the_time_to_come_back(served: Platform) -> None:
    served.registry.go_down()
    answer = await served.viewer.get("/v1/models/flights")
    refused(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("name", ["absent", "%00", "%ED%A0%80", "..%2F..", "x" * 2_000])
async def test_a_model_that_is_not_there_is_404(platform: Platform, name: str) -> None:
    refused(await platform.viewer.get(f"/v1/models/{name}"), 404, "not-found")


async def test_what_was_done_is_listed(platform: Platform) -> None:
    ledger = ActionLedger(platform.database, platform.clock)
    incident_id, run_id = await running_case(platform.database, platform.clock)
    for attempt in (1, 2):
        about = proposal(incident_id, run_id, attempt=attempt)
        await ledger.intend(about, about.state)
    await ledger.fail(f"{run_id}/1", "refused")
    first = (await platform.viewer.get("/v1/actions", params={"limit": 1})).json()
    rest = (await platform.viewer.get("/v1/actions", params={"cursor": first["next_cursor"]})).json()
    assert [(each["key"], each["state"]) for each in first["items"] + rest["items"]] == [
        (f"{run_id}/2", "intended"),
        (f"{run_id}/1", "failed"),
    ]
    failed = (await platform.viewer.get("/v1/actions", params={"state": "failed"})).json()["items"]
    assert [each["error"] for each in failed] == ["refused"]


async def test_the_audit_log_is_paged_and_proves_itself(platform: Platform) -> None:
    await platform.deliver(group(alert("a1")))
    await platform.deliver(group(alert("b1", model="fraud")))
    newest = (await platform.viewer.get("/v1/audit", params={"limit": 1})).json()
    older = (await platform.viewer.get("/v1/audit", params={"cursor": newest["next_cursor"]})).json()["items"]
    assert newest["items"][0]["previous"] == older[0]["hash"]
    theirs = (await platform.viewer.get("/v1/audit", params={"actor": "source:alertmanager", "limit": 500})).json()["items"]
    assert theirs
    proof = (await platform.viewer.get("/v1/audit/verify")).json()
    assert proof == {"ok": True, "lines": len(older) + 1, "first_bad_seq": None, "head": newest["items"][0]["hash"]}


async def test_the_process_is_alive_and_ready(platform: Platform) -> None:
    assert (await platform.anybody.get("/healthz")).json() == {"status": "ok"}
    ready = await platform.anybody.get("/readyz")
    assert ready.json() == {"ready": True, "dependencies": {"database": "ok", "registry": "ok", "serving": "ok"}, "chores": {}}


async def test_ready_does_without_what_investigations_do_without(platform: Platform) -> None:
    platform.serving.go_down()
    answer = await platform.anybody.get("/readyz")
    assert (answer.status_code, answer.json()["dependencies"]["serving"]) == (200, "does not answer")


async def _refuse() -> None:
    raise TemporaryError("postgresql://oppen:secret@db.internal refused")


async def test_not_ready_is_503_and_does_not_tell_strangers_where_things_are(database: Database, clock: SteppedClock) -> None:
    async with running(database, clock, checks={"database": _refuse}) as platform:
        answer = await platform.anybody.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "dependencies": {"database": "does not answer"}, "chores": {}}


async def test_metrics_count_what_passed_and_show_how_things_stand(platform: Platform) -> None:
    await platform.deliver(group(alert(), truncated=3))
    await platform.anybody.get("/v1/incidents/inc_1")
    text = (await platform.anybody.get("/metrics")).text
    for line in (
        'oppen_alerts_total{outcome="new",source="alertmanager"} 1.0',
        'oppen_alerts_truncated_total{source="alertmanager"} 3.0',
        'oppen_http_requests_total{method="POST",route="/v1/alerts/alertmanager",status="202"} 1.0',
        'oppen_http_requests_total{method="GET",route="/v1/incidents/{incident_id}",status="401"} 1.0',
        'oppen_incidents{status="debouncing"} 1.0',
        'oppen_runs{status="queued"} 1.0',
        "oppen_approvals_pending 0.0",
        "oppen_predictions_lag_segments 2.0",
        'oppen_run_retries_total{event="run.stuck"} 2.0',
        'oppen_rows_dropped_total{kind="moves"} 3.0',
        'oppen_source_up{source="database"} 1.0',
    ):
        assert line in text.splitlines()


async def test_a_chore_that_broke_shows_and_is_counted_until_it_is_done(database: Database, clock: SteppedClock) -> None:
    mended, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        if not mended.is_set():
            raise ZeroDivisionError("nobody foresaw it")
        done.set()

    chore = Chore("sweep", work, timedelta(milliseconds=1))
    async with running(database, clock, chores=(chore,)) as platform:

        async def state() -> str:
            ready = await platform.anybody.get("/readyz")
            assert ready.status_code == 200
            assert "foresaw" not in ready.text
            told: str = ready.json()["chores"]["sweep"]
            return told

        async def broken() -> bool:
            return await state() == "broken"

        task = asyncio.create_task(chore.forever())
        await until(broken)
        with pytest.raises(ValueError, match="in the background, sweep is broken"):
            await doctor.service(platform.url)
        mended.set()
        async with asyncio.timeout(5):
            await done.wait()
        assert await state() == "ok"
        assert "chores" in await doctor.service(platform.url)
        lines = (await platform.anybody.get("/metrics")).text.splitlines()
        assert f'oppen_chore_failures_total{{chore="sweep",kind="unexpected"}} {chore.failures["unexpected"]:.1f}' in lines
        assert 'oppen_chore_failures_total{chore="sweep",kind="temporary"} 0.0' in lines
        assert chore.failures["unexpected"] > 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def _no_lag_known() -> Any:
    raise TemporaryError("the folder is away")


async def test_metrics_are_there_when_a_source_of_them_is_not(database: Database, clock: SteppedClock) -> None:
    async with running(database, clock, lag=_no_lag_known) as platform:
        text = (await platform.anybody.get("/metrics")).text
        assert 'oppen_source_up{source="predictions"} 0.0' in text
        assert 'oppen_source_up{source="database"} 1.0' in text


def _illustrated(where: str, content: dict[str, Any], document: dict[str, Any]) -> None:
    """It has examples, and they are what the schema says."""
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    examples = [content["example"]] if "example" in content else document["components"]["schemas"].get(name, {}).get("examples")
    assert examples, where
    validator = Draft202012Validator({**content["schema"], "components": document["components"]})
    for example in examples:
        assert [error.message for error in validator.iter_errors(example)] == [], where


async def test_the_document_has_an_example_for_every_body(platform: Platform) -> None:
    document = (await platform.anybody.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _illustrated(path, content, document)
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    _illustrated(f"{path} {status}", content, document)
    assert "secret" not in json.dumps(document["components"]["schemas"]["KeyView"])
