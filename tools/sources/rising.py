"""The rows of a selection as they stream by, cut into batches."""

import hashlib
from collections.abc import Iterator
from typing import Any

from tools.errors import PermanentError
from tools.sources import kinds, watermarks
from tools.sources.kinds import Kind
from tools.sources.reading import Lookback
from tools.sources.watermarks import Mark, Seen, Window

Row = tuple[Any, ...]


class Rising:
    """In the order of a watermark, their last field. A batch ends where it rises, after about `commit_rows`."""

    def __init__(
        self, parts: Iterator[list[Row]], kind: Kind, before: Mark | None, *, lookback: Lookback, commit_rows: int
    ) -> None:
        self._parts = parts
        self._lookback = lookback
        self._commit_rows = commit_rows
        self._start = kinds.decode(kind, before.at) if before else None
        self._before = before
        self._again = before is not None
        """Whether rows may still be some that were read before."""
        self._seen = Seen(before.seen if before else ())
        self._window = Window(kind, lookback, before)
        self._buffer: list[Row] = []
        self._near = 0
        """How many at the head of the buffer are near the start, and in the window already."""
        self._last: Any = None

    def place(self) -> str:
        return f" after {self._before.at}" if self._before else " from its start"

    def more(self) -> bool:
        while not self._buffer:
            part = next(self._parts, None)
            if part is None:
                return False
            self._buffer = self._fresh(part) if self._again else part
        return True

    def ahead(self) -> list[Row]:
        """Rows to come; none only at the end."""
        return self._buffer if self.more() else []

    def take(self, taken: int) -> list[Row]:
        """The next rows of the batch, of which `taken` were; none when it is at its end."""
        if not self.more():
            return []
        wanted = max(self._commit_rows - taken, 0)
        # Near the start nothing is cut: a mark would forget what has not gone by again.
        if not self._near and not wanted and self._buffer[0][-1] != self._last and self._can_stop():
            return []
        end = len(self._buffer)
        for place in range(max(wanted, self._near, 1), end):
            if self._buffer[place][-1] != self._buffer[place - 1][-1]:
                end = place
                break
        rows, self._buffer = self._buffer[:end], self._buffer[end:]
        self._window.add(rows[self._near :])
        self._near = 0
        self._last = rows[-1][-1]
        return rows

    def done(self) -> tuple[str, str]:
        """What identifies the batch, and the mark after it."""
        mark = self._window.mark()
        start = self._before.model_dump_json() if self._before else ""
        self._before = mark
        return f"{start}\n{mark.model_dump_json()}", mark.model_dump_json()

    def _can_stop(self) -> bool:
        return not self._lookback or self._window.complete

    def _fresh(self, part: list[Row]) -> list[Row]:
        after = next((place for place, row in enumerate(part) if self._is_after(row[-1])), len(part))
        self._again = after == len(part)
        self._window.add(part[:after])
        late = [row for row in part[:after] if not self._seen.has(watermarks.digest(row[:-1]))]
        self._near = len(late)
        return late + part[after:]

    def _is_after(self, value: Any) -> bool:
        return kinds.is_above(value, self._start) if self._lookback else bool(value != self._start)


class Whole:
    """In no order, and all one batch. What is in it identifies it, so it is offered once, and known only when all was taken."""

    def __init__(self, parts: Iterator[list[Row]]) -> None:
        self._parts = parts
        self._buffer: list[Row] = next(parts, [])
        self._offered = self._complete = False
        self._rows = 0
        self._sum = 0

    def place(self) -> str:
        return ""

    def more(self) -> bool:
        offered, self._offered = self._offered, True
        return not offered

    def ahead(self) -> list[Row]:
        return self._buffer

    def take(self, taken: int) -> list[Row]:
        """Raises PermanentError when rows are gone that are not among the `taken`: a reading that broke off had them."""
        if taken != self._rows:
            raise PermanentError(f"{self._rows - taken:,} of its rows went with a reading that broke off: read it anew")
        rows, self._buffer = self._buffer, []
        for row in rows:
            self._rows += 1
            found = hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self._sum = (self._sum + int.from_bytes(found, "big")) % (1 << 128)
        # After the rows were counted: where the database fails here, what follows must not pass for the whole.
        self._buffer = next(self._parts, []) if rows else []
        self._complete = not rows
        return rows

    def done(self) -> tuple[str, None]:
        """Raises PermanentError before all rows were taken: nothing else tells it from another content."""
        if not self._complete:
            raise PermanentError("it was not read to its end")
        return f"{self._rows} rows, {self._sum:032x}", None
