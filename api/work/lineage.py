"""Takes the events in from the file in which jobs on this machine leave them, so that they need no key and no running service.

The file stays as it is: it belongs to those who write it. What was taken in before is known by its digest.
"""

import asyncio
from itertools import islice
from pathlib import Path

import structlog

from api.store import lineage
from api.store.database import Database
from api.store.lineage import Told
from tools.clock import Clock
from tools.lineage.lines import events
from tools.lineage.projection import Unreadable

log = structlog.get_logger()

_AT_A_TIME = 200
"""Events that are read, looked for and written together; between two such lots others get their turn at the database."""
_BY = "file"


class LineageFile:
    def __init__(self, database: Database, path: Path | None, clock: Clock) -> None:
        """`path`: None where nobody leaves anything."""
        self._database = database
        self._path = path
        self._clock = clock
        self._offset = 0

    async def once(self) -> int:
        """How many were new. Raises TemporaryError when the database is away: what was not taken in is taken in later."""
        new = 0
        while self._path is not None:
            told, offset = await asyncio.to_thread(self._next, self._path)
            new += await self._take(told)
            if offset == self._offset:
                return new
            self._offset = offset
        return new

    async def _take(self, told: list[Told]) -> int:
        async with self._database.read() as session:
            known = await lineage.known(session, told)
        fresh = [each for each in told if each.digest not in known]
        new = 0
        if fresh:
            async with self._database.begin() as transaction:
                for each in fresh:
                    new += await lineage.record(transaction, each, told_by=_BY, at=self._clock.now())
        return new

    def _next(self, path: Path) -> tuple[list[Told], int]:
        """The next lot, and the offset after it."""
        offset = self._offset
        if offset and (not path.exists() or path.stat().st_size < offset):
            # Another file of that name: from its start.
            self._offset = offset = 0
        told = []
        for event, after in islice(events(path, offset), _AT_A_TIME):
            offset = after
            try:
                told.append(lineage.understood(event))
            except Unreadable as error:
                log.warning("lineage.unreadable", file=str(path), before=after, reason=str(error))
        return told, offset
