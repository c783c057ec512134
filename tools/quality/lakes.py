"""Histories of a lake's tables for a service: read in threads, so that no disk or engine stalls the event loop.

The lake is opened for each look and closed after it: of the embedded engine one process at a time may have it, and that is most
of the time whoever brings data in.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from tools.quality.history import PastBatch, history

_THREADS = 5
"""Of its own: a slow lake takes minutes for a statement, and must not take the threads that everything else is done in. For
the four questions that are answered at once, and whoever watches."""


class LakeHistories:
    """`Histories`. `url` and `password` as for `open_lake`."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = url
        self._password = password
        self._threads = ThreadPoolExecutor(_THREADS, "lake")

    async def tables(self) -> tuple[str, ...]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._tables)

    async def batches(self, table: str, latest: int) -> tuple[PastBatch, ...]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._batches, table, latest)

    def _tables(self) -> tuple[str, ...]:
        from tools.lake.opening import open_lake

        with closing(open_lake(self._url, self._password)) as lake:
            return lake.tables()

    def _batches(self, table: str, latest: int) -> tuple[PastBatch, ...]:
        from tools.lake.opening import open_lake

        with closing(open_lake(self._url, self._password)) as lake:
            return history(lake.read(table), latest)
