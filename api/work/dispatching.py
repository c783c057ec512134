"""From a row that says "to be moved on" to a workflow that moves it.

The runs table is the outbox. Whoever commits a run as `queued` asks for its dispatch right after the commit; the sweep asks
again for whatever is due. Asking twice is free, so a crash between the commit and the first asking loses nothing.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Protocol

import structlog

from api.store import runs
from api.store.database import Database
from api.work.approvals import Approvals
from tools.clock import Clock
from tools.errors import TemporaryError

log = structlog.get_logger()

_PATIENCE = timedelta(minutes=1)
"""A move says in the run's row that it begins, ends or fails; the longest that is silent is one that cannot be proposed."""


class Mover(Protocol):
    """What has a run moved on, durably: the engine."""

    async def dispatch(self, run_id: str, event: str, *, again: str = "") -> None:
        """Repeating it is free. With `again` it is another move by the same event, for one whose mover has died."""
        ...


class Dispatcher:
    def __init__(self, database: Database, engine: Mover) -> None:
        self._database = database
        self._engine = engine

    async def dispatch(self, run_id: str) -> None:
        """Have the run moved on by the event it is queued for, if it still is."""
        async with self._database.read() as session:
            run = await runs.get(session, run_id)
        if run is not None and run.status == "queued":
            await self._engine.dispatch(run_id, run.event)


class Sweep:
    """Looks for what has fallen due: runs to start or to wake, questions that nobody answered in time, and runs that whoever
    moved them has left behind: an engine goes on with its own moves after a crash, but not with those of a replica that never
    comes back."""

    def __init__(
        self, database: Database, engine: Mover, approvals: Approvals, clock: Clock, *, patience: timedelta = _PATIENCE
    ) -> None:
        self._database = database
        self._engine = engine
        self._approvals = approvals
        self._clock = clock
        self._patience_s = patience.total_seconds()
        self._moving: dict[runs.Moving, float] = {}
        """When each was first seen as it stands. In real seconds: it is processes that die, whatever the clock says."""

    @property
    def parts(self) -> dict[str, Callable[[], Awaitable[int]]]:
        """Name -> a chore that says how many it found. Each is done by itself: one that fails keeps no other waiting."""
        return {"expire": self.expire, "wake": self.wake, "dispatch": self.dispatch, "take over": self.take_over}

    async def expire(self) -> int:
        return len(await self._approvals.expire_due())

    async def wake(self) -> int:
        async with self._database.begin() as transaction:
            return len(await runs.wake_due(transaction, self._clock.now()))

    async def dispatch(self) -> int:
        async with self._database.read() as session:
            due = await runs.due(session, self._clock.now())
        return await self._ask(due)

    async def take_over(self) -> int:
        async with self._database.read() as session:
            moving = await runs.moving(session)
        # Taken for dead although it is not, its mover still holds the run: the other one waits, and finds it done.
        return await self._ask(self._left(moving))

    async def _ask(self, moves: Iterable[runs.Due | runs.Moving]) -> int:
        """Ask for all of them. An engine that is away is so for all; what else is wrong with one keeps no other waiting."""
        asked, wrong = 0, None
        for each in moves:
            again = each.since.isoformat() if isinstance(each, runs.Moving) else ""
            try:
                await self._engine.dispatch(each.run_id, each.event, again=again)
            except TemporaryError:
                raise
            except Exception as error:
                log.exception("dispatch.broken", run_id=each.run_id, run_event=each.event)
                wrong = error
            asked += 1
        if wrong is not None:
            raise wrong
        return asked

    def _left(self, moving: list[runs.Moving]) -> list[runs.Moving]:
        """Those that have stood as they are for longer than anybody would leave them."""
        seen = time.monotonic()
        self._moving = {each: self._moving.get(each, seen) for each in moving}
        return [each for each, since in self._moving.items() if seen - since >= self._patience_s]
