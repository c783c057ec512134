"""Instants at which a crash can hurt, counted, and a SIGKILL at a chosen one.

Only the crash drill uses this: it wraps the service's stores and ports from outside, before the service is built. A boundary is
just before or just after something leaves the process: a SQL commit (the service's and the engine's), a checkpoint, a call that
changes the world.
"""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool


class Boundaries:
    """Counts boundaries into `trace` (one name per line) and kills the process at the one that `order` holds the number of.

    Counting begins anew with each SIGUSR1: `order` is read then (from 1; 0: never).
    """

    def __init__(self, order: Path, trace: Path) -> None:
        self._order = order
        self._kill_at = self._count = 0
        self._armed = False
        self._trace = trace.open("a", buffering=1)
        signal.signal(signal.SIGUSR1, self._arm)

    def cross(self, name: str) -> None:
        if not self._armed:
            return
        self._count += 1
        self._trace.write(f"{name}\n")
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_sql(self) -> None:
        """Every SQLAlchemy engine of the process: ours and DBOS's."""

        @event.listens_for(Engine, "commit")
        def _before_commit(_connection: Any) -> None:
            self.cross("sql: before commit")

        @event.listens_for(Pool, "checkin")
        def _after_release(_connection: Any, _record: Any) -> None:
            self.cross("sql: connection released")

    def watch(self, owner: Any, name: str, *methods: str) -> None:
        """Before and after each call of these coroutine methods; `owner` is an object, or a class for all of its objects."""
        for method in methods:
            setattr(owner, method, self._crossing(getattr(owner, method), f"{name}.{method}"))

    def _crossing(self, call: Any, name: str) -> Any:
        async def crossing(*arguments: Any, **options: Any) -> Any:
            self.cross(f"{name}: before")
            result = await call(*arguments, **options)
            self.cross(f"{name}: after")
            return result

        return crossing

    def _arm(self, _signal: int, _frame: FrameType | None) -> None:
        self._kill_at, self._count, self._armed = int(self._order.read_text()), 0, True
