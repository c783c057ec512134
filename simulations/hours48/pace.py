"""How fast the clock of the simulation goes: as fast as the platform keeps up, and slowly while it really works.

A minute of the platform's own work is a minute for it in life; here a day passes in half a minute, and that must not make the
platform look slow. So the clock never runs away from it: not from its monitors, not from a job, not from a question. What the
platform decides then does not depend on how busy the machine is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tools.clock import SharedClock

_STEP = 0.1
"""A rate that differs by less is left as it is: each change is a file written."""
_CRAWL = 1.0


@dataclass(frozen=True)
class Limit:
    """The clock comes near `at` and does not pass it."""

    at: datetime
    settles_s: float
    """Real seconds in which it goes about two thirds of the way that is left: short for what may be near all the time, long for
    what takes long and is not to be over too early either."""


@dataclass(frozen=True)
class Rates:
    """Simulated seconds per real second."""

    quiet: float = 3600 / 0.75
    """Nothing is open: an hour in three quarters of a second."""
    watched: float = 3600 / 3.0
    """Something is open: an hour in three seconds."""


class Pace:
    def __init__(self, clock: SharedClock, rates: Rates) -> None:
        self._clock, self._rates = clock, rates
        self._rate = 0.0

    def go(self, limits: Iterable[Limit], *, busy: bool, behind: bool) -> None:
        """`behind`: what was asked is not in the store yet, and the clock waits for it."""
        rate, now = self._rates.watched if busy else self._rates.quiet, self._clock.now()
        if behind:
            rate = _CRAWL
        for limit in limits:
            rate = min(rate, max(_CRAWL, (limit.at - now) / timedelta(seconds=limit.settles_s)))
        if abs(rate - self._rate) > _STEP * self._rate:
            self._rate = rate
            self._clock.set_rate(rate)

    def hold(self) -> None:
        """While a person thinks: as in life."""
        self._rate = _CRAWL
        self._clock.set_rate(_CRAWL)
