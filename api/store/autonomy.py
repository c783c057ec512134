"""SQL about the autonomy mode: every change is a row, the newest holds."""

from datetime import datetime

from sqlalchemy import select

from api.store.records import AutonomyRecord
from api.store.sessions import ReadSession, Transaction


async def current(session: ReadSession) -> AutonomyRecord | None:
    """None: nobody has changed it yet, and the policies' mode holds."""
    return await session.scalar(select(AutonomyRecord).order_by(AutonomyRecord.seq.desc()).limit(1))


async def changes(session: ReadSession, *, limit: int = 50) -> list[AutonomyRecord]:
    """Newest first."""
    return list(await session.scalars(select(AutonomyRecord).order_by(AutonomyRecord.seq.desc()).limit(limit)))


async def add(transaction: Transaction, mode: str, actor: str, reason: str, *, at: datetime) -> AutonomyRecord:
    record = AutonomyRecord(mode=mode, actor=actor, reason=reason, at=at)
    transaction.add(record)
    await transaction.flush()
    return record
