"""What is kept only so that nothing happens twice goes when nothing could come twice any more.

Incidents, alerts, approvals, actions and the audit log are never dropped here: they are the record.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from agents.policies import Retention
from tools.clock import Clock

log = structlog.get_logger()

BATCH = 500
"""Rows that go in one transaction: SQLite has one writer, and alerts wait for it meanwhile."""


class Kept(Protocol):
    async def forget(self, before: datetime, limit: int) -> int:
        """Drop at most `limit` of what was over before that; how many went."""
        ...


class Tidying:
    """`dropped` counts what went, by kind."""

    def __init__(self, moves: Kept, messages: Kept, retention: Callable[[], Retention], clock: Clock) -> None:
        self.dropped: Counter[str] = Counter({"moves": 0, "messages": 0})
        self._moves = moves
        self._messages = messages
        self._retention = retention
        self._clock = clock

    async def once(self) -> int:
        """How many rows went."""
        now, retention = self._clock.now(), self._retention()
        before = sum(self.dropped.values())
        for kind, kept, age in (
            ("moves", self._moves, retention.finished_moves),
            ("messages", self._messages, retention.sent_messages),
        ):
            while True:
                went = await kept.forget(now - age, BATCH)
                self.dropped[kind] += went
                if went < BATCH:
                    break
        dropped = sum(self.dropped.values()) - before
        if dropped:
            log.info("rows.dropped", rows=dropped)
        return dropped
