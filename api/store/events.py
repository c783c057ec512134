"""The timeline of an incident: what happened, in the order in which it was committed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from api.store import paging
from api.store.database import Database
from api.store.paging import Page
from api.store.records import EventRecord
from api.store.sessions import EventDraft, ReadSession, Transaction

_POLL = timedelta(seconds=1)
"""How late an event of another replica may be seen; those of this process wake their readers at once."""

_BATCH = 500


def append(
    transaction: Transaction,
    incident_id: str,
    name: str,
    data: Mapping[str, Any],
    *,
    at: datetime,
    run_id: str | None = None,
    key: str | None = None,
) -> None:
    """Tell an event with this transaction. With a `key` it is told once, however often the step that tells it is repeated."""
    transaction.journal.events.append(EventDraft(incident_id, run_id, name, key, dict(data), at))


async def after(session: ReadSession, incident_id: str, seq: int, *, limit: int = _BATCH) -> list[EventRecord]:
    statement = select(EventRecord).where(EventRecord.incident_id == incident_id, EventRecord.seq > seq)
    return list(await session.scalars(statement.order_by(EventRecord.seq).limit(limit)))


async def page(session: ReadSession, incident_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[EventRecord]:
    """Oldest first."""
    statement = select(EventRecord).where(EventRecord.incident_id == incident_id)
    return await paging.by_seq(session, statement, EventRecord.seq, limit=limit, cursor=cursor)


async def of_key(session: ReadSession, key: str) -> EventRecord | None:
    """What was told under that key; None: nothing yet."""
    found = await session.scalars(select(EventRecord).where(EventRecord.key == key))
    return found.one_or_none()


async def last_seq(session: ReadSession, incident_id: str) -> int:
    """0 when nothing was told yet."""
    return await session.scalar(select(func.max(EventRecord.seq)).where(EventRecord.incident_id == incident_id)) or 0


async def follow(
    database: Database, incident_id: str, after_seq: int, *, poll: timedelta = _POLL
) -> AsyncIterator[EventRecord]:
    """What was told after `after_seq`, and then, for as long as it is iterated, what is being told.

    None is left out and none comes twice, because `seq` is given in the order of commits (see `api/store/journal.py`).
    """
    with database.signals.listen(incident_id) as news:
        while True:
            news.clear()
            async with database.read() as session:
                fresh = await after(session, incident_id, after_seq)
            for event in fresh:
                yield event
                after_seq = event.seq
            if not fresh:
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), poll.total_seconds())
