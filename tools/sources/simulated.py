"""A stream that needs no broker: `simulated://NAME?seed=7&rows=100000&rate=100`. What comes is decided by name and seed alone.

Event n arrives n / `rate` seconds after `start`; what has not arrived yet by the clock is not there. Some come late (their time
is before their arrival), some twice (the same event again), as streams are. The place in the stream is the mark.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError

from tools.clock import Clock
from tools.errors import Misused
from tools.sources.port import Chunk
from tools.values import Frozen, Instant

SCHEMA = pa.schema(
    [
        pa.field("event", pa.int64()),  # the same where an event came twice
        pa.field("time", pa.timestamp("us", "UTC")),  # when it happened
        pa.field("arrived", pa.timestamp("us", "UTC")),
        pa.field("customer", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("amount", pa.float64()),
    ]
)

_BLOCK = 1_024
"""Events are drawn by blocks, each from its own number: where a reading starts makes no difference."""
_KINDS = ("view", "basket", "order")
_SHARES = (0.8, 0.15, 0.05)
_CUSTOMERS = 1_000


class Stream(Frozen):
    seed: int = Field(default=0, ge=0)
    rows: int = Field(default=10_000, ge=0)
    """How long it is."""
    rate: float = Field(default=100.0, gt=0, le=1e6)
    """Events per second."""
    start: Instant = datetime(2026, 1, 1, tzinfo=UTC)
    late: float = Field(default=0.0, ge=0, le=1)
    """Share that comes late."""
    lateness: float = Field(default=60.0, gt=0, le=1e6)
    """By how many seconds these are late on average."""
    duplicates: float = Field(default=0.0, ge=0, le=1)
    """Share that is an earlier event again."""


class Simulation:
    """`Source`."""

    ordered = True

    def __init__(self, url: str, clock: Clock, *, batch_rows: int, commit_rows: int) -> None:
        parts = urlsplit(url)
        self.label = parts.netloc
        if not self.label or parts.path.strip("/"):
            raise Misused("a simulated stream is simulated://NAME?seed=7&rows=10000&rate=100")
        try:
            self._stream = Stream.model_validate_strings(dict(parse_qsl(parts.query, keep_blank_values=True)))
        except ValidationError as error:
            said = error.errors()[0]
            raise Misused(f"simulated://{self.label}: {'.'.join(map(str, said['loc']))}: {said['msg']}") from error
        # A longer one is the same one.
        identity = self._stream.model_dump_json(exclude={"rows"})
        self.name = f"simulated:{self.label}:{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        self._clock = clock
        self._batch_rows = batch_rows
        self._commit_rows = commit_rows
        self.held_back: dict[str, int] = {}

    def batches(self, mark: str | None) -> Iterator["Stretch"]:
        after = int(mark) if mark is not None else 0
        passed = (self._clock.now() - self._stream.start) / timedelta(seconds=1)
        arrived = min(self._stream.rows, max(int(passed * self._stream.rate) + 1, 0) if passed >= 0 else 0)
        to_come = self._stream.rows - max(arrived, after)
        self.held_back = {"that have not arrived yet": to_come} if to_come > 0 else {}
        for first in range(after, arrived, self._commit_rows):
            yield Stretch(self.name, self._stream, first, min(first + self._commit_rows, arrived), self._batch_rows)

    def close(self) -> None:
        """There is nothing."""


class Stretch:
    """`Batch`: the events from `first` up to `end`."""

    def __init__(self, name: str, stream: Stream, first: int, end: int, batch_rows: int) -> None:
        self.name = f"{name} from {first:,}"
        self.key: str | None = f"{name}:{first}-{end}"
        self.mark: str | None = str(end)
        self._draw = _Draw(name, stream)
        self._first = first
        self._end = end
        self._batch_rows = batch_rows

    def schema(self) -> pa.Schema:
        return SCHEMA

    def chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        del schema
        for first in range(self._first, self._end, self._batch_rows):
            end = min(first + self._batch_rows, self._end)
            blocks = [self._draw.block(number) for number in range(first // _BLOCK, (end - 1) // _BLOCK + 1)]
            rows = pa.concat_tables(blocks).slice(first % _BLOCK, end - first)
            yield Chunk(rows, np.arange(first - self._first + 1, end - self._first + 1, dtype=np.int64))


class _Draw:
    def __init__(self, name: str, stream: Stream) -> None:
        self._stream = stream
        self._key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")

    def block(self, number: int) -> pa.Table:
        stream = self._stream
        drawn: Any = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, 0, number]))
        events = np.arange(number * _BLOCK, (number + 1) * _BLOCK, dtype=np.int64)
        arrived = (events / stream.rate * 1e6).astype(np.int64)
        behind = np.where(drawn.random(_BLOCK) < stream.late, drawn.exponential(stream.lateness * 1e6, _BLOCK), 0.0)
        times = arrived - behind.astype(np.int64)
        customers = drawn.zipf(1.3, _BLOCK) % _CUSTOMERS
        kinds = drawn.choice(len(_KINDS), _BLOCK, p=_SHARES)
        amounts = np.round(drawn.lognormal(3.0, 0.8, _BLOCK), 2)
        again = self._again(drawn)
        start = int(stream.start.timestamp() * 1_000_000)
        return pa.Table.from_arrays(
            [
                pa.array(events[again]),
                pa.array(times[again] + start).cast(SCHEMA.field("time").type),
                pa.array(arrived + start).cast(SCHEMA.field("arrived").type),
                pa.array([f"c{customer:03}" for customer in customers[again]]),
                pa.array([_KINDS[kind] for kind in kinds[again]]),
                pa.array(amounts[again]),
            ],
            schema=SCHEMA,
        )

    def _again(self, drawn: Any) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Which event of the block comes at each of its places: its own, or for a duplicate an earlier one that was its own."""
        own = np.arange(_BLOCK, dtype=np.int64)
        twice = drawn.random(_BLOCK) < self._stream.duplicates
        twice[0] = False
        originals = own[~twice]
        before = np.searchsorted(originals, own)
        chosen = originals[(drawn.random(_BLOCK) * np.maximum(before, 1)).astype(np.int64)]
        return np.where(twice, chosen, own)
