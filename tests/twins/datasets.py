"""A lake's histories in memory."""

from tools.errors import TemporaryError
from tools.quality.history import PastBatch


class TwinHistories:
    """`Histories`."""

    def __init__(self) -> None:
        self.of: dict[str, list[PastBatch]] = {}
        self.away = False

    async def tables(self) -> tuple[str, ...]:
        self._there()
        return tuple(sorted(self.of))

    async def batches(self, table: str, latest: int) -> tuple[PastBatch, ...]:
        self._there()
        return tuple(self.of.get(table, ())[-latest:])

    def _there(self) -> None:
        if self.away:
            raise TemporaryError("the lake is in use by another process")
