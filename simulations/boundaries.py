"""Instants at which a crash can hurt, counted, and a SIGKILL at a chosen one.

Only the crash drills use this: it wraps the service's stores and ports from outside, before the service is built. A boundary is
just before or just after something leaves the process: a SQL commit (the service's and the engine's), a checkpoint, a call that
changes the world.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from simulations.phases import Phases

Telling = Callable[..., str]
"""What tells calls of one method apart, of its arguments."""


class Boundaries:
    """Writes each boundary into `trace` and kills the process at the one that `order` names.

    The order is a number (the boundary of that number, from 1; 0: never), or JSON: `[part, boundary, which of them in the
    part]`, of `simulations.phases`. It is read with each SIGUSR1, from which on counting begins anew; and at the start of a
    process that finds a part in `resumed`, where it goes on.
    """

    def __init__(self, order: Path, trace: Path, resumed: str = "") -> None:
        self._order = order
        self._kill_at: Any = 0
        self._count = 0
        self._of: Counter[tuple[int, str]] = Counter()
        self._armed = False
        self._phases = Phases()
        self._trace = trace.open("a", buffering=1)
        if resumed:
            self._read(int(resumed))
        signal.signal(signal.SIGUSR1, self._arm)

    def cross(self, name: str) -> None:
        if not self._armed:
            return
        self._count += 1
        phase = self._phases.cross(name)
        self._of[phase, name] += 1
        self._trace.write(f"{phase} {name}\n")
        if self._kill_at in (self._count, [phase, name, self._of[phase, name]]):
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_sql(self) -> None:
        """Every SQLAlchemy engine of the process: ours and DBOS's."""

        @event.listens_for(Engine, "commit")
        def _before_commit(_connection: Any) -> None:
            self.cross("sql: before commit")

        @event.listens_for(Pool, "checkin")
        def _after_release(_connection: Any, _record: Any) -> None:
            self.cross("sql: connection released")

    def watch(self, owner: Any, name: str, *methods: str, told: Telling | None = None) -> None:
        """Before and after each call of these coroutine methods; `owner` is an object, or a class for all of its objects."""
        for method in methods:
            setattr(owner, method, self._crossing(getattr(owner, method), f"{name}.{method}", told))

    def _crossing(self, call: Any, name: str, told: Telling | None) -> Any:
        async def crossing(*arguments: Any, **options: Any) -> Any:
            more = told(*arguments, **options) if told is not None else ""
            said = f"{name} {more}" if more else name
            self.cross(f"{said}: before")
            result = await call(*arguments, **options)
            self.cross(f"{said}: after")
            return result

        return crossing

    def _arm(self, _signal: int, _frame: FrameType | None) -> None:
        self._read(0)

    def _read(self, reached: int) -> None:
        self._kill_at = json.loads(self._order.read_text())
        self._count, self._armed = 0, True
        self._of, self._phases = Counter(), Phases(reached)
