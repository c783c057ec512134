"""SQL about incidents. An incident is open while `closed_at` is empty; the database allows one open incident per subject."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select, update

from api.store import ids, paging
from api.store.paging import Page
from api.store.records import IncidentRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import table
from api.store.text import storable

OpenStatus = Literal["debouncing", "investigating", "awaiting_approval", "acting", "verifying"]
ClosedStatus = Literal["resolved", "escalated", "self_resolved"]


async def get(session: ReadSession, incident_id: str) -> IncidentRecord | None:
    return await session.get(IncidentRecord, incident_id) if ids.well_formed(incident_id) else None


async def get_many(session: ReadSession, incident_ids: Collection[str]) -> dict[str, IncidentRecord]:
    if not incident_ids:
        return {}
    found = await session.scalars(select(IncidentRecord).where(IncidentRecord.id.in_(incident_ids)))
    return {incident.id: incident for incident in found}


async def page(
    session: ReadSession,
    *,
    status: str | None = None,
    open_only: bool = False,
    model: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[IncidentRecord]:
    """Newest first."""
    statement = select(IncidentRecord)
    if open_only:
        statement = statement.where(IncidentRecord.closed_at.is_(None))
    for column, wanted in ((IncidentRecord.status, status), (IncidentRecord.model, model)):
        if wanted is not None:
            if not storable(wanted):
                return Page([], None)
            statement = statement.where(column == wanted)
    return await paging.newest_first(session, statement, IncidentRecord.id, limit=limit, cursor=cursor)


async def open_of(session: ReadSession, subject: str) -> IncidentRecord | None:
    """The one of this subject that is not closed."""
    statement = select(IncidentRecord).where(IncidentRecord.subject == subject, IncidentRecord.closed_at.is_(None))
    return (await session.scalars(statement)).one_or_none()


async def lock_open(transaction: Transaction, subjects: Collection[str]) -> dict[str, IncidentRecord]:
    """The open incidents of these subjects, by subject. They cannot be closed by anybody else until the commit."""
    if not subjects:
        return {}
    statement = (
        select(IncidentRecord)
        .where(IncidentRecord.subject.in_(subjects), IncidentRecord.closed_at.is_(None))
        # In one order, so that two deliveries wait for each other instead of locking each other out.
        .order_by(IncidentRecord.subject)
        .with_for_update()
    )
    return {incident.subject: incident for incident in await transaction.scalars(statement)}


async def lock(transaction: Transaction, incident_id: str) -> None:
    """Nothing joins the incident until the commit."""
    await transaction.execute(select(IncidentRecord.id).where(IncidentRecord.id == incident_id).with_for_update())


async def escalated(transaction: Transaction, subjects: Collection[str], *, since: datetime) -> dict[str, IncidentRecord]:
    """By subject, the last incident that was closed since then, where it was handed to people."""
    if not subjects:
        return {}
    statement = (
        select(IncidentRecord)
        .where(IncidentRecord.subject.in_(subjects), IncidentRecord.closed_at > since)
        .order_by(IncidentRecord.closed_at, IncidentRecord.id)
    )
    last = {incident.subject: incident for incident in await transaction.scalars(statement)}
    return {subject: incident for subject, incident in last.items() if incident.status == "escalated"}


async def add(transaction: Transaction, rows: list[dict[str, Any]]) -> None:
    """Raises Conflict when one of the subjects has an open incident by now."""
    if rows:
        await transaction.execute(table(IncidentRecord).insert(), rows)


async def move(transaction: Transaction, incident_id: str, status: OpenStatus, *, at: datetime) -> None:
    """To another stage of an open incident; a closed one stays closed."""
    await transaction.execute(
        update(IncidentRecord)
        .where(IncidentRecord.id == incident_id, IncidentRecord.closed_at.is_(None))
        .values(status=status, updated_at=at)
    )


async def describe(transaction: Transaction, incident_id: str, *, at: datetime, **values: Any) -> None:
    """Set `cause`, `summary`, `report`, `title` or `severity`."""
    await transaction.execute(update(IncidentRecord).where(IncidentRecord.id == incident_id).values(updated_at=at, **values))


async def close(transaction: Transaction, incident_id: str, status: ClosedStatus, *, at: datetime, **values: Any) -> bool:
    """Close it, with what is to be said about it; False when it was closed already."""
    closed = await transaction.execute(
        update(IncidentRecord)
        .where(IncidentRecord.id == incident_id, IncidentRecord.closed_at.is_(None))
        .values(status=status, closed_at=at, updated_at=at, **values)
        .returning(IncidentRecord.id)
    )
    return closed.first() is not None
