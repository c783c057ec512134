"""A clock that stands still until the test moves it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class SteppedClock:
    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def real_seconds(self, simulated: timedelta) -> float:
        return simulated.total_seconds()

    def pass_(self, time: timedelta) -> datetime:
        self._now += time
        return self._now
