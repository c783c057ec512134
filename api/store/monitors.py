"""SQL about where monitors stand: one row for each monitor of each subject, which only ever moves on."""

from datetime import datetime

from sqlalchemy import select

from agents.monitoring import Check, Standing
from api.store.records import MonitorRecord
from api.store.sessions import ReadSession, Transaction


async def of_subject(session: ReadSession, subject: str) -> dict[str, MonitorRecord]:
    """By monitor."""
    found = await session.scalars(select(MonitorRecord).where(MonitorRecord.subject == subject))
    return {each.monitor: each for each in found}


async def listing(session: ReadSession, subject: str | None = None) -> list[MonitorRecord]:
    """By subject and monitor."""
    query = select(MonitorRecord).order_by(MonitorRecord.subject, MonitorRecord.monitor)
    return list(await session.scalars(query if subject is None else query.where(MonitorRecord.subject == subject)))


async def meet(transaction: Transaction, subject: str, monitor: str, tick: datetime) -> None:
    """From the next window on it is looked at: what was before the first look is nobody's alarm."""
    if await transaction.get(MonitorRecord, (subject, monitor)) is None:
        transaction.add(MonitorRecord(subject=subject, monitor=monitor, tick=tick, bad=None, streak=0, summary=""))


async def reach(transaction: Transaction, subject: str, name: str, tick: datetime, summary: str, *, at: datetime) -> bool:
    """Of what is asked for at its moments: whether this one is new, and it stands there now."""
    record = await transaction.get(MonitorRecord, (subject, name), with_for_update=True)
    if record is None:
        values = {"tick": tick, "bad": None, "streak": 0, "summary": summary, "checked_at": at}
        transaction.add(MonitorRecord(subject=subject, monitor=name, **values))
        return True
    if record.tick >= tick:
        return False
    record.tick, record.summary, record.checked_at = tick, summary, at
    return True


async def move(
    transaction: Transaction, subject: str, check: Check, standing: Standing, tick: datetime, *, at: datetime
) -> bool:
    """Whether it moved on: another replica may have been there already."""
    record = await transaction.get(MonitorRecord, (subject, check.monitor), with_for_update=True)
    if record is None or record.tick >= tick:
        return False
    record.tick, record.bad, record.summary, record.checked_at = tick, check.bad, check.summary, at
    record.streak, record.raised_at = standing.streak, standing.raised_at
    return True
