"""How fast the clock of the simulation goes: as fast as the platform keeps up, and slowly while it really works.

A minute of the platform's own work is a minute for it in life; here a day passes in half a minute, and that must not make the
platform look slow. So whoever watches it allows the clock to go as far as a horizon, a little ahead, and moves that on when the
clients, the store, the monitors and the runs have come along. At the horizon the clock all but stands still. What the platform
decides then does not depend on how busy the machine is; how long the simulation takes does.
"""

import threading
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from tools.clock import SharedClock

_EVERY_S = 0.02
_CRAWL = 1.0
_SLACK = 0.1
"""A rate that differs by less is left as it is: each change is a file written."""


class Pace:
    """A thread of its own: whoever moves the horizon waits for answers meanwhile, and the clock must not run on."""

    def __init__(self, clock: SharedClock) -> None:
        """`clock`: nobody else's, for it is not made for two threads."""
        self._clock = clock
        self._wanted = (clock.now(), _CRAWL)
        self._rate = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pace", daemon=True)

    def allow(self, horizon: datetime, rate: float) -> None:
        """Until `horizon`, at `rate` simulated seconds per real second."""
        self._wanted = (horizon, max(rate, _CRAWL))

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            horizon, rate = self._wanted
            left = (horizon - self._clock.now()) / timedelta(seconds=1)
            # No further than the horizon until it is looked at again.
            self._set(max(_CRAWL, min(rate, left / (2 * _EVERY_S))))

    def _set(self, rate: float) -> None:
        if abs(rate - self._rate) > _SLACK * self._rate:
            self._rate = rate
            self._clock.set_rate(rate)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._clock.set_rate(_CRAWL)
