"""A source of raw rows, in batches that have an identity and in chunks that fit into memory.

A batch is what is stored as a whole or not at all: a file, a stretch of a table, a page of an API. Its key says which one it
is, so that the same batch twice is once. A chunk is what is in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Misread:
    """What stands where a row should, and is none."""

    row: int
    """Its number in the batch, from 1."""
    reason: str
    record: str
    """As it was found."""


@dataclass(frozen=True, slots=True)
class Chunk:
    rows: pa.Table
    numbers: "np.ndarray[Any, np.dtype[np.int64]]"
    """Of each row in its batch, from 1: what an error or a quarantine names."""
    text: bool = False
    """Whether every column is bytes still to be read (CSV): the destination's types decide what they mean."""
    misread: tuple[Misread, ...] = ()


class Batch(Protocol):
    @property
    def name(self) -> str:
        """What errors call it: a file, a range, a page."""
        ...

    @property
    def key(self) -> str | None:
        """Its identity. None until it has been read, when it is known by its content only."""
        ...

    @property
    def mark(self) -> str | None:
        """Once it has been read: where the source goes on after it. None: the source has no order."""
        ...

    def schema(self) -> pa.Schema:
        """The types that it has by itself; what they become is the destination's."""
        ...

    def chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        """All its rows, in order. `schema`: the types that are wanted; those of the chunks may be others.

        Raises PermanentError, naming the place, where it is damaged; TemporaryError when the source is away.
        """
        ...


@runtime_checkable
class Source(Protocol):
    @property
    def name(self) -> str:
        """Who it is, without passwords; marks are kept under it."""
        ...

    @property
    def label(self) -> str:
        """What a table of its rows is called unless somebody says otherwise."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether a batch must be stored before the next one may be. Otherwise one that is broken holds up no other."""
        ...

    @property
    def held_back(self) -> dict[str, int]:
        """Rows that were left where they are, by reason: a later reading brings them."""
        ...

    def batches(self, mark: str | None) -> Iterator[Batch]:
        """Those after `mark` (None: all). Each must be through before the next is taken.

        Raises PermanentError when there is nothing to read from, TemporaryError when it is away.
        """
        ...

    def close(self) -> None: ...
