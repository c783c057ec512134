"""Tables of raw rows, written batch by batch: a batch is there as a whole, once, or not at all.

What did not fit is kept beside the rows of its batch, with the reason; a batch that was refused leaves its refusal and no row.
Marks are part of the batch that moved them.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import pyarrow as pa

from tools.errors import PermanentError, TemporaryError
from tools.values import Frozen, Instant

QUARANTINE = pa.schema(
    [
        pa.field("_row", pa.int64()),  # in its batch, from 1; null where it is not known
        pa.field("_reason", pa.string()),
        pa.field("_record", pa.string()),  # JSON of the row, or its line as it was found
    ]
)

RESERVED = re.compile(r"_(batch|attempt|row|reason|record)")
"""Names of ours, which no column of a table may have."""

_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


class InUse(TemporaryError):
    """Another process writes there."""


class Receipt(Frozen):
    """Of a batch that was stored or refused."""

    key: str
    source: str
    name: str
    """Of the batch, for people."""
    rows: int = 0
    quarantined: int = 0
    bytes: int = 0
    """Of the rows in memory, as Arrow."""
    mark: str | None = None
    sequence: int = 0
    """Of the batches of an ordered source, from 1: clocks may go back, this does not."""
    at: Instant
    refused: str | None = None
    """Why; then nothing of it was stored."""


class Staged(Protocol):
    """A batch on its way. Nobody sees anything of it before it is committed."""

    def write(self, rows: pa.Table) -> None:
        """More rows; all must have one schema, the table's if it has one."""
        ...

    def quarantine(self, rows: pa.Table) -> None:
        """More of what did not fit, as QUARANTINE."""
        ...

    def describe(self, statistics: str) -> None:
        """What was measured of the batch, as JSON; kept with it. Of several the last."""
        ...

    def commit(self, receipt: Receipt) -> bool:
        """All of it at once, on disk when this returns. False: a batch with this key is there already, and this one is gone."""
        ...

    def discard(self) -> None:
        """Unless it was committed. Repeating it is a no-op."""
        ...


class LakeReader(Protocol):
    """A table, to read from while others write to it: of a batch everything is seen, or nothing. Empty where there is none."""

    def schema(self) -> pa.Schema | None:
        """None until rows were committed."""
        ...

    def receipts(self) -> tuple[Receipt, ...]:
        """Of all committed batches and refusals that still stand, oldest first."""
        ...

    def rows(self, keys: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Of all committed batches, or of those with these keys; batch by batch, oldest first, without columns of ours."""
        ...

    def quarantined(self) -> Iterator[pa.RecordBatch]:
        """As QUARANTINE, with `_batch`, the key."""
        ...

    def statistics(self) -> Iterator[tuple[Receipt, str]]:
        """Of the committed batches that were described, oldest first."""
        ...


class LakeTable(LakeReader, Protocol):
    """A table, to write to."""

    def find(self, key: str) -> Receipt | None:
        """Of a batch that is there; not of one that was refused, which may be tried again."""
        ...

    def last(self, source: str) -> Receipt | None:
        """Of the batches of this source that have a mark, the one with the highest sequence."""
        ...

    def stage(self) -> Staged: ...

    def refuse(self, receipt: Receipt) -> None:
        """Keep the refusal, the newest by key."""
        ...


@runtime_checkable
class Lake(Protocol):
    def open(self, table: str) -> AbstractContextManager[LakeTable]:
        """To write to it. What an interrupted writer left is taken away. Raises InUse when another process is at it, and
        PermanentError for a name that is none."""
        ...

    def read(self, table: str) -> LakeReader:
        """To read from it, whoever writes to it. Raises PermanentError for a name that is none."""
        ...

    def tables(self) -> tuple[str, ...]:
        """Those with a batch or a refusal, by name."""
        ...

    def close(self) -> None: ...


def checked_name(table: str) -> str:
    if not _TABLE.fullmatch(table):
        raise PermanentError(f"{table!r} is no name for a table: letters, digits and _, a letter first, at most 100")
    return table
