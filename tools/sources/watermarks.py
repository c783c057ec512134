"""How far a table has been read: the highest value of a column that rises, and the rows that were seen near it.

A row that shares the highest value with one that was read, or that was committed late with a lower one, is told from it by its
content: the mark holds digests of the rows from `lookback` below the highest value up to it. So reading starts again there, and
brings what is new, once.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tools.errors import PermanentError
from tools.sources.kinds import Kind, below, decode, encode, is_above
from tools.sources.reading import Lookback
from tools.values import Frozen

MOST_SEEN = 10_000
"""Rows that a mark remembers, 16 bytes each: a mark is kept with every batch."""

_DIGEST_BYTES = 12


class Mark(Frozen):
    kind: Kind
    at: str
    since: str
    """The rows from here up to `at` that were read are remembered; those below are not, and must not be read again."""
    above: bool = False
    """Nor those of `since` itself: they were more than a mark remembers, and there was a higher value."""
    seen: tuple[str, ...] = ()
    """Digests."""


def start(before: Mark, lookback: Lookback) -> tuple[Any, bool]:
    """Where to go on, and whether only above it."""
    at, since = decode(before.kind, before.at), decode(before.kind, before.since)
    first = below(before.kind, at, lookback)
    if lookback and is_above(since, first):
        first = since
    return first, before.above and first == since


def digest(row: Sequence[Any]) -> str:
    found = hashlib.blake2b(repr(tuple(row)).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES)
    return base64.b64encode(found.digest()).decode()


class Window:
    """The rows from `lookback` below the highest value that went by up to it, each with its value as its last field."""

    def __init__(self, kind: Kind, lookback: Lookback, before: Mark | None) -> None:
        self._kind = kind
        self._lookback = lookback
        self._top = decode(kind, before.at) if before else None
        # Nobody remembers what was below, even when the lookback is longer now.
        self._start = start(before, lookback) if before else None
        self._floor = self._start[0] if self._start else None
        self._rows: list[Sequence[Any]] = []
        self._lost: Any = None
        """The highest value of a row that should be remembered and is not: there were too many."""

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """In order."""
        if not rows:
            return
        last = rows[-1][-1]
        if self._top is None or not self._lookback or is_above(last, self._top):
            self._top, self._floor = last, self._reaching(below(self._kind, last, self._lookback))
        tail: list[Sequence[Any]] = []
        for row in reversed(rows):
            if not self._holds(row[-1]):
                break
            tail.append(row)
        if len(tail) == len(rows):
            tail += [row for row in reversed(self._rows) if self._holds(row[-1])]
        self._rows = tail[::-1]
        if len(self._rows) > MOST_SEEN:
            self._rows, self._lost = [], last

    @property
    def complete(self) -> bool:
        return self._lost is None or not self._holds(self._lost)

    def mark(self) -> Mark:
        """Raises PermanentError when rows could come twice after it."""
        at = encode(self._top)
        if self.complete:
            above = self._start is not None and self._start == (self._floor, True)
            seen = tuple(digest(row[:-1]) for row in self._rows)
            return Mark(kind=self._kind, at=at, since=encode(self._floor), above=above, seen=seen)
        if self._lookback:
            raise PermanentError(too_many(self._lookback))
        return Mark(kind=self._kind, at=at, since=at, above=True)

    def _reaching(self, floor: Any) -> Any:
        if self._start is None or not self._lookback:
            return floor
        return self._start[0] if is_above(self._start[0], floor) else floor

    def _holds(self, value: Any) -> bool:
        # Without a lookback nothing is compared but for being the same: the order of texts is the database's.
        return not is_above(self._floor, value) if self._lookback else bool(value == self._top)


def too_many(lookback: Lookback) -> str:
    return (
        f"more than {MOST_SEEN:,} rows lie within the lookback of {lookback}: make it shorter, or use a lag, which waits for "
        "late rows instead of looking for them"
    )


class Seen:
    """The rows that a mark remembers, until each has gone by again."""

    def __init__(self, digests: Sequence[str]) -> None:
        self._left = Counter(digests)

    def has(self, found: str) -> bool:
        """A digest, once for each time that it was seen."""
        if not self._left[found]:
            return False
        self._left[found] -= 1
        return True
