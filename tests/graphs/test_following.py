"""What joins an incident after its run has begun is read by somebody, on a real database."""

from typing import Any

import pytest

from agents.policies import Mode
from agents.requests import Request, to_alert
from agents.unread import MAX_RUNS
from api.store import alerts, runs
from api.store.database import Database
from api.store.records import RunRecord
from api.work.intake import Intake
from tests.graphs.platform import HOUR, MINUTE, MODEL, alert
from tests.graphs.runs import Case, opened


async def joins(case: Case, fingerprint: str, **values: Any) -> None:
    """An alert about the same model, taken in while the run is under way."""
    clock, platform = case.platform.clock, case.platform
    clock.pass_(MINUTE)
    labels = {"alertname": values.get("name", "ModelAccuracyLow"), "model": MODEL}
    content = {"fingerprint": fingerprint, "labels": labels, "starts_at": clock.now(), **values}
    await Intake(case.database, lambda: platform.policies, clock).accept([alert(clock.now(), **content)], actor="alertmanager")


async def all_runs(case: Case) -> list[RunRecord]:
    async with case.database.read() as session:
        return await runs.of_incident(session, case.incident_id)


async def read_by(case: Case) -> dict[str, str | None]:
    async with case.database.read() as session:
        return {each.fingerprint: each.read_by for each in await alerts.of_incident(session, case.incident_id)}


async def test_an_alert_that_joins_a_run_that_has_begun_gets_a_run_of_its_own(database: Database) -> None:
    case = await opened(database)
    await case.advance()
    await joins(case, "late", name="GatewayErrorsHigh", severity="critical")
    case.platform.mode = Mode.OBSERVE
    await case.decide()
    await case.advance()
    first, second = await all_runs(case)
    assert (first.status, first.outcome) == ("completed", "denied")
    assert (second.status, second.event, second.due_at) == ("queued", runs.START, case.platform.clock.now())
    assert (await case.incident()).closed_at is None
    case.run_id = case.platform.run_id = second.id
    await case.advance()
    assert await read_by(case) == {"a": first.id, "late": second.id}
    told = await case.told()
    assert (told["run.followed"], told["run.completed"]) == (1, 2)
    incident = await case.incident()
    # What the first has handed to people is theirs, whatever the second has come to.
    assert (incident.status, len(await all_runs(case))) == ("escalated", 2)


@pytest.mark.parametrize(
    "late",
    [
        {"name": "ModelAccuracyLow", "severity": "critical"},  # what was read already
        {"name": "SomebodyLooked", "severity": "info"},
        {"name": "GatewayErrorsHigh", "severity": "critical", "status": "resolved"},
    ],
)
async def test_what_says_nothing_new_opens_no_run(database: Database, late: dict[str, Any]) -> None:
    case = await opened(database)
    await case.advance()
    await joins(case, "late", **late)
    case.platform.mode = Mode.OBSERVE
    await case.decide()
    await case.advance()
    assert len(await all_runs(case)) == 1
    assert (await case.incident()).status == "escalated"


async def test_what_began_before_a_fix_that_holds_is_answered_by_it(database: Database) -> None:
    case = await opened(database)
    await case.advance()
    await joins(case, "late", name="ModelBelowSlo", severity="critical")
    await case.decide()
    await case.advance()
    case.platform.traffic("1", 3 * HOUR)
    await case.wake()
    await case.advance()
    assert [each.outcome for each in await all_runs(case)] == ["resolved"]
    assert (await case.incident()).status == "resolved"


async def test_what_begins_after_the_fix_is_not(database: Database) -> None:
    case = await opened(database)
    await case.advance()
    await case.decide()
    await case.advance()
    case.platform.traffic("1", 3 * HOUR)
    await joins(case, "late", name="GatewayErrorsHigh", severity="critical")
    await case.wake()
    await case.advance()
    assert [each.outcome for each in await all_runs(case)] == ["resolved", None]


async def test_it_does_not_go_on_for_ever(database: Database) -> None:
    case = await opened(database)
    for number in range(2 * MAX_RUNS):
        case.platform.mode = Mode.PROPOSE
        await case.advance()
        await joins(case, f"late-{number}", name=f"Alert{number}", severity="critical")
        case.platform.mode = Mode.OBSERVE
        if any(each.status == "pending" for each in await case.asked()):
            await case.decide()
            await case.advance()
        if (await case.incident()).closed_at is not None:
            break
        case.run_id = case.platform.run_id = (await all_runs(case))[-1].id
    assert len(await all_runs(case)) == MAX_RUNS
    assert ((await case.incident()).status, (await case.told())["alerts.left"]) == ("escalated", 1)


async def test_a_rollback_asked_for_as_the_run_ends_is_not_lost(database: Database) -> None:
    case = await opened(database)
    await case.advance()
    await case.decide()
    await case.advance()
    case.platform.traffic("1", 3 * HOUR)
    await case.wake()
    # Between the last look and the record of the end.
    request = Request(kind="rollback", model=MODEL, by="dave", reason="it is on fire", version="2")
    case.platform.clock.pass_(MINUTE)
    asked = to_alert(request, "trg", case.platform.clock.now())
    platform = case.platform
    await Intake(case.database, lambda: platform.policies, platform.clock).accept([asked], actor="dave")
    await case.advance()
    first, second = await all_runs(case)
    assert (first.outcome, second.status) == ("resolved", "queued")
