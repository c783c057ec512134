"""What fails is left alone for a while, longer each time: the rest goes on, and no costly question is asked twice a minute.

Kept in memory: a process that starts anew asks at once.
"""

from datetime import datetime, timedelta

from tools.clock import Clock

_FIRST, _LONGEST = timedelta(minutes=1), timedelta(minutes=16)
"""A store's statement limit is minutes; within a quarter of an hour one that has recovered is noticed."""


class Patience:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._resting: dict[tuple[str, str], tuple[datetime, timedelta]] = {}
        """Until when, and for how long."""

    def resting(self, subject: str, part: str = "") -> bool:
        until, _ = self._resting.get((subject, part), (None, None))
        return until is not None and self._clock.now() < until

    def failed(self, subject: str, part: str = "") -> None:
        _, before = self._resting.get((subject, part), (None, _FIRST / 2))
        pause = min(before * 2, _LONGEST)
        self._resting[subject, part] = (self._clock.now() + pause, pause)

    def worked(self, subject: str, part: str = "") -> None:
        self._resting.pop((subject, part), None)
