"""Alerts over HTTP: who may post, what is taken, and that what is refused leaves nothing behind."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.store.database import Database
from tests.e2e.bodies import CAPTURES, alert, captured, fields, group, refused, signed
from tests.e2e.running import Platform, running, until
from tests.twins.clock import SteppedClock
from tests.work.cases import asked
from tools.errors import TemporaryError

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "alertmanager.json"
GENERIC = {"name": "nightly check failed", "starts_at": "2026-03-02T08:00:00Z", "model": "flights"}


async def _stored(platform: Platform) -> int:
    return await platform.count("alerts") + await platform.count("incidents") + await platform.count("audit")


async def test_202_says_what_became_of_the_alerts_and_it_is_there(platform: Platform) -> None:
    answer = await platform.deliver(group(alert("a1"), alert("a2"), alert("b", model="fraud")))
    assert answer.status_code == 202
    accepted = answer.json()
    assert (accepted["received"], accepted["new"], len(accepted["incidents"])) == (3, 3, 2)
    incidents = (await platform.viewer.get("/v1/incidents")).json()["items"]
    assert {each["id"] for each in incidents} == set(accepted["incidents"])


@pytest.mark.parametrize("name", CAPTURES)
async def test_what_alertmanager_really_posts_is_taken(platform: Platform, name: str) -> None:
    body = captured(name)
    answer = await platform.deliver(body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["received"] == len(body["alerts"])


async def test_the_example_in_the_documentation_is_taken(platform: Platform) -> None:
    answer = await platform.deliver(json.loads(EXAMPLE.read_text()))
    assert (answer.status_code, answer.json()["new"]) == (202, 1)


async def test_a_delivery_that_is_repeated_stores_nothing_new(platform: Platform) -> None:
    await platform.deliver(group(alert()))
    again = await platform.deliver(group(alert()))
    assert (again.json()["new"], again.json()["repeated"]) == (0, 1)
    (stored,) = (await platform.viewer.get("/v1/alerts")).json()["items"]
    assert stored["deliveries"] == 2


async def test_a_critical_alert_has_its_run_dispatched(platform: Platform) -> None:
    answer = await platform.deliver(group(alert(severity="critical")))
    incident = (await platform.viewer.get(f"/v1/incidents/{answer.json()['incidents'][0]}")).json()
    assert platform.dispatches.runs == [incident["runs"][0]["id"]]


async def test_an_engine_that_is_away_does_not_fail_a_delivery_that_is_on_disk(platform: Platform) -> None:
    platform.dispatches.failure = TemporaryError("the engine's database is locked")
    answer = await platform.deliver(group(alert(severity="critical")))
    assert answer.status_code == 202
    assert await platform.count("incidents") == 1


async def test_grafana_posts_with_a_password(platform: Platform) -> None:
    body = {**group(alert()), "version": "1", "orgId": 1, "state": "alerting"}
    answer = await platform.anybody.post("/v1/alerts/grafana", json=body, auth=("grafana", "secret"))
    assert answer.status_code == 202
    wrong = await platform.anybody.post("/v1/alerts/grafana", json=body, auth=("grafana", "wrong"))
    refused(wrong, 401, "unauthenticated")
    assert wrong.headers["www-authenticate"] == 'Basic realm="oppen"'


EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/monitors",
    "type": "model.accuracy.low",
    "time": "2026-03-02T08:00:00Z",
    "data": {"model": "flights"},
}


async def _post_event(platform: Platform, body: Any, timestamp: int | None = None, **headers: str) -> httpx.Response:
    content = json.dumps(body).encode()
    proof = signed("a shared key", content, timestamp or int(platform.clock.now().timestamp()))
    return await platform.anybody.post("/v1/alerts/cloudevents", content=content, headers={**proof, **headers})


async def test_cloudevents_come_structured_in_batches_and_binary(platform: Platform) -> None:
    structured = {"Content-Type": "application/cloudevents+json"}
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    binary = {f"ce-{name}": str(value) for name, value in EVENT.items() if name != "data"}
    assert (await _post_event(platform, EVENT, **structured)).json()["new"] == 1
    assert (await _post_event(platform, [EVENT, {**EVENT, "type": "other"}], **batch)).json()["new"] == 1
    assert (await _post_event(platform, {"model": "flights"}, **binary)).json()["repeated"] == 1


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_signature_of_another_time_is_refused(platform: Platform, minutes: int) -> None:
    then = int((platform.clock.now() + timedelta(minutes=minutes)).timestamp())
    refused(await _post_event(platform, EVENT, timestamp=then), 401, "unauthenticated")
    assert await _stored(platform) == 0


async def test_a_signature_covers_the_body(platform: Platform) -> None:
    headers = signed("a shared key", b"{}", int(platform.clock.now().timestamp()))
    answer = await platform.anybody.post("/v1/alerts/cloudevents", content=json.dumps(EVENT), headers=headers)
    refused(answer, 401, "unauthenticated")


async def test_github_signs_the_body_alone(platform: Platform) -> None:
    content = json.dumps(GENERIC).encode()
    good = signed("another shared key", content)
    assert (await platform.anybody.post("/v1/alerts/generic", content=content, headers=good)).status_code == 202
    wrong = signed("not the key", content)
    refused(await platform.anybody.post("/v1/alerts/generic", content=content, headers=wrong), 401, "unauthenticated")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xe9"},
    ],
)
async def test_who_does_not_prove_to_be_the_source_is_refused(platform: Platform, headers: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = await platform.anybody.post("/v1/alerts/alertmanager", json=group(alert()), headers=raw)  # type: ignore[arg-type]
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="oppen"'
    assert await _stored(platform) == 0


async def test_an_api_key_is_no_credential_of_a_source(platform: Platform) -> None:
    refused(await platform.admin.post("/v1/alerts/alertmanager", json=group(alert())), 401, "unauthenticated")


async def test_a_source_without_credentials_cannot_post(database: Database, clock: SteppedClock) -> None:
    async with running(database, clock, senders={}) as platform:
        refused(await platform.deliver(group(alert())), 401, "unauthenticated")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 20_000, b'{"a": ' + b"9" * 10_000 + b"}"])
async def test_what_is_no_json_is_400_and_nothing_is_stored(platform: Platform, body: bytes) -> None:
    refused(await platform.deliver(body), 400, "malformed")
    assert await _stored(platform) == 0


async def test_what_is_wrong_is_named_by_its_path_all_at_once_and_nothing_is_stored(platform: Platform) -> None:
    body = group(alert("good"), {**alert(), "startsAt": "yesterday"}, {**alert(), "status": "perhaps"})
    problem = refused(await platform.deliver(body), 422, "invalid")
    assert fields(problem) == ["alerts[1].startsAt", "alerts[2].status"]
    assert await _stored(platform) == 0


async def test_a_field_name_that_is_no_unicode_can_be_spoken_of(platform: Platform) -> None:
    body = group({**alert(), "labels": {"\ud800": 3}})
    problem = refused(await platform.deliver(body), 422, "invalid")
    assert "labels" in fields(problem)[0]


async def test_another_format_is_415(platform: Platform) -> None:
    answer = await platform.deliver(b"status=firing", headers={"Content-Type": "application/x-www-form-urlencoded"})
    refused(answer, 415, "unsupported-media-type")
    assert await _stored(platform) == 0


async def test_too_much_is_413_whether_or_not_it_says_so(platform: Platform) -> None:
    body = json.dumps(group({**alert(), "annotations": {"summary": "x" * 70_000}})).encode()

    async def in_pieces() -> Any:
        for start in range(0, len(body), 8_192):
            yield body[start : start + 8_192]

    headers = {"Authorization": "Bearer a-token-of-alertmanager", "Content-Type": "application/json"}
    refused(await platform.deliver(body), 413, "too-large")
    refused(await platform.anybody.post("/v1/alerts/alertmanager", content=in_pieces(), headers=headers), 413, "too-large")
    assert await _stored(platform) == 0


async def test_overload_is_503_with_the_time_to_come_back_and_passes(platform: Platform) -> None:
    platform.dispatches.free.clear()
    bodies = [group(alert(name, model=name, severity="critical")) for name in ("first", "second")]
    held = [asyncio.create_task(platform.deliver(body)) for body in bodies]

    async def full() -> bool:
        return await platform.count("incidents") == 2

    await until(full)
    answer = await platform.deliver(group(alert("late", model="late")))
    refused(answer, 503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    platform.dispatches.free.set()
    assert [each.status_code for each in await asyncio.gather(*held)] == [202, 202]
    assert (await platform.deliver(group(alert("late", model="late")))).status_code == 202


async def test_alerts_are_paged_and_filtered(platform: Platform) -> None:
    await platform.deliver(group(*(alert(f"f{each}") for each in range(5)), alert("r", status="resolved")))
    first = (await platform.viewer.get("/v1/alerts", params={"status": "firing", "limit": 3})).json()
    rest = (await platform.viewer.get("/v1/alerts", params={"status": "firing", "cursor": first["next_cursor"]})).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 2, None)
    incident = first["items"][0]["incident_id"]
    assert len((await platform.viewer.get("/v1/alerts", params={"incident_id": incident})).json()["items"]) == 5
    assert (await platform.viewer.get("/v1/alerts", params={"incident_id": "\0"})).json()["items"] == []


async def _allow(database: Database, more_pages: int) -> None:
    """Of the disk, for the database: so many pages more than it needs. A quota of its one writing connection."""
    async with database.begin() as transaction:
        free = await transaction.scalar(text("PRAGMA freelist_count"))
        await transaction.execute(text("CREATE TABLE IF NOT EXISTS ballast (content BLOB)"))
        await transaction.execute(text(f"INSERT INTO ballast VALUES (zeroblob({4096 * free}))"))
    async with database.begin() as transaction:
        pages = await transaction.scalar(text("PRAGMA page_count"))
        await transaction.execute(text(f"PRAGMA max_page_count = {pages + more_pages}"))


async def test_a_full_disk_is_503_keeps_nothing_half_and_is_over_when_there_is_room(platform: Platform) -> None:
    many = group(*(alert(f"a{number}", model=f"model-{number}") for number in range(100)))
    await _allow(platform.database, 2)
    problem = refused(await platform.deliver(many), 503, "unavailable")
    assert "model-" not in problem["detail"]
    assert await _stored(platform) == 0
    assert platform.dispatches.runs == []
    assert (await platform.viewer.get("/v1/audit/verify")).json()["ok"] is True
    await _allow(platform.database, 10_000)
    assert (await platform.deliver(many)).status_code == 202
    assert [await platform.count(what) for what in ("alerts", "incidents")] == [100, 100]


async def test_on_a_full_disk_a_decision_is_not_taken_and_can_be_made_again(platform: Platform) -> None:
    question = await asked(platform.database, platform.services.approvals, platform.clock)
    path = f"/v1/approvals/{question.approval.id}/decision"
    # Long enough to need pages of its own.
    no = {"decision": "reject", "reason": "нет " * 500, "fingerprint": question.approval.fingerprint}
    await _allow(platform.database, 0)
    answer = await platform.approver.post(path, json=no, headers={"Idempotency-Key": "k1"})
    refused(answer, 503, "unavailable")
    assert (await platform.viewer.get(f"/v1/approvals/{question.approval.id}")).json()["status"] == "pending"
    assert platform.dispatches.runs == []
    await _allow(platform.database, 10_000)
    answer = await platform.approver.post(path, json=no, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["approval"]["status"]) == (200, "rejected")
    assert platform.dispatches.runs == [question.run_id]
