"""Intake: what becomes of alerts, on both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from agents.policies import Policies
from agents.requests import Request, asker_of, to_alert
from api.problems import Invalid
from api.store import alerts, audit, events, incidents, runs
from api.store.database import Database
from api.store.records import AlertRecord, AuditRecord, IncidentRecord, RunRecord
from api.work.approvals import Approvals
from api.work.intake import Intake
from api.work.progress import Progress
from tests.twins.clock import SteppedClock
from tests.work.cases import DEBOUNCE, POLICIES, SECOND, alert, begin_run, intake
from tools.errors import TemporaryError


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def desk(database: Database, clock: SteppedClock) -> Intake:
    return intake(database, clock)


async def _incidents(database: Database) -> list[IncidentRecord]:
    async with database.read() as session:
        return (await incidents.page(session)).items[::-1]


async def _alerts(database: Database) -> list[AlertRecord]:
    async with database.read() as session:
        return (await alerts.page(session)).items[::-1]


async def _run(database: Database, incident_id: str) -> RunRecord:
    async with database.read() as session:
        (run,) = await runs.of_incident(session, incident_id)
    return run


async def _told(database: Database, incident_id: str) -> list[tuple[str, dict[str, Any]]]:
    async with database.read() as session:
        return [(event.name, event.data) for event in await events.after(session, incident_id, 0)]


async def _close(
    database: Database, incident_id: str, clock: SteppedClock, status: incidents.ClosedStatus = "resolved"
) -> None:
    run = await _run(database, incident_id)
    async with database.begin() as transaction:
        await runs.end(transaction, run.id, "completed", at=clock.now())
        assert await incidents.close(transaction, incident_id, status, at=clock.now())


async def test_a_firing_alert_opens_an_incident_whose_run_waits_for_the_debounce_to_end(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    accepted = await desk.accept([alert()], actor="alertmanager")
    (incident,) = await _incidents(database)
    run = await _run(database, incident.id)
    assert (accepted.received, accepted.new, accepted.runs) == (1, 1, ())
    assert accepted.incidents == (incident.id,)
    assert (incident.subject, incident.model, incident.status) == ("model:flights", "flights", "debouncing")
    assert (run.status, run.event, run.due_at) == ("queued", "start", clock.now() + DEBOUNCE)
    assert [name for name, _ in await _told(database, incident.id)] == ["incident.opened", "alerts.received"]


async def test_a_critical_alert_is_looked_at_straight_away(database: Database, desk: Intake) -> None:
    accepted = await desk.accept([alert(severity="critical")], actor="alertmanager")
    run = await _run(database, accepted.incidents[0])
    assert accepted.runs == (run.id,)


async def test_a_critical_alert_that_joins_hastens_the_run_that_has_not_started(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a")], actor="alertmanager")
    second = await desk.accept([alert("b", severity="critical")], actor="alertmanager")
    run = await _run(database, first.incidents[0])
    assert second.incidents == first.incidents
    assert second.runs == (run.id,)
    assert run.due_at == clock.now()
    assert (await _incidents(database))[0].severity == "critical"


async def test_a_critical_alert_that_joins_a_started_run_starts_nothing(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a")], actor="alertmanager")
    run = await _run(database, first.incidents[0])
    async with database.begin() as transaction:
        assert await runs.take(transaction, run.id, runs.START, at=clock.now())
        await incidents.move(transaction, first.incidents[0], "investigating", at=clock.now())
    second = await desk.accept([alert("b", severity="critical")], actor="alertmanager")
    assert (second.incidents, second.runs) == (first.incidents, ())


async def test_a_repeat_is_counted_and_changes_nothing_else(database: Database, desk: Intake, clock: SteppedClock) -> None:
    first = await desk.accept([alert()], actor="alertmanager")
    later = clock.pass_(SECOND)
    second = await desk.accept([alert(), alert()], actor="alertmanager")
    (record,) = await _alerts(database)
    assert (second.new, second.repeated, second.incidents) == (0, 2, first.incidents)
    assert (record.deliveries, record.last_seen_at) == (3, later)
    assert len(await _incidents(database)) == 1


async def test_another_alert_of_the_subject_joins_until_the_incident_is_closed(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a")], actor="alertmanager")
    async with database.begin() as transaction:
        await incidents.move(transaction, first.incidents[0], "verifying", at=clock.now())
    second = await desk.accept([alert("b")], actor="alertmanager")
    await _close(database, first.incidents[0], clock)
    third = await desk.accept([alert("c")], actor="alertmanager")
    assert second.incidents == first.incidents
    assert third.incidents != first.incidents


async def test_alerts_of_two_models_are_two_incidents(database: Database, desk: Intake) -> None:
    accepted = await desk.accept([alert("a", model="flights"), alert("b", model="fraud")], actor="alertmanager")
    assert len(accepted.incidents) == 2
    assert {incident.model for incident in await _incidents(database)} == {"flights", "fraud"}


async def test_what_resolves_itself_within_the_debounce_is_not_investigated(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a"), alert("b")], actor="alertmanager")
    clock.pass_(SECOND)
    await desk.accept([alert("a", status="resolved")], actor="alertmanager")
    assert (await _incidents(database))[0].status == "debouncing"
    second = await desk.accept([alert("b", status="resolved")], actor="alertmanager")
    (incident,) = await _incidents(database)
    assert (second.resolved, second.incidents, second.runs) == (1, first.incidents, ())
    assert (incident.status, incident.closed_at) == ("self_resolved", clock.now())
    assert (await _run(database, incident.id)).status == "cancelled"
    assert (await _told(database, incident.id))[-1][0] == "incident.self_resolved"


async def test_what_resolves_while_it_is_investigated_stays_open(database: Database, desk: Intake, clock: SteppedClock) -> None:
    first = await desk.accept([alert()], actor="alertmanager")
    await begin_run(database, (await _run(database, first.incidents[0])).id, clock.now())
    await desk.accept([alert(status="resolved")], actor="alertmanager")
    (incident,) = await _incidents(database)
    assert incident.closed_at is None
    assert (await _told(database, incident.id))[-1][0] == "alerts.resolved"


async def test_one_post_may_mix_firing_and_resolved(database: Database, desk: Intake) -> None:
    await desk.accept([alert("a"), alert("b")], actor="alertmanager")
    mixed = await desk.accept([alert("a", status="resolved"), alert("b"), alert("c")], actor="alertmanager")
    assert (mixed.received, mixed.new, mixed.repeated, mixed.resolved) == (3, 1, 1, 1)
    assert {record.fingerprint: record.status for record in await _alerts(database)} == {
        "a": "resolved",
        "b": "firing",
        "c": "firing",
    }


async def test_a_resolved_alert_that_was_never_seen_firing_is_kept_without_an_incident(
    database: Database, desk: Intake
) -> None:
    accepted = await desk.accept([alert(status="resolved")], actor="alertmanager")
    (record,) = await _alerts(database)
    assert (accepted.resolved, accepted.incidents) == (1, ())
    assert (record.status, record.incident_id) == ("resolved", None)
    assert await _incidents(database) == []


async def test_a_firing_that_was_overtaken_by_its_resolution_does_not_reopen(database: Database, desk: Intake) -> None:
    await desk.accept([alert(status="resolved")], actor="alertmanager")
    late = await desk.accept([alert()], actor="alertmanager")
    assert (late.repeated, late.incidents) == (1, ())
    assert (await _alerts(database))[0].status == "resolved"


async def test_the_same_alert_starting_anew_is_another_alert(database: Database, desk: Intake, clock: SteppedClock) -> None:
    first = await desk.accept([alert()], actor="alertmanager")
    await desk.accept([alert(status="resolved")], actor="alertmanager")
    again = await desk.accept([alert(starts_at=clock.now())], actor="alertmanager")
    assert again.new == 1
    assert again.incidents != first.incidents


async def test_what_still_fires_some_time_after_its_incident_was_closed_opens_another(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert()], actor="alertmanager")
    await _close(database, first.incidents[0], clock)
    clock.pass_(POLICIES.verification.settle)
    within = await desk.accept([alert()], actor="alertmanager")
    clock.pass_(SECOND)
    after = await desk.accept([alert()], actor="alertmanager")
    assert within.incidents == ()
    assert len(after.incidents) == 1
    assert after.incidents != first.incidents
    name, data = (await _told(database, after.incidents[0]))[0]
    assert (name, data["recurs_from"]) == ("incident.opened", first.incidents[0])
    assert (await _alerts(database))[0].incident_id == after.incidents[0]


async def test_what_was_handed_to_people_holds_its_repeats_and_duplicates(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a")], actor="alertmanager")
    await _close(database, first.incidents[0], clock, "escalated")
    clock.pass_(POLICIES.intake.hold_escalated - SECOND)
    held = await desk.accept([alert("a"), alert("b")], actor="alertmanager")
    assert (held.incidents, held.runs) == (first.incidents, ())
    assert len(await _incidents(database)) == 1
    assert (await _told(database, first.incidents[0]))[-1][0] == "alerts.received"
    clock.pass_(SECOND)
    after = await desk.accept([alert("b")], actor="alertmanager")
    assert after.incidents != first.incidents


async def test_what_is_more_severe_than_what_people_were_handed_is_looked_at(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a")], actor="alertmanager")
    await _close(database, first.incidents[0], clock, "escalated")
    worse = await desk.accept([alert("b", severity="critical")], actor="alertmanager")
    assert worse.incidents != first.incidents
    assert len(worse.runs) == 1


async def test_what_fires_after_everything_that_people_were_handed_resolved_is_looked_at(
    database: Database, desk: Intake, clock: SteppedClock
) -> None:
    first = await desk.accept([alert("a")], actor="alertmanager")
    await _close(database, first.incidents[0], clock, "escalated")
    await desk.accept([alert("a", status="resolved")], actor="alertmanager")
    anew = await desk.accept([alert("b")], actor="alertmanager")
    assert anew.incidents != first.incidents
    assert len(await _incidents(database)) == 2


async def test_alerts_that_the_sender_left_out_are_on_the_timeline(database: Database, desk: Intake) -> None:
    accepted = await desk.accept([alert()], actor="alertmanager", truncated=7)
    assert ("alerts.truncated", {"left_out": 7}) in await _told(database, accepted.incidents[0])


async def test_an_empty_post_is_accepted_and_audited(database: Database, desk: Intake) -> None:
    accepted = await desk.accept([], actor="alertmanager")
    async with database.read() as session:
        lines = (await audit.page(session)).items
    assert (accepted.received, accepted.incidents) == (0, ())
    assert [(line.actor, line.action, line.data["received"]) for line in lines] == [("alertmanager", "alerts.accepted", 0)]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"labels": {"model": "x", "team": "a\0b"}}, "labels"),
        ({"annotations": {"summary": "\ud800"}}, "annotations"),
        ({"source": "s" * 101}, "source"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, "startsAt"),
    ],
)
async def test_what_no_database_keeps_is_refused_by_its_field(
    database: Database, desk: Intake, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await desk.accept([alert("a"), alert("b", **values)], actor="alertmanager")
    assert [error.field for error in caught.value.errors] == [f"alerts[1].{field}"]
    assert await _alerts(database) == []


async def test_the_edges_of_the_calendar_and_any_other_text_are_kept(database: Database, desk: Intake) -> None:
    odd = {"model": "flights", "note": "\\u0000 \U0001f600 ' \" \x01"}
    early, late = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
    await desk.accept([alert(labels=odd, starts_at=early, ends_at=late, name="n" * 1000)], actor="alertmanager")
    (record,) = await _alerts(database)
    assert record.labels == odd
    assert (record.starts_at.year, record.ends_at and record.ends_at.year) == (1, 9999)


async def test_two_deliveries_at_once_make_one_incident(database: Database, second: Database, clock: SteppedClock) -> None:
    desks = [intake(database, clock), intake(second, clock)]
    accepted = await asyncio.gather(
        *(desks[number % 2].accept([alert(str(number % 4))], actor="alertmanager") for number in range(40))
    )
    assert len({incident for each in accepted for incident in each.incidents}) == 1
    assert sum(each.new for each in accepted) == 4
    assert sum(each.repeated for each in accepted) == 36
    assert sorted(record.deliveries for record in await _alerts(database)) == [10, 10, 10, 10]


async def test_many_subjects_from_two_replicas_do_not_lock_each_other_out(
    database: Database, second: Database, clock: SteppedClock
) -> None:
    desks = [intake(database, clock), intake(second, clock)]
    batch = [alert(f"{model}", model=f"m{model}") for model in range(12)]
    orders = [batch, batch[::-1], batch[6:] + batch[:6]]
    accepted = await asyncio.gather(
        *(desks[number % 2].accept(orders[number % 3], actor="alertmanager") for number in range(12))
    )
    assert sum(each.new for each in accepted) == 12
    assert len(await _incidents(database)) == 12


async def test_a_thousand_alerts_are_a_handful_of_statements(sqlite_database_url: str, clock: SteppedClock) -> None:
    from sqlalchemy import event

    database = Database(sqlite_database_url)
    statements: list[str] = []

    @event.listens_for(database._writing.sync_engine, "before_cursor_execute")
    def _count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    accepted = await intake(database, clock).accept(
        [alert(str(number), model=f"m{number % 40}") for number in range(1000)], actor="alertmanager"
    )
    await database.close()
    assert (accepted.new, len(accepted.incidents)) == (1000, 40)
    assert len(statements) <= 12


async def test_a_caller_that_fails_does_not_fail_those_that_share_its_transaction(
    sqlite_database_url: str, clock: SteppedClock
) -> None:
    database = Database(sqlite_database_url)
    desk = intake(database, clock)
    # No value of the types fails on SQLite, so the table is made to refuse one.
    async with database.begin() as transaction:
        await transaction.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON alerts WHEN NEW.fingerprint = 'bad' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        )
    answers = await asyncio.gather(
        *(desk.accept([alert(name)], actor="alertmanager") for name in ("a", "bad", "b")), return_exceptions=True
    )
    stored = {record.fingerprint for record in await _alerts(database)}
    await database.close()
    assert isinstance(answers[1], Exception)
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
    assert stored == {"a", "b"}


async def test_a_caller_that_leaves_does_not_take_its_alert_with_it(database: Database, desk: Intake) -> None:
    leaving = asyncio.create_task(desk.accept([alert("a")], actor="alertmanager"))
    await asyncio.sleep(0)
    leaving.cancel()
    await desk.accept([alert("b")], actor="alertmanager")
    assert {record.fingerprint for record in await _alerts(database)} == {"a", "b"}


async def test_a_store_that_is_away_is_a_temporary_error(clock: SteppedClock) -> None:
    database = Database("postgresql://oppen@127.0.0.1:1/none")
    with pytest.raises(TemporaryError):
        await intake(database, clock).accept([alert()], actor="alertmanager")
    await database.close()


async def test_everything_that_was_accepted_is_in_the_audit_log(database: Database, desk: Intake) -> None:
    accepted = await desk.accept([alert("a"), alert("b")], actor="alertmanager")
    async with database.read() as session:
        assert (await audit.verify(session)).ok
        actions = list(await session.scalars(select(AuditRecord.action).order_by(AuditRecord.seq)))
        assert await session.scalar(select(func.count()).select_from(AlertRecord)) == 2
    assert actions == ["incident.opened", "alerts.accepted"]
    assert len(accepted.incidents) == 1


async def test_a_debounce_of_nothing_starts_at_once(database: Database, clock: SteppedClock) -> None:
    policies = Policies.model_validate({"intake": {"debounce": timedelta(0)}})
    accepted = await intake(database, clock, policies).accept([alert()], actor="alertmanager")
    assert len(accepted.runs) == 1


async def test_a_request_in_a_storm_of_alerts_is_read(database: Database, desk: Intake, clock: SteppedClock) -> None:
    storm = [alert(f"{number}", starts_at=clock.now() - timedelta(hours=2, seconds=number)) for number in range(120)]
    await desk.accept(storm, actor="alertmanager")
    request = to_alert(Request(kind="rollback", model="flights", by="ann", reason="it burns"), "k", clock.now())
    await desk.accept([request], actor="ann")
    (incident,) = await _incidents(database)
    read = await Progress(database, Approvals(database, lambda: POLICIES, clock), clock).alerts(
        await _run(database, incident.id)
    )
    assert len(read) == 100
    assert asker_of(read) == "ann"
