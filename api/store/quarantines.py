"""Quarantines of data (`tools.quarantines.port`) in the platform's database, each change with its line of the audit log.

What overlaps what is looked up and written in one transaction, and one at a time for a model: SQLite has one writer, PostgreSQL
an advisory lock of the transaction.
"""

from collections.abc import Iterable

from sqlalchemy import select, text

from api.store import audit, ids, paging
from api.store.database import Database
from api.store.paging import Page
from api.store.records import QuarantineRecord
from api.store.sessions import ReadSession, Transaction
from tools.clock import Clock
from tools.errors import Conflict, PermanentError
from tools.quarantines.port import Quarantine
from tools.quarantines.port import ids as ids_of
from tools.values import Window

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class SqlQuarantines:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def in_force(self, model: str, window: Window | None = None) -> tuple[Quarantine, ...]:
        async with self._database.read() as session:
            return await _in_force(session, model, window)

    async def place(
        self,
        model: str,
        window: Window,
        features: tuple[str, ...],
        *,
        expected: Iterable[str],
        key: str,
        actor: str,
        reason: str,
    ) -> Quarantine:
        now = self._clock.now()
        async with self._database.begin() as transaction:
            await _alone(transaction, model)
            if (record := await _by_key(transaction, key)) is not None:
                known = _of(record)
                if (known.model, known.window, known.features) != (model, window, features):
                    raise PermanentError(f"{key} stands for another quarantine")
                return known
            there = await _in_force(transaction, model, window)
            if ids_of(there) != tuple(sorted(expected)):
                raise Conflict(f"{model}: {', '.join(ids_of(there)) or 'nothing'} is quarantined of it by now")
            record = QuarantineRecord(
                id=ids.new("qua", now),
                key=key,
                model=model,
                starts_at=window.start,
                ends_at=window.end,
                features=list(features),
                reason=reason,
                placed_by=actor,
                placed_at=now,
            )
            transaction.add(record)
            placed = _of(record)
            told = placed.model_dump(mode="json", include={"id", "window", "features", "reason"})
            audit.append(transaction, at=now, actor=actor, action="data.quarantined", subject=f"model:{model}", data=told)
        return placed

    async def release(self, quarantine: str, *, key: str, actor: str, reason: str) -> Quarantine:
        now = self._clock.now()
        async with self._database.begin() as transaction:
            record = await transaction.get(QuarantineRecord, quarantine, with_for_update=True)
            if record is None:
                raise PermanentError(f"there is no quarantine {quarantine[:64]!r}")
            if record.released_at is None:
                record.release_key, record.released_by, record.released_at, record.release_reason = key, actor, now, reason
                told = {"id": record.id, "reason": reason}
                subject = f"model:{record.model}"
                audit.append(transaction, at=now, actor=actor, action="data.released", subject=subject, data=told)
            elif record.release_key != key:
                raise Conflict(f"{quarantine} was released by {record.released_by} already")
            return _of(record)


async def get(session: ReadSession, quarantine_id: str) -> QuarantineRecord | None:
    return await session.get(QuarantineRecord, quarantine_id) if ids.well_formed(quarantine_id) else None


async def page(
    session: ReadSession, *, model: str | None, in_force: bool | None, limit: int, cursor: str | None
) -> Page[QuarantineRecord]:
    """Newest first."""
    statement = select(QuarantineRecord)
    if model is not None:
        statement = statement.where(QuarantineRecord.model == model)
    if in_force is not None:
        released = QuarantineRecord.released_at
        statement = statement.where(released.is_(None) if in_force else released.is_not(None))
    return await paging.newest_first(session, statement, QuarantineRecord.id, limit=limit, cursor=cursor)


def _of(record: QuarantineRecord) -> Quarantine:
    return Quarantine(
        id=record.id,
        model=record.model,
        window=Window(start=record.starts_at, end=record.ends_at),
        features=tuple(record.features),
        reason=record.reason,
        placed_by=record.placed_by,
        placed_at=record.placed_at,
        released_by=record.released_by,
        released_at=record.released_at,
    )


async def _in_force(session: ReadSession, model: str, window: Window | None) -> tuple[Quarantine, ...]:
    statement = select(QuarantineRecord).where(QuarantineRecord.model == model, QuarantineRecord.released_at.is_(None))
    if window is not None:
        statement = statement.where(QuarantineRecord.starts_at < window.end, QuarantineRecord.ends_at > window.start)
    found = await session.scalars(statement.order_by(QuarantineRecord.starts_at, QuarantineRecord.id))
    return tuple(_of(each) for each in found)


async def _by_key(transaction: Transaction, key: str) -> QuarantineRecord | None:
    found: QuarantineRecord | None = await transaction.scalar(select(QuarantineRecord).where(QuarantineRecord.key == key))
    return found


async def _alone(transaction: Transaction, model: str) -> None:
    if not transaction.on_sqlite:
        await transaction.execute(_LOCK, {"name": f"quarantines/{model}"})
