"""SQL about alerts: one row for each (source, fingerprint, start), however often it is delivered."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, select, tuple_
from sqlalchemy import update as sql_update

from agents.alerts import Alert
from agents.requests import SOURCE
from api.store import paging
from api.store.paging import Page
from api.store.records import AlertRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import table
from api.store.text import storable

_CHUNK = 2000
"""Identities in one query: three parameters each, and a driver takes some 32,000."""


class Identity(NamedTuple):
    source: str
    fingerprint: str
    starts_at: datetime


async def find(session: ReadSession, identities: Collection[Identity]) -> dict[Identity, AlertRecord]:
    found: dict[Identity, AlertRecord] = {}
    wanted = list(identities)
    key = tuple_(AlertRecord.source, AlertRecord.fingerprint, AlertRecord.starts_at)
    for start in range(0, len(wanted), _CHUNK):
        for record in await session.scalars(select(AlertRecord).where(key.in_(wanted[start : start + _CHUNK]))):
            found[Identity(record.source, record.fingerprint, record.starts_at)] = record
    return found


async def add(transaction: Transaction, rows: list[dict[str, Any]]) -> None:
    """Raises Conflict when one of them was added by somebody else meanwhile."""
    if rows:
        await transaction.execute(table(AlertRecord).insert(), rows)


async def update(transaction: Transaction, rows: list[dict[str, Any]]) -> None:
    """`rows`: id, status, ends_at, incident_id, last_seen_at, and in `more` the deliveries to add."""
    if not rows:
        return
    alerts = table(AlertRecord)
    statement = (
        alerts.update()
        .where(alerts.c.id == bindparam("id_"))
        .values(
            status=bindparam("status"),
            ends_at=bindparam("ends_at"),
            incident_id=bindparam("incident_id"),
            # What joins another incident is read there by nobody yet.
            read_by=case((alerts.c.incident_id == bindparam("incident_id"), alerts.c.read_by), else_=None),
            last_seen_at=bindparam("last_seen_at"),
            deliveries=alerts.c.deliveries + bindparam("more"),
        )
    )
    # One order for everybody, so that two deliveries of the same alerts wait for each other and do not lock each other out.
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    await transaction.execute(statement, [{"id_": row["id"], **{k: v for k, v in row.items() if k != "id"}} for row in ordered])


async def of_incident(session: ReadSession, incident_id: str, *, limit: int | None = None) -> list[AlertRecord]:
    """Oldest first."""
    statement = select(AlertRecord).where(AlertRecord.incident_id == incident_id)
    return list(await session.scalars(statement.order_by(AlertRecord.starts_at, AlertRecord.id).limit(limit)))


async def read(transaction: Transaction, incident_id: str, run_id: str, *, limit: int) -> list[AlertRecord]:
    """What the run is about: of all that no run of the incident has read before, the newest requests of people and the oldest
    of what goes wrong, `limit` together, oldest first. A storm repeats itself, a person does not. Repeated, it is the same and
    what has come since."""
    fresh = (AlertRecord.incident_id == incident_id, AlertRecord.read_by.is_(None))
    await transaction.execute(sql_update(AlertRecord).where(*fresh).values(read_by=run_id))
    mine = select(AlertRecord).where(AlertRecord.incident_id == incident_id, AlertRecord.read_by == run_id)
    asked = mine.where(AlertRecord.source == SOURCE).order_by(AlertRecord.starts_at.desc(), AlertRecord.id.desc())
    requests = list(await transaction.scalars(asked.limit(limit)))
    others = mine.where(AlertRecord.source != SOURCE).order_by(AlertRecord.starts_at, AlertRecord.id)
    found = [*requests, *await transaction.scalars(others.limit(limit - len(requests)))]
    return sorted(found, key=lambda record: (record.starts_at, record.id))


async def unread(session: ReadSession, incident_id: str) -> list[AlertRecord]:
    """Those that fire and that no run of the incident has read, oldest first."""
    statement = select(AlertRecord).where(
        AlertRecord.incident_id == incident_id, AlertRecord.read_by.is_(None), AlertRecord.status == "firing"
    )
    return list(await session.scalars(statement.order_by(AlertRecord.starts_at, AlertRecord.id)))


async def mark_read(transaction: Transaction, alert_ids: Collection[str], run_id: str) -> None:
    if alert_ids:
        await transaction.execute(sql_update(AlertRecord).where(AlertRecord.id.in_(alert_ids)).values(read_by=run_id))


async def firing(session: ReadSession, incident_ids: Collection[str]) -> set[str]:
    """Those of the incidents that an alert still fires in."""
    if not incident_ids:
        return set()
    statement = (
        select(AlertRecord.incident_id)
        .where(AlertRecord.incident_id.in_(incident_ids), AlertRecord.status == "firing")
        .distinct()
    )
    return {incident_id for incident_id in await session.scalars(statement) if incident_id is not None}


async def page(
    session: ReadSession,
    *,
    status: str | None = None,
    incident_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[AlertRecord]:
    """Newest first."""
    statement = select(AlertRecord)
    for column, wanted in ((AlertRecord.status, status), (AlertRecord.incident_id, incident_id)):
        if wanted is not None:
            if not storable(wanted):
                return Page([], None)
            statement = statement.where(column == wanted)
    return await paging.newest_first(session, statement, AlertRecord.id, limit=limit, cursor=cursor)


def to_alert(record: AlertRecord) -> Alert:
    """The alert as it was first delivered, with its present status."""
    return Alert.model_validate(
        {
            "source": record.source,
            "fingerprint": record.fingerprint,
            "status": record.status,
            "name": record.name,
            "severity": record.severity,
            "labels": record.labels,
            "annotations": record.annotations,
            "starts_at": record.starts_at,
            "ends_at": record.ends_at,
            "group_key": record.group_key,
            "link": record.link,
        }
    )
