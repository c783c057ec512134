"""How something stands as server-sent events: as it is, and then each time that it has changed, until it is over.

Unlike a timeline, states replace each other: who was away needs the last one only. So the id of an event names the state
that it tells, and whoever comes back with it is told only what is another one by now.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import structlog
from fastapi import Header, Request
from pydantic import BaseModel

from api.web.auth import CanView
from api.web.dependencies import Here, Local
from api.web.streaming import HEARTBEAT
from tools.errors import PortError

log = structlog.get_logger()

UNBUFFERED = {"X-Accel-Buffering": "no"}
STREAM = "text/event-stream"
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {STREAM: {"schema": {"type": "string"}}}},
    204: {"description": "Stream: it is over and that was told. Do not connect again."},
}
LastEventID = Annotated[
    str | None, Header(pattern="^[0-9a-f]{1,32}$", description="As browsers send it when they connect again.")
]
_RETRY = "retry: 2000\n\n"


async def watches(request: Request, here: Here, who: CanView) -> AsyncIterator[None]:
    """A seat for as long as the answer is streamed. Raises Overloaded when there is none for this principal, or for anybody."""
    if STREAM not in request.headers.get("accept", ""):
        yield
        return
    with here.seats.taken(who.key_id):
        yield


@dataclass(frozen=True)
class State:
    shown: BaseModel
    over: bool
    same: str
    """Equal for what need not be told twice."""

    @property
    def id(self) -> str:
        return hashlib.sha256(self.same.encode()).hexdigest()[:16]


async def stream(
    here: Local, name: str, states: AsyncGenerator[State], seen: str | None, heartbeat: timedelta = HEARTBEAT
) -> AsyncIterator[str]:
    """Ends after the state that is the last, when the process is told to end, and when whoever knows does not answer: then
    the client comes back, and is told so. `states` is closed with it."""
    ending = asyncio.ensure_future(here.stopping.wait())
    upcoming = asyncio.ensure_future(anext(states))
    try:
        yield _RETRY
        while not here.stopping.is_set():
            await asyncio.wait({upcoming, ending}, timeout=heartbeat.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            if not upcoming.done():
                if not ending.done():
                    yield ": still here\n\n"
                continue
            try:
                state = upcoming.result()
            except StopAsyncIteration:
                return
            except PortError as error:
                log.warning("stream.broken", what=name, reason=str(error))
                return
            if state.id != seen:
                seen = state.id
                yield f"id: {seen}\nevent: {name}\ndata: {json.dumps(state.shown.model_dump(mode='json'))}\n\n"
            if state.over:
                return
            upcoming = asyncio.ensure_future(anext(states))
    finally:
        for pending in (upcoming, ending):
            pending.cancel()
            # A generator can only be closed when nobody is waiting in it any more.
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, PortError):
                await pending
        await states.aclose()
