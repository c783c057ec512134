"""The durable engine: DBOS, and the only module that knows it.

`advance(run, event)` is one workflow whose id is made of its arguments. A double click, a re-delivered webhook and a restarted
process all lead to the same workflow, and one that was killed half-way is run again at the next start. The workflow itself is
re-entrant (`api/work/runner.py`), so it has no steps: what must happen once is guarded where it happens.

Workflows are started directly, not polled from a queue (docs/adr/0003): a subject has at most one open incident by a unique
index, and a run takes one event at a time by compare-and-set, so there is nothing left for a queue to keep apart.
"""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from tools.errors import TemporaryError

log = structlog.get_logger()

Advance = Callable[[str, str], Awaitable[None]]

# DBOS finds workflows by name in module scope, and there is one engine to a process.
_advance: Advance | None = None
_slots: asyncio.Semaphore | None = None
_moving: set[asyncio.Task[None]] = set()
_retried: Counter[str] = Counter()

_NAME = "oppen.advance"

_SHORTEST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=5)
"""Between two tries at a move: what was away is seldom away for long, and an incident waits."""


@DBOS.workflow(name=_NAME)
async def _workflow(run_id: str, event: str) -> None:
    if _advance is None or _slots is None:
        raise RuntimeError("the engine was stopped")
    task = asyncio.current_task()
    assert task is not None
    _moving.add(task)
    task.add_done_callback(_moving.discard)
    pause = _SHORTEST_PAUSE
    while True:
        try:
            # Given back between tries: runs that wait for something that is away must not keep the others from moving.
            async with _slots:
                await _advance(run_id, event)
        except TemporaryError as error:
            # A store that is away for a while must not end the run: it goes on when the store is back.
            pause = max(pause, error.retry_after)
            _retried["run.delayed"] += 1
            log.warning("run.delayed", run_id=run_id, run_event=event, reason=str(error), pause_s=pause.total_seconds())
        except Exception:
            # Raised, it would end the workflow for good, and every later dispatch of this move with it.
            _retried["run.stuck"] += 1
            log.exception("run.stuck", run_id=run_id, run_event=event, pause_s=pause.total_seconds())
        else:
            return
        await asyncio.sleep(pause.total_seconds())
        pause = min(pause * 2, _LONGEST_PAUSE)


class Engine:
    """`url`: where DBOS keeps its own tables, `sqlite:///PATH` or `postgresql://...`. `concurrency`: runs that move at once."""

    retried: Mapping[str, int]
    """Moves that did not succeed and are tried again, by the event that says so: `run.delayed`, `run.stuck`."""

    def __init__(self, url: str, advance: Advance, *, concurrency: int = 16, executor: str = "local") -> None:
        self.retried = _retried
        self._url = url
        self._advance = advance
        self._concurrency = concurrency
        self._executor = executor

    async def start(self) -> None:
        """Open the store and go on with every workflow that a killed process left behind."""
        global _advance, _slots
        _retried.update({"run.delayed": 0, "run.stuck": 0})
        _advance, _slots = self._advance, asyncio.Semaphore(self._concurrency)
        _prepare(self._url)
        config: DBOSConfig = {
            "name": "oppen",
            "system_database_url": self._url,
            # A fixed version: a workflow left by yesterday's build is finished by today's.
            "application_version": "1",
            "executor_id": self._executor,
            "log_level": "WARNING",
        }
        DBOS(config=config)
        DBOS.launch()

    async def dispatch(self, run_id: str, event: str, *, again: str = "") -> None:
        """Have `advance(run_id, event)` happen; repeating it, with the same `again`, is free.

        Raises TemporaryError when the engine's store is away.
        """
        name = f"{run_id}:{event}:{again}" if again else f"{run_id}:{event}"
        try:
            with SetWorkflowID(name):
                await DBOS.start_workflow_async(_workflow, run_id, event)
        except SQLAlchemyError as error:
            raise TemporaryError(f"the engine's store is not available: {type(error).__name__}") from error

    async def forget(self, before: datetime, limit: int) -> int:
        """Drop the rows of at most `limit` workflows that ended before that; how many went.

        Dispatched again, such a move finds that the run has gone on since, and does nothing. Raises TemporaryError when the
        engine's store is away.
        """
        try:
            over = await DBOS.list_workflows_async(
                name=_NAME,
                status="SUCCESS",
                completed_before=before.isoformat(),
                limit=limit,
                load_input=False,
                load_output=False,
            )
            await DBOS.delete_workflows_async([each.workflow_id for each in over])
        except SQLAlchemyError as error:
            raise TemporaryError(f"the engine's store is not available: {type(error).__name__}") from error
        return len(over)

    async def stop(self) -> None:
        """Let running workflows reach their end for a moment; what does not is broken off, and taken up at the next start.

        Nothing moves when this returns: a run that found its stores closed would be taken for a failed one.
        """
        global _advance  # noqa: PLW0603
        # DBOS makes its own threads the loop's, and ends them; whoever closes after us still needs some.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="closing"))
        await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=5)
        _advance = None
        leftover = list(_moving)
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)


def _prepare(url: str) -> None:
    """DBOS opens SQLite with a rollback journal; write-ahead logging lets readers and the writer pass each other."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        with contextlib.closing(sqlite3.connect(parsed.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
