"""What happened to a table in ClickHouse, in one order that all who write to it agree on.

Events are numbered, and only the first one with a number counts: ClickHouse drops an insert with a token that it has seen, in
the same instant in which it would have stored it. So whoever adds an event has read all events before it, or is told that he
has not; and what he made sure of in them (nobody else has opened the table since, no batch with this key is there) is so.

A batch is there because its event is. Its rows were inserted before, under a number of its own, its attempt.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from tools.clickhouse.connection import NoTable
from tools.clickhouse.database import Database
from tools.errors import TemporaryError
from tools.lake.port import InUse, Receipt

INSERT = {"async_insert": "0"}
"""With it on, as it is on some servers, an insert has another token."""

_TOKENS = 10_000
"""Numbers that are remembered. Who adds an event has read the newest a moment ago; for one that slept through so many the time
at which an event was noted tells which of two was the first."""
_TRIES = 8


@dataclass(frozen=True, slots=True)
class State:
    """All that decides whether an event may be added."""

    position: int = 0
    """Of the newest event."""
    writer: int = 0
    """Who opened the table last: the number of the event by which he did."""
    since: timedelta = timedelta(0)
    """He opened it."""
    closed: bool = False
    """By him."""
    tidy: bool = False
    """He left no rows of batches that were not committed."""
    shape: str = ""
    """The table's schema; empty until rows were committed."""
    home: int = 0
    """The attempt by which it came, after which the table of all rows is called."""
    found: bool = False
    """Whether there is a batch with this key."""


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    """`opened`, `committed`, `refused`, `closed`, or `left`: closed, but not tidy."""
    attempt: int = 0
    rows: int = 0
    quarantined: int = 0
    receipt: Receipt | None = None
    statistics: str | None = None
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    attempt: int
    rows: int
    quarantined: int
    receipt: Receipt


class Journal:
    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self.name = f"_oppen_journal_{table}"

    def create(self) -> None:
        self._database.run(f"""
        CREATE TABLE IF NOT EXISTS {self.name} (
            position UInt64, id String, kind LowCardinality(String), writer UInt64, attempt UInt64,
            rows UInt64, quarantined UInt64,
            batch String, origin String, marked Bool, sequence Int64, receipt String, statistics Nullable(String), shape String,
            noted DateTime64(6, 'UTC') DEFAULT now64(6)
        ) ENGINE = MergeTree ORDER BY position
        SETTINGS non_replicated_deduplication_window = {_TOKENS}, fsync_after_insert = 1, fsync_part_directory = 1
        """)

    def state(self, key: str = "") -> State | None:
        """None where there is no table."""
        opened = "maxIf(position, kind = 'opened')"
        query = f"""
        SELECT max(position), {opened}, dateDiff('millisecond', maxIf(noted, kind = 'opened'), now64(6)),
            maxIf(writer, kind IN ('closed', 'left')) = {opened}, maxIf(writer, kind = 'closed') = {opened},
            argMinIf(shape, position, shape != ''), argMinIf(attempt, position, shape != ''),
            countIf(kind = 'committed' AND batch = {{batch:String}}) > 0
        FROM {self.events()}
        """
        try:
            ((position, writer, since, closed, tidy, shape, home, found),) = self._database.rows(query, {"batch": digest(key)})
        except NoTable:
            return None
        if not position:
            return State()
        return State(
            position, writer, timedelta(milliseconds=since), bool(closed), bool(tidy), shape, home, bool(found)
        )  # fmt: skip

    def standing(self, writer: int, key: str = "") -> State:
        """Raises InUse unless it is still this writer's turn."""
        state = self.state(key)
        if state is None or state.writer != writer or state.closed:
            raise InUse(f"{self.name}: another process has taken the table over; run this again")
        return state

    def add(self, event: Event, after: State, writer: int = 0) -> bool:
        """As the next after this state; False when another came first. On disk when this returns. `writer`: whose it is; that
        of an event which opens is the event's own number."""
        position, id = after.position + 1, os.urandom(16).hex()
        row = _row(event, position, id, writer or position)
        query = f"SELECT id FROM {self.name} WHERE position = {position} ORDER BY noted, id LIMIT 1"
        for tried in range(_TRIES):
            settings = {**INSERT, "insert_deduplicate": "1", "insert_deduplication_token": f"{position}:{tried}"}
            self._database.insert(self.name, row, settings)
            if first := self._database.rows(query):
                return bool(first[0][0] == id)
            # Noted by a server that was killed before it had the row: everybody takes the next token.
        raise TemporaryError(f"{self.name}: event {position} is not kept")

    def committed(self) -> list[Committed]:
        """Oldest first."""
        rows = self._rows("attempt, rows, quarantined, receipt", "kind = 'committed'")
        found = [
            Committed(attempt, count, quarantined, Receipt.model_validate_json(receipt))
            for attempt, count, quarantined, receipt in rows
        ]
        return sorted(found, key=lambda each: age(each.receipt))

    def refused(self) -> list[Receipt]:
        """The newest by key."""
        rows = self._rows("receipt", "kind = 'refused'")
        found = (Receipt.model_validate_json(receipt) for (receipt,) in rows)
        return list({each.key: each for each in found}.values())

    def told(self) -> bool:
        """Whether there is anything but comings and goings."""
        return bool(self._rows("1", "kind IN ('committed', 'refused')"))

    def find(self, key: str) -> Receipt | None:
        return self._receipt("kind = 'committed' AND batch = {of:String}", key, "position")

    def last(self, source: str) -> Receipt | None:
        return self._receipt("kind = 'committed' AND marked AND origin = {of:String}", source, "sequence DESC, position DESC")

    def statistics(self) -> list[tuple[Receipt, str]]:
        rows = self._rows("receipt, statistics", "kind = 'committed' AND statistics IS NOT NULL")
        found = [(Receipt.model_validate_json(receipt), said) for receipt, said in rows]
        return sorted(found, key=lambda each: age(each[0]))

    def events(self) -> str:
        """As a table. Of two with one number the first."""
        return f"(SELECT * FROM {self.name} ORDER BY position, noted, id LIMIT 1 BY position)"

    def _receipt(self, where: str, of: str, order: str) -> Receipt | None:
        query = f"SELECT receipt FROM {self.events()} WHERE {where} ORDER BY {order} LIMIT 1"
        try:
            rows = self._database.rows(query, {"of": digest(of)})
        except NoTable:
            return None
        return Receipt.model_validate_json(rows[0][0]) if rows else None

    def _rows(self, columns: str, where: str) -> list[tuple[Any, ...]]:
        try:
            return self._database.rows(f"SELECT {columns} FROM {self.events()} WHERE {where} ORDER BY position")
        except NoTable:
            return []


def digest(name: str) -> str:
    """Of what comes from outside, to be looked for."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def age(receipt: Receipt) -> tuple[Any, str]:
    return receipt.at, receipt.key


def _row(event: Event, position: int, id: str, writer: int) -> pa.Table:
    receipt, number, text = event.receipt, pa.uint64(), pa.string()
    values = {
        "position": (position, number),
        "id": (id, text),
        "kind": (event.kind, text),
        "writer": (writer, number),
        "attempt": (event.attempt, number),
        "rows": (event.rows, number),
        "quarantined": (event.quarantined, number),
        "batch": (digest(receipt.key) if receipt else "", text),
        "origin": (digest(receipt.source) if receipt else "", text),
        "marked": (receipt is not None and receipt.mark is not None, pa.bool_()),
        "sequence": (receipt.sequence if receipt else 0, pa.int64()),
        "receipt": (receipt.model_dump_json() if receipt else "", text),
        "statistics": (event.statistics, text),
        "shape": (event.shape, text),
    }
    return pa.table({name: pa.array([value], kind) for name, (value, kind) in values.items()})
