"""What routes are given: the services, and what this process keeps between requests. None of the latter outlives it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Query, Request

from api.problems import Overloaded, UnsupportedMedia
from api.store.paging import MAX_LIMIT
from api.web.attempts import FailedAttempts
from api.web.metrics import Metrics
from api.web.services import Services
from api.web.strangers import Strangers


class Gate:
    """Bounds what is taken at once."""

    def __init__(self, places: int, what: str = "deliveries") -> None:
        self._free = places
        self._what = what

    def __enter__(self) -> None:
        if self._free == 0:
            raise Overloaded(f"too many {self._what} at once", retry_after_s=2)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


class Seats:
    """Bounds who listens at once: all together, and each principal, so that nobody takes the seats of the others."""

    def __init__(self, seats: int, each: int) -> None:
        self._free = seats
        self._each = each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, who: str) -> Iterator[None]:
        """`who`: the id of its key. Raises Overloaded."""
        if self._taken.get(who, 0) >= self._each:
            raise Overloaded(f"{self._each} streams are open with this key already; close one", retry_after_s=_STREAM_AGAIN_S)
        if self._free == 0:
            raise Overloaded("too many streams at once", retry_after_s=_STREAM_AGAIN_S)
        self._free -= 1
        self._taken[who] += 1
        try:
            yield
        finally:
            self._free += 1
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]


_STREAMS = 200
"""Each reads its rollout or job once a second or more often, or holds two watches of the cluster, which are connections:
so many are enough for people, and still few for a store."""
_STREAMS_OF_ONE = 20
"""More than a person looks at, and ten such keys before everybody else waits."""
_STREAM_AGAIN_S = 10
"""Streams end with what they tell of: asking more often finds no seat either."""
_QUESTIONS = 4
"""About drift and quality. Each counts whole windows: more of them would take the store from investigations and monitors."""


@dataclass(frozen=True)
class Local:
    gate: Gate
    """Deliveries of known senders."""
    questions: Gate = field(default_factory=lambda: Gate(_QUESTIONS, "questions about drift and data"))
    seats: Seats = field(default_factory=lambda: Seats(_STREAMS, _STREAMS_OF_ONE))
    """Of those who follow a state or a timeline."""
    strangers: Strangers = field(default_factory=Strangers)
    metrics: Metrics = field(default_factory=Metrics)
    failures: FailedAttempts = field(default_factory=FailedAttempts)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process has been told to end: streams do not keep it waiting."""


def services(request: Request) -> Services:
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


def local(request: Request) -> Local:
    found = request.app.state.local
    assert isinstance(found, Local)
    return found


async def asks_much(here: Annotated[Local, Depends(local)]) -> AsyncIterator[None]:
    """For questions that cost the store much. Raises Overloaded when too many are asked already."""
    with here.questions:
        yield


def json_only(request: Request) -> None:
    """Raises UnsupportedMedia for a body that says it is something else than JSON."""
    said = request.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMedia(f"send application/json, not {kind[:100]!r}")


Needs = Annotated[Services, Depends(services)]
Here = Annotated[Local, Depends(local)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before; leave it out to start.")]
