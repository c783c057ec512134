"""Where time comes from.

Everything that decides, waits or stamps asks a `Clock`. In production that is the system's; in a demo or a simulation it is a
`SharedClock`, whose rate a small file sets for all processes at once, so that hours of traffic pass in seconds and stand
still while a person thinks. Latencies are not simulated: they are measured with `time.perf_counter`.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...

    def real_seconds(self, simulated: timedelta) -> float:
        """How long this clock needs for `simulated`, in seconds of the wall clock, at its present rate."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def real_seconds(self, simulated: timedelta) -> float:
        return simulated.total_seconds()


class SharedClock:
    """A clock that several processes share through one file: an anchor in real and simulated time, and a rate.

    The file is replaced atomically by `set_rate` and looked at again at most every `_RECHECK_S` seconds.
    """

    _RECHECK_S = 0.02

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checked = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._real = self._simulated = 0.0
        self._rate = 1.0
        self._load()

    @classmethod
    def create(cls, path: Path, start: datetime, rate: float) -> "SharedClock":
        _write(path, time.time(), start.timestamp(), rate)
        return cls(path)

    def _load(self) -> None:
        self._checked = time.monotonic()
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            anchor = json.loads(self._path.read_text())
            self._real, self._simulated, self._rate = anchor["real"], anchor["simulated"], anchor["rate"]
            self._stamp = stamp

    def now(self) -> datetime:
        if time.monotonic() - self._checked > self._RECHECK_S:
            self._load()
        return datetime.fromtimestamp(self._simulated + (time.time() - self._real) * self._rate, UTC)

    def real_seconds(self, simulated: timedelta) -> float:
        return simulated.total_seconds() / self._rate

    def set_rate(self, rate: float) -> None:
        """Go on from the present moment at `rate` simulated seconds per real second (must be above zero)."""
        if rate <= 0:
            raise ValueError("a clock's rate is above zero")
        self._load()
        real = time.time()
        _write(self._path, real, self._simulated + (real - self._real) * self._rate, rate)
        self._load()


def _write(path: Path, real: float, simulated: float, rate: float) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"real": real, "simulated": simulated, "rate": rate}))
    fresh.replace(path)


def clock_from(setting: str) -> Clock:
    """`system`, or `shared:PATH` of a file that `SharedClock.create` wrote."""
    kind, _, path = setting.partition(":")
    match kind:
        case "system":
            return SystemClock()
        case "shared":
            return SharedClock(Path(path))
        case _:
            raise ValueError(f"OPPEN_CLOCK={setting!r}: use 'system' or 'shared:PATH'")
