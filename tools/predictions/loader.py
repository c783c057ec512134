"""Moves complete segments from the gateway's folder into the store, oldest first.

A segment is deleted after the store has taken it, never before. A store that is down costs nothing but time: segments wait.
"""

from datetime import UTC, datetime
from pathlib import Path

from tools.predictions.port import Lag, PredictionStore
from tools.values import Frozen


class LoadReport(Frozen):
    segments: int
    records: int


class Loader:
    def __init__(self, store: PredictionStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def sweep(self) -> LoadReport:
        """Load what is there. Raises TemporaryError when the store is away: what was not loaded is still there."""
        segments = records = 0
        for segment in self._complete():
            records += await self._store.load(segment)
            segment.unlink(missing_ok=True)
            segments += 1
        return LoadReport(segments=segments, records=records)

    async def lag(self) -> Lag:
        found = [(segment, segment.stat()) for segment in self._complete()]
        oldest = min((status.st_mtime for _, status in found), default=None)
        return Lag(
            segments=len(found),
            bytes=sum(status.st_size for _, status in found),
            oldest=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
        )

    def _complete(self) -> list[Path]:
        """By name, which the gateway makes sort by time."""
        return sorted(self._folder.glob("*.ndjson")) if self._folder.is_dir() else []
