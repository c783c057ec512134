"""The timeline of an incident as server-sent events: what was told, and then what is being told, until it is closed."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta

from api.store import events, incidents
from api.store.sessions import ReadSession
from api.web.dependencies import Local
from api.web.services import Services
from api.web.views import EventView

HEARTBEAT = timedelta(seconds=15)
"""A comment this often keeps proxies from closing a silent stream."""
_RETRY = "retry: 2000\n\n"
"""Milliseconds after which a browser that lost the stream connects again."""


async def live(
    needs: Services, here: Local, incident_id: str, seen: int, heartbeat: timedelta = HEARTBEAT
) -> AsyncIterator[str]:
    """From after `seen`; ends after the event that closed the incident, and when the process is told to end."""
    news = events.follow(needs.database, incident_id, seen)
    ending = asyncio.ensure_future(here.stopping.wait())
    upcoming = asyncio.ensure_future(anext(news))
    try:
        yield _RETRY
        while not here.stopping.is_set():
            await asyncio.wait({upcoming, ending}, timeout=heartbeat.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            if upcoming.done():
                event = EventView.model_validate(upcoming.result())
                seen = event.seq
                yield f"id: {seen}\nevent: {event.name}\ndata: {json.dumps(event.model_dump(mode='json'))}\n\n"
                upcoming = asyncio.ensure_future(anext(news))
            elif not ending.done():
                yield ": still here\n\n"
            async with needs.database.read() as session:
                if await told(session, incident_id, seen):
                    return
    finally:
        for pending in (upcoming, ending):
            pending.cancel()
            # A generator can only be closed when nobody is waiting in it any more.
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending


async def told(session: ReadSession, incident_id: str, seen: int) -> bool:
    """Whether the incident is closed and nothing was told after `seen`."""
    incident = await incidents.get(session, incident_id)
    closed = incident is None or incident.closed_at is not None
    return closed and await events.last_seq(session, incident_id) <= seen
