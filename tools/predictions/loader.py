"""Moves complete segments from the gateway's folder into the store, oldest first.

A segment is taken away after the store has it, never before. A store that is down costs nothing but time: segments wait.
"""

import contextlib
import fcntl
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from tools.errors import PermanentError, TemporaryError
from tools.predictions.port import Lag, PredictionStore
from tools.values import Frozen

log = structlog.get_logger()

_SEGMENT = re.compile(r"-(\d{16})-")
"""Microseconds since the epoch, by the gateway's clock, at which the segment was begun."""


_AGAIN = timedelta(minutes=1)
"""Between two tries at what the store refuses."""


class LoadReport(Frozen):
    segments: int = 0
    records: int = 0
    rejected: int = 0
    """Lines that are no records."""
    refused: int = 0
    """Segments that the store does not take; they stay, are tried again from time to time, and hold up no other."""


class Loader:
    def __init__(self, store: PredictionStore, folder: Path, archive: Path | None = None) -> None:
        """`archive`: where loaded segments go, on the same file system; without it they are deleted."""
        self._store = store
        self._folder = folder
        self._archive = archive
        self._refused: dict[Path, float] = {}

    async def sweep(self) -> LoadReport:
        """Load what is there, unless another loader is at it. Raises TemporaryError when the store is away or does not let us
        in: what was not loaded is still there."""
        segments = records = rejected = 0
        with _alone(self._folder) as alone:
            for segment in self._due() if alone else ():
                try:
                    loaded = await self._store.load(segment)
                except PermanentError as error:
                    await self._refuse(segment, error)
                    continue
                self._put_away(segment)
                self._refused.pop(segment, None)
                segments, records, rejected = segments + 1, records + loaded.records, rejected + loaded.rejected
                if loaded.rejected:
                    log.warning("segment.lines_rejected", segment=segment.name, lines=loaded.rejected)
        return LoadReport(segments=segments, records=records, rejected=rejected, refused=len(self._refused))

    async def lag(self) -> Lag:
        waiting, size = self._complete(), 0
        for segment in waiting:
            with contextlib.suppress(FileNotFoundError):  # just loaded
                size += segment.stat().st_size
        oldest = _begun(waiting[0]) if waiting else None
        moment = datetime.fromtimestamp(oldest / 1_000_000, UTC) if oldest is not None else None
        return Lag(segments=len(waiting), bytes=size, oldest=moment)

    def _due(self) -> list[Path]:
        waiting = self._complete()
        self._refused = {segment: again for segment, again in self._refused.items() if segment in waiting}
        return [segment for segment in waiting if self._refused.get(segment, 0) <= time.monotonic()]

    async def _refuse(self, segment: Path, reason: PermanentError) -> None:
        """Is it the segment, or does the store take nothing at all?"""
        try:
            await self._store.ping()
        except PermanentError as error:
            raise TemporaryError(str(error), retry_after=_AGAIN) from error
        self._refused[segment] = time.monotonic() + _AGAIN.total_seconds()
        log.error("segment.refused", segment=segment.name, reason=str(reason), retry_s=_AGAIN.total_seconds())

    def _complete(self) -> list[Path]:
        found = self._folder.glob("*.ndjson") if self._folder.is_dir() else ()
        return sorted(found, key=lambda segment: (_begun(segment) or 0, segment.name))

    def _put_away(self, segment: Path) -> None:
        if self._archive is None:
            segment.unlink(missing_ok=True)
        else:
            self._archive.mkdir(parents=True, exist_ok=True)
            segment.rename(self._archive / segment.name)


def _begun(segment: Path) -> int | None:
    found = _SEGMENT.search(segment.name)
    return int(found[1]) if found else None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other loader works on the folder meanwhile. Two would do no harm, but each other's work."""
    if not folder.is_dir():
        yield False
        return
    with (folder / ".loading").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
