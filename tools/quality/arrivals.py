"""How many batches of raw data have come, for whoever asks again and again: the lake is looked at now and then.

Of an embedded lake one process at a time may have it, and that should be whoever brings data in.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from tools.clock import Clock
from tools.quality.history import Histories

MOST = 500
"""Batches of a table that are told of at once."""
_RETRY = timedelta(minutes=5)
"""After a look that failed; what was known before counts until then. Whoever brings data in takes some minutes."""


class Arrivals:
    def __init__(self, histories: Histories, clock: Clock) -> None:
        self._histories = histories
        self._clock = clock
        self._stored: dict[str, tuple[datetime, tuple[datetime, ...]]] = {}
        """By table: when it is looked at again, and when its latest batches were stored."""

    async def since(self, moment: datetime, tables: Mapping[str, timedelta]) -> int:
        """Batches of these that were stored after the moment, at most MOST of each; what was refused is none. With how long a
        look at a table is good for. Raises TemporaryError or PermanentError for a lake that cannot be read."""
        return sum([sum(at > moment for at in await self._of(*each)) for each in tables.items()])

    async def _of(self, table: str, good_for: timedelta) -> tuple[datetime, ...]:
        now = self._clock.now()
        due, found = self._stored.get(table, (now, ()))
        if now >= due:
            self._stored[table] = (now + _RETRY, found)
            batches = await self._histories.batches(table, MOST)
            found = tuple(each.at for each in batches if each.refused is None)
            self._stored[table] = (now + good_for, found)
        return found
