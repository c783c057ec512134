"""Bounds how often an address may present API keys that do not hold.

Guessing 256 random bits is hopeless at any rate; what is bounded is the work that trying makes for the database. A key that has
held before is always looked at: an attacker behind the same proxy does not lock its holder out.
"""

import math
import time
from collections import OrderedDict

from api.problems import TooManyFailures

_AT_ONCE = 20
_PER_SECOND = 0.5
_REMEMBERED = 10_000
"""Addresses, and keys that have held: the oldest are forgotten first, so memory is bounded."""


class FailedAttempts:
    """A bucket of failures per address, which fills up again with (real) time."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._good: OrderedDict[str, None] = OrderedDict()

    def check(self, address: str, key_id: str) -> None:
        """Raises TooManyFailures."""
        left = self._left(address)
        if left < 1 and key_id not in self._good:
            wait = math.ceil((1 - left) / _PER_SECOND)
            raise TooManyFailures("too many keys that do not hold came from your address", retry_after_s=wait)

    def failed(self, address: str) -> None:
        self._buckets[address] = (max(0.0, self._left(address) - 1), time.monotonic())
        _bound(self._buckets, address)

    def held(self, key_id: str) -> None:
        self._good[key_id] = None
        _bound(self._good, key_id)

    def _left(self, address: str) -> float:
        left, then = self._buckets.get(address, (float(_AT_ONCE), time.monotonic()))
        return min(_AT_ONCE, left + (time.monotonic() - then) * _PER_SECOND)


def _bound(remembered: "OrderedDict[str, tuple[float, float]] | OrderedDict[str, None]", newest: str) -> None:
    remembered.move_to_end(newest)
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
