"""The prediction log: records become lines of local segment files, whatever the store behind them is doing.

The loop appends to memory, one thread per kind of record writes. Durability, in order:
- about `flush_s` after the answer (longer while a segment is being completed) the line is with the operating system: it
  survives `kill -9` of this process;
- when its segment is completed (by size, age or shutdown) it is on disk (fsync of file and folder): it survives a power cut.

Nothing is dropped to keep going. Room in memory is reserved before a prediction is computed; without room the request is
refused (503). A disk that fails or is full keeps the records in memory, is tried again, and ends in the same refusals.
"""

import contextlib
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from gateway.routes import sync_folder
from tools.clock import Clock
from tools.predictions.records import Record

log = structlog.get_logger()

Kind = Literal["predictions", "labels", "shadows"]

_BATCH = 1000
"""Records encoded in one go: about a millisecond in which the loop may have to wait for the interpreter."""
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class LogLimits:
    records: int
    """Reserved or in memory, not yet written."""
    segment_bytes: int
    segment_age_s: float
    flush_s: float
    backlog_bytes: int
    """Complete segments that nobody has loaded yet; beyond it the log refuses."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What lies in the folder and has not been taken by a loader. `oldest_at` is a file's time, in seconds since the epoch."""

    segments: int
    bytes: int
    oldest_at: float | None


class SegmentLog:
    def __init__(self, folder: Path, kind: Kind, limits: LogLimits, clock: Clock) -> None:
        self._folder = folder
        self._kind = kind
        self._limits = limits
        self._clock = clock
        self._boot = os.urandom(6).hex()
        self._encoder = msgspec.json.Encoder()
        self._records: deque[Record] = deque()
        # `_reserved` is the loop's, `_written` the thread's: no lock is needed to compare them.
        self._reserved = 0
        self._written = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"gateway-{kind}", daemon=True)
        self._file: int | None = None
        self._path = folder
        self._size = 0
        self._opened = 0.0
        self._sequence = 0
        self._backlog_full = False
        self.completed = 0
        self.write_errors = 0
        self.cut_lines = 0

    def start(self) -> None:
        """Complete what a crashed process left behind, then take records. Blocking."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in sorted(self._folder.glob(f"{self._kind}-*.open")):
            self.cut_lines += complete(leftover)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Records reserved or in memory."""
        return self._reserved - self._written

    @property
    def capacity(self) -> int:
        return self._limits.records

    def reserve(self, count: int) -> bool:
        """Room for `count` records that will be appended, or given back by `release`."""
        if self._backlog_full or self.pending + count > self._limits.records:
            return False
        self._reserved += count
        return True

    def release(self, count: int) -> None:
        self._reserved -= count

    def append(self, records: list[Record]) -> None:
        """As many as were reserved."""
        self._records.extend(records)
        if not self._wake.is_set():
            self._wake.set()

    def backlog(self) -> Backlog:
        """Blocking: reads the folder."""
        sizes, times = 0, []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(self._kind) and entry.name.endswith(".ndjson"):
                    # The loader may take it away meanwhile.
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        sizes += status.st_size
                        times.append(status.st_mtime)
        return Backlog(len(times), sizes, min(times, default=None))

    def close(self) -> None:
        """Write what is left and complete the segment. Blocking. Nothing may be appended afterwards."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._idle_s())
            if self._wake.is_set() and not self._stop.is_set():
                # Lets lines gather, so that one write takes many.
                self._stop.wait(self._limits.flush_s)
            self._wake.clear()
            try:
                self._drain()
                if self._file is not None and (self._stop.is_set() or self._age_left_s() <= 0):
                    self._complete()
                self._backlog_full = self.backlog().bytes > self._limits.backlog_bytes if self._watching() else False
            except OSError as error:
                self.write_errors += 1
                log.error("segments.write_failed", kind=self._kind, error=str(error))
                if self._stop.is_set():
                    return
                self._stop.wait(_RETRY_S)
                self._wake.set()
            else:
                if self._stop.is_set() and not self._records:
                    return

    def _idle_s(self) -> float | None:
        if self._backlog_full:
            return _RETRY_S
        return max(self._age_left_s(), 0.0) if self._file is not None else None

    def _age_left_s(self) -> float:
        return self._opened + self._limits.segment_age_s - time.monotonic()

    def _watching(self) -> bool:
        """The folder is read again when a segment was completed, or while it is too full."""
        return self._backlog_full or self._file is None

    def _drain(self) -> None:
        while self._records:
            batch = [self._records.popleft() for _ in range(min(len(self._records), _BATCH))]
            try:
                self._write(self._encoder.encode_lines(batch))
            except OSError:
                self._records.extendleft(reversed(batch))
                raise
            self._written += len(batch)
            if self._size >= self._limits.segment_bytes:
                self._complete()

    def _write(self, lines: bytes) -> None:
        file = self._file if self._file is not None else self._open()
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError:
            # Half a batch must not stay: it would be there twice after the next try.
            os.ftruncate(file, self._size)
            raise
        self._size += len(lines)

    def _open(self) -> int:
        self._sequence += 1
        # The name is unique over restarts and gateways: the store loads a name once.
        micros = int(self._clock.now().timestamp() * 1_000_000)
        self._path = self._folder / f"{self._kind}-{micros:016d}-{self._boot}-{self._sequence:06d}.open"
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._file, self._size, self._opened = file, 0, time.monotonic()
        return file

    def _complete(self) -> None:
        if self._file is None:
            return
        os.fsync(self._file)
        self._path.replace(self._path.with_suffix(".ndjson"))
        os.close(self._file)
        self._file = None
        sync_folder(self._folder)
        self.completed += 1


def complete(leftover: Path) -> int:
    """Turn an `*.open` of a dead process into a complete segment; returns how many cut-off lines were dropped (0 or 1)."""
    content = leftover.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == 0:
        leftover.unlink()
    else:
        with leftover.open("r+b") as file:
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())
        leftover.replace(leftover.with_suffix(".ndjson"))
    sync_folder(leftover.parent)
    return int(whole < len(content))
