"""What a check makes of rows on their way into the lake."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.fitting import Misfit, plain

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Checked:
    accepted: pa.Table
    """Rows as they came, fewer or all; the columns are theirs."""
    quarantined: pa.Table
    """The rest, with the reason in a column `_reason`, and where it is known their number in a column `_row`."""
    refused: str | None = None
    """Why nothing of the batch may be stored."""


Check = Callable[[pa.Table], Checked]
"""Sees the rows of a batch a chunk at a time."""


@dataclass(frozen=True)
class Concluded:
    """What is said of a batch at its end."""

    refused: str | None = None
    """Why nothing of it may be stored."""
    statistics: str | None = None
    """What was measured of it, as JSON, to be kept with it."""


class BatchCheck(Protocol):
    """Of one batch, from its first row to its end."""

    def rows(self, rows: pa.Table, numbers: Numbers) -> Checked:
        """More of its rows, with their numbers in the batch. Some or all may be held back until it has been seen as a whole."""
        ...

    def misfits(self, rows: int, why: Sequence[Misfit]) -> None:
        """More that did not fit the table, and is quarantined already."""
        ...

    def rest(self) -> Iterator[Checked]:
        """What was held back, once no more comes."""
        ...

    def conclude(self) -> Concluded: ...

    def committed(self) -> None:
        """It is in the table now. Not called for a batch that was refused or failed."""
        ...


class Checks(Protocol):
    """Of all batches of a run."""

    @property
    def optional(self) -> frozenset[str]:
        """Columns that a batch may come without: its rows have nulls there."""
        ...

    def schema(self, own: pa.Schema, table: pa.Schema | None) -> pa.Schema:
        """What a batch's rows are to become. `own`: what they are by themselves; `table`: what those before became.

        Raises PermanentError where they cannot.
        """
        ...

    def batch(self, name: str, schema: pa.Schema) -> AbstractContextManager[BatchCheck]: ...


class Plain:
    """`Checks`, of a check that looks at rows and no further, or of none."""

    optional: frozenset[str] = frozenset()

    def __init__(self, check: Check | None) -> None:
        self._check = check

    def schema(self, own: pa.Schema, table: pa.Schema | None) -> pa.Schema:
        return table or plain(own)

    def batch(self, name: str, schema: pa.Schema) -> AbstractContextManager["BatchCheck"]:
        del name, schema
        return contextlib.nullcontext(_PlainBatch(self._check))


class _PlainBatch:
    def __init__(self, check: Check | None) -> None:
        self._check = check

    def rows(self, rows: pa.Table, numbers: Numbers) -> Checked:
        del numbers
        return self._check(rows) if self._check is not None else Checked(rows, NOTHING)

    def misfits(self, rows: int, why: Sequence[Misfit]) -> None: ...

    def rest(self) -> Iterator[Checked]:
        yield from ()

    def conclude(self) -> Concluded:
        return Concluded()

    def committed(self) -> None: ...


NOTHING = pa.table({"_reason": pa.array([], pa.string())})
