"""A lake's histories in memory."""

from collections import Counter

from tools.errors import TemporaryError
from tools.quality.history import PastBatch


class TwinHistories:
    """`Histories`."""

    def __init__(self) -> None:
        self.of: dict[str, list[PastBatch]] = {}
        self.away = False
        self.too_slow: set[str] = set()
        """Tables that cannot be read within the time that a statement may take."""
        self.asked: Counter[str] = Counter()

    async def tables(self) -> tuple[str, ...]:
        self._there()
        return tuple(sorted(self.of))

    async def batches(self, table: str, latest: int) -> tuple[PastBatch, ...]:
        self._there()
        self.asked[table] += 1
        if table in self.too_slow:
            raise TemporaryError("the statement took too long")
        return tuple(self.of.get(table, ())[-latest:])

    def _there(self) -> None:
        if self.away:
            raise TemporaryError("the lake is in use by another process")
