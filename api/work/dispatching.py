"""From a row that says "to be moved on" to a workflow that moves it.

The runs table is the outbox. Whoever commits a run as `queued` asks for its dispatch right after the commit; the sweep asks
again for whatever is due. Asking twice is free, so a crash between the commit and the first asking loses nothing.
"""

from typing import Protocol

from api.store import runs
from api.store.database import Database
from api.work.approvals import Approvals
from tools.clock import Clock


class Mover(Protocol):
    """What has a run moved on, durably: the engine."""

    async def dispatch(self, run_id: str, event: str) -> None:
        """Repeating it is free."""
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
    """Looks for what has fallen due: runs to start or to wake, questions that nobody answered in time."""

    def __init__(self, database: Database, engine: Mover, approvals: Approvals, clock: Clock) -> None:
        self._database = database
        self._engine = engine
        self._approvals = approvals
        self._clock = clock

    async def once(self) -> int:
        """How many runs were dispatched."""
        await self._approvals.expire_due()
        now = self._clock.now()
        async with self._database.begin() as transaction:
            await runs.wake_due(transaction, now)
        async with self._database.read() as session:
            due = await runs.due(session, now)
        for run_id, event in due:
            await self._engine.dispatch(run_id, event)
        return len(due)
