"""Instants at which a crash can hurt, counted, and a SIGKILL at a chosen one.

Only the crash drill uses this: it wraps the service's stores and ports from outside, before the service is built. A boundary is
just before or just after something leaves the process: a SQL commit (the service's and the engine's), a checkpoint, a call that
changes the world.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool


class Boundaries:
    """Counts boundaries in `trace` (one name per line) and kills the process at number `kill_at` (from 1; 0: never)."""

    def __init__(self, kill_at: int, trace: Path) -> None:
        self._kill_at = kill_at
        self._count = 0
        self._armed = False
        self._trace = trace.open("a", buffering=1)

    def arm(self) -> None:
        """Count from now on: starting up is drilled by every restart anyway."""
        self._armed = True

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

    def watch_checkpoints(self, saver: BaseCheckpointSaver[Any]) -> None:
        """Before and after each checkpoint and each set of pending writes."""
        put, put_writes = saver.aput, saver.aput_writes

        async def aput(config: RunnableConfig, checkpoint: Any, metadata: Any, versions: Any) -> RunnableConfig:
            self.cross("checkpoint: before put")
            saved = await put(config, checkpoint, metadata, versions)
            self.cross("checkpoint: after put")
            return saved

        async def aput_writes(
            config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
        ) -> None:
            self.cross("checkpoint: before writes")
            await put_writes(config, writes, task_id, task_path)
            self.cross("checkpoint: after writes")

        saver.aput = aput  # type: ignore[method-assign, assignment]
        saver.aput_writes = aput_writes  # type: ignore[method-assign]

    def watch_port(self, port: object, name: str, methods: tuple[str, ...]) -> None:
        """Before and after each call of the port's `methods`."""
        for method in methods:
            call = getattr(port, method)

            async def crossing(*args: Any, _call: Any = call, _method: str = method, **kwargs: Any) -> Any:
                self.cross(f"{name}: before {_method}")
                result = await _call(*args, **kwargs)
                self.cross(f"{name}: after {_method}")
                return result

            setattr(port, method, crossing)
