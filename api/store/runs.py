"""SQL about runs. Every change of state is a compare-and-set on the state it leaves, so that one of two movers wins.

A run carries the id of the event that moves it on next: `start`, `decision:{approval}`, `wake:{moment}`. The pair (run, event)
names the workflow that does it, and the runs that are `queued` are the outbox of what has to be started.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, select, update

from api.store import ids
from api.store.records import RunRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import table

START = "start"

EndStatus = Literal["completed", "failed", "cancelled"]


class Moving(NamedTuple):
    """A run that somebody moves, or moved until they died."""

    run_id: str
    event: str
    since: datetime


class Due(NamedTuple):
    run_id: str
    event: str


async def get(session: ReadSession, run_id: str) -> RunRecord | None:
    return await session.get(RunRecord, run_id) if ids.well_formed(run_id) else None


async def of_incident(session: ReadSession, incident_id: str) -> list[RunRecord]:
    """Oldest first."""
    statement = select(RunRecord).where(RunRecord.incident_id == incident_id).order_by(RunRecord.id)
    return list(await session.scalars(statement))


async def add(transaction: Transaction, rows: list[dict[str, Any]]) -> None:
    if rows:
        await transaction.execute(table(RunRecord).insert(), rows)


async def due(session: ReadSession, now: datetime, *, limit: int = 1000) -> list[Due]:
    """What is queued and whose time has come, the longest waiting first. Dispatching one twice is free."""
    statement = (
        select(RunRecord.id, RunRecord.event)
        .where(RunRecord.status == "queued", RunRecord.due_at <= now)
        .order_by(RunRecord.due_at)
        .limit(limit)
    )
    return [Due(*row) for row in await session.execute(statement)]


async def moving(session: ReadSession, *, limit: int = 1000) -> list[Moving]:
    """Those that are running, the longest first."""
    statement = (
        select(RunRecord.id, RunRecord.event, RunRecord.updated_at)
        .where(RunRecord.status == "running")
        .order_by(RunRecord.updated_at)
        .limit(limit)
    )
    return [Moving(*row) for row in await session.execute(statement)]


async def take(transaction: Transaction, run_id: str, event: str, *, at: datetime) -> bool:
    """queued -> running, for this event; False when it has moved on or is not to be done any more.

    A run that is running for this very event was left by a process that died, and is taken again.
    """
    where = (RunRecord.status.in_(("queued", "running")), RunRecord.event == event)
    return await _move(transaction, run_id, where, at, status="running", due_at=None)


async def wait_for_person(transaction: Transaction, run_id: str, interrupt_id: str, *, at: datetime) -> bool:
    """running -> waiting until somebody resumes it; False when it neither runs nor waits for something else."""
    where = (RunRecord.status.in_(("running", "waiting")),)
    return await _move(transaction, run_id, where, at, status="waiting", interrupt_id=interrupt_id, due_at=None)


async def wait_until(transaction: Transaction, run_id: str, interrupt_id: str, moment: datetime, *, at: datetime) -> bool:
    """running -> waiting until `moment`; False when it does not run."""
    where = (RunRecord.status == "running",)
    return await _move(transaction, run_id, where, at, status="waiting", interrupt_id=interrupt_id, due_at=moment)


async def wake_due(transaction: Transaction, now: datetime, *, limit: int = 1000) -> list[Due]:
    """waiting -> queued for every run whose moment has come; what is then to be dispatched."""
    ripe = (
        select(RunRecord.id, RunRecord.due_at)
        .where(RunRecord.status == "waiting", RunRecord.due_at <= now)
        .order_by(RunRecord.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    woken: list[Due] = []
    for run_id, moment in (await transaction.execute(ripe)).all():
        event = f"wake:{moment:%Y%m%dT%H%M%S.%fZ}"
        if await resume(transaction, run_id, event, at=now):
            woken.append(Due(run_id, event))
    return woken


async def resume(transaction: Transaction, run_id: str, event: str, *, at: datetime) -> bool:
    """waiting -> queued, to be moved on by `event`; False when it does not wait."""
    return await _move(transaction, run_id, (RunRecord.status == "waiting",), at, status="queued", event=event, due_at=at)


async def wake(transaction: Transaction, run_id: str, event: str, *, at: datetime) -> bool:
    """As `resume`, for one that waits for a time; False when it waits for a person, or does not wait."""
    where = (RunRecord.status == "waiting", RunRecord.due_at.is_not(None))
    return await _move(transaction, run_id, where, at, status="queued", event=event, due_at=at)


async def end(
    transaction: Transaction,
    run_id: str,
    status: EndStatus,
    *,
    at: datetime,
    outcome: str | None = None,
    error: str | None = None,
) -> bool:
    """False when it has ended before."""
    where = (RunRecord.status.in_(("queued", "running", "waiting")),)
    return await _move(transaction, run_id, where, at, status=status, outcome=outcome, error=error, due_at=None)


async def hasten(transaction: Transaction, incident_id: str, due_at: datetime, *, at: datetime) -> str | None:
    """Let the incident's run start no later than `due_at`; its id when that moved it, None when it is earlier or begun."""
    moved = await transaction.execute(
        update(RunRecord)
        .where(
            RunRecord.incident_id == incident_id,
            RunRecord.status == "queued",
            RunRecord.event == START,
            RunRecord.due_at > due_at,
        )
        .values(due_at=due_at, updated_at=at)
        .returning(RunRecord.id)
    )
    row = moved.first()
    return None if row is None else row.id


async def cancel_unstarted(transaction: Transaction, incident_ids: Collection[str], *, at: datetime) -> set[str]:
    """Cancel the runs that have not started; the incidents that this leaves without an investigation."""
    if not incident_ids:
        return set()
    cancelled = await transaction.execute(
        update(RunRecord)
        .where(RunRecord.incident_id.in_(incident_ids), RunRecord.status == "queued", RunRecord.event == START)
        .values(status="cancelled", due_at=None, updated_at=at)
        .returning(RunRecord.incident_id)
    )
    return {incident_id for (incident_id,) in cancelled}


async def _move(
    transaction: Transaction, run_id: str, where: tuple[ColumnElement[bool], ...], at: datetime, **values: Any
) -> bool:
    statement = update(RunRecord).where(RunRecord.id == run_id, *where).values(updated_at=at, **values).returning(RunRecord.id)
    return (await transaction.execute(statement)).first() is not None
