"""Incidents with all that belongs to them, and their timeline as pages and as a live stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.store import events, incidents
from api.web.streaming import live
from tests.databases import BACKENDS
from tests.e2e.bodies import alert, fields, group, refused
from tests.e2e.running import LIMIT_S, Platform, until
from tests.work.cases import SECOND, asked, declined

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """On both databases: the order of events is theirs to keep."""
    url: str = request.getfixturevalue(f"{request.param.replace('postgresql', 'postgres')}_database_url")
    return url


@pytest.fixture
async def incident_id(platform: Platform) -> str:
    answer = await platform.deliver(group(alert()))
    return str(answer.json()["incidents"][0])


async def _tell(platform: Platform, incident_id: str, name: str) -> None:
    async with platform.database.begin() as transaction:
        events.append(transaction, incident_id, name, {"said": name}, at=platform.clock.now())


async def _close(platform: Platform, incident_id: str) -> None:
    async with platform.database.begin() as transaction:
        assert await incidents.close(transaction, incident_id, "resolved", at=platform.clock.now())
        events.append(transaction, incident_id, "incident.closed", {}, at=platform.clock.now())


class Reader:
    """What comes of a stream, block by block."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def block(self) -> dict[str, str]:
        """The next event; empty when the stream has ended."""
        block: dict[str, str] = {}
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                if not line and ("id" in block or "" in block):
                    return block
                name, _, value = line.partition(": ")
                if name in ("id", "event", "data", ""):
                    block[name] = value
        return block

    async def names(self, count: int) -> list[str]:
        return [(await self.block())["event"] for _ in range(count)]


@asynccontextmanager
async def stream(platform: Platform, incident_id: str, **headers: str) -> AsyncIterator[Reader]:
    request = {"headers": {**STREAM, **headers}, "timeout": LIMIT_S}
    async with platform.viewer.stream("GET", f"/v1/incidents/{incident_id}/events", **request) as answer:  # type: ignore[arg-type]
        yield Reader(answer)


async def test_an_incident_is_shown_with_all_that_belongs_to_it(platform: Platform) -> None:
    case = await asked(platform.database, platform.services.approvals, platform.clock)
    incident = (await platform.viewer.get(f"/v1/incidents/{case.incident_id}")).json()
    assert (incident["subject"], incident["status"]) == ("model:flights", "awaiting_approval")
    assert [each["id"] for each in incident["approvals"]] == [case.approval.id]
    assert [each["id"] for each in incident["runs"]] == [case.run_id]
    assert [each["name"] for each in incident["alerts"]] == ["ModelAccuracyLow"]
    assert incident["actions"] == []


async def test_what_ended_has_a_report_to_read(platform: Platform) -> None:
    case = await asked(platform.database, platform.services.approvals, platform.clock)
    path = f"/v1/incidents/{case.incident_id}/report"
    assert "awaiting_approval" in refused(await platform.viewer.get(path), 404, "not-found")["detail"]
    await declined(platform.database, platform.services.approvals, platform.clock, case)
    report = await platform.viewer.get(path)
    assert report.headers["content-type"].startswith("text/markdown")
    for said in ("`ModelAccuracyLow`", "version 2 is worse", "Roll flights back to version 1", "Declined. we roll forward"):
        assert said in report.text


async def test_incidents_are_filtered_and_paged(platform: Platform) -> None:
    for each in ("m1", "m2", "m3"):
        platform.clock.pass_(SECOND)
        await platform.deliver(group(alert(each, model=each)))
    newest = (await platform.viewer.get("/v1/incidents", params={"limit": 1})).json()
    await _close(platform, newest["items"][0]["id"])
    still_open = (await platform.viewer.get("/v1/incidents", params={"open": True})).json()["items"]
    assert [each["model"] for each in still_open] == ["m2", "m1"]
    rest = (await platform.viewer.get("/v1/incidents", params={"cursor": newest["next_cursor"]})).json()["items"]
    assert [each["model"] for each in rest] == ["m2", "m1"]
    assert len((await platform.viewer.get("/v1/incidents", params={"model": "m3"})).json()["items"]) == 1
    closed = (await platform.viewer.get("/v1/incidents", params={"status": "resolved"})).json()["items"]
    assert [each["model"] for each in closed] == ["m3"]


async def test_a_cursor_that_was_never_handed_out_is_named(platform: Platform) -> None:
    for path in ("incidents", "alerts", "approvals", "audit", "actions"):
        problem = refused(await platform.viewer.get(f"/v1/{path}", params={"cursor": "made-up"}), 422, "invalid")
        assert fields(problem) == ["cursor"]


async def test_what_is_not_there_is_404(platform: Platform) -> None:
    for path in ("incidents/x", "incidents/inc_" + "0" * 32, "runs/%00", "approvals/x", "incidents/x/events"):
        refused(await platform.viewer.get(f"/v1/{path}"), 404, "not-found")


async def test_the_timeline_comes_in_pages(platform: Platform, incident_id: str) -> None:
    path = f"/v1/incidents/{incident_id}/events"
    first = (await platform.viewer.get(path, params={"limit": 1})).json()
    rest = (await platform.viewer.get(path, params={"cursor": first["next_cursor"]})).json()
    assert [each["name"] for each in first["items"] + rest["items"]] == ["incident.opened", "alerts.received"]
    after = (await platform.viewer.get(path, params={"after": first["items"][0]["seq"]})).json()
    assert after == rest


async def test_a_stream_tells_what_was_and_then_what_is_and_ends_with_the_incident(
    platform: Platform, incident_id: str
) -> None:
    async with stream(platform, incident_id) as reader:
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        first = await reader.block()
        assert (first["event"], json.loads(first["data"])["seq"]) == ("incident.opened", int(first["id"]))
        assert await reader.names(1) == ["alerts.received"]
        await _tell(platform, incident_id, "run.started")
        assert await reader.names(1) == ["run.started"]
        await _close(platform, incident_id)
        assert await reader.names(1) == ["incident.closed"]
        assert await reader.block() == {}


async def test_who_comes_back_is_told_what_was_missed_once(platform: Platform, incident_id: str) -> None:
    async with stream(platform, incident_id) as reader:
        seen = (await reader.block())["id"]
    await _tell(platform, incident_id, "run.started")
    await _close(platform, incident_id)
    async with stream(platform, incident_id, **{"Last-Event-ID": seen}) as reader:
        assert await reader.names(3) == ["alerts.received", "run.started", "incident.closed"]
        assert await reader.block() == {}


async def test_who_has_seen_everything_of_a_closed_incident_is_told_to_stay_away(platform: Platform, incident_id: str) -> None:
    await _close(platform, incident_id)
    timeline = (await platform.viewer.get(f"/v1/incidents/{incident_id}/events")).json()["items"]
    async with stream(platform, incident_id, **{"Last-Event-ID": str(timeline[-1]["seq"])}) as reader:
        assert reader.answer.status_code == 204


async def test_a_last_event_id_that_is_none_is_named(platform: Platform, incident_id: str) -> None:
    headers = {**STREAM, "Last-Event-ID": "yesterday"}
    answer = await platform.viewer.get(f"/v1/incidents/{incident_id}/events", headers=headers)
    assert fields(refused(answer, 422, "invalid")) == ["last-event-id"]


async def test_a_client_that_leaves_is_forgotten(platform: Platform, incident_id: str) -> None:
    async with stream(platform, incident_id) as reader:
        await reader.names(2)
        assert platform.database.signals.listeners(incident_id) == 1

    async def forgotten() -> bool:
        return platform.database.signals.listeners(incident_id) == 0

    await until(forgotten)


async def test_a_silent_stream_shows_that_it_lives(platform: Platform, incident_id: str) -> None:
    here: Any = platform.app.state.local
    blocks = live(platform.services, here, incident_id, 0, heartbeat=SECOND / 100)
    told = [await anext(blocks) for _ in range(5)]
    assert told[0].startswith("retry:")
    assert ": still here\n\n" in told
    await blocks.aclose()  # type: ignore[attr-defined]


async def test_streams_end_when_the_process_is_told_to(platform: Platform, incident_id: str) -> None:
    async with stream(platform, incident_id) as reader:
        await reader.names(2)
        platform.app.state.local.stopping.set()
        assert await reader.block() == {}
