"""Rows whose key was there before: in their batch or, where the schema asks for it, in the table."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.validation.enforcing import Broken, shown
from pipelines.validation.keys import Digests, Keys, Mask, digests_of, repeated
from tools.quality.schema import Unique


class Known(Protocol):
    def __call__(self, unique: Unique, digests: Digests) -> Mask:
        """Which of them are in the table already."""
        ...


class Uniqueness:
    """Of the good rows of one batch. `folder`: for what does not fit into memory."""

    def __init__(self, keys: tuple[Unique, ...], folder: Path, known: Known) -> None:
        self._known = known
        self.keys: dict[Unique, Keys] = {}
        for place, unique in enumerate(keys):
            (own := folder / f"keys-{place}").mkdir()
            self.keys[unique] = Keys(own)

    def broken(self, rows: pa.Table) -> Iterator[Broken]:
        """Rows whose key was there before. Those of the others are remembered once all keys have been looked at: a row that one
        key turns down takes no place in another."""
        taken = np.zeros(rows.num_rows, dtype=bool)
        found = []
        for unique, keys in self.keys.items():
            digests, there = digests_of(rows, unique.columns)
            before = keys.known(digests)
            elsewhere = self._known(unique, digests) & ~before if unique.across_batches else np.zeros_like(before)
            found.append((unique, digests, there, before & there, elsewhere & there))
            taken |= (before | elsewhere) & there
        # Within the chunk: the first row that is good stays.
        within = _within([(digests, there) for _, digests, there, _, _ in found], taken)
        for (unique, digests, there, before, elsewhere), here in zip(found, within, strict=True):
            self.keys[unique].add(digests[there & ~taken & ~_any(within, rows.num_rows)])
            columns = ", ".join(unique.columns)
            for mask, where in ((before | here, "in this batch"), (elsewhere, "in the table")):
                yield Broken(columns, "unique", np.flatnonzero(mask).astype(np.int64), _repeat(unique, where))


def _repeat(unique: Unique, where: str) -> Callable[[dict[str, Any]], str]:
    def words(row: dict[str, Any]) -> str:
        return f"{', '.join(f'{name}: {shown(row[name])}' for name in unique.columns)} is there already {where}"

    return words


def _any(masks: list[Any], rows: int) -> Any:
    found = np.zeros(rows, dtype=bool)
    for mask in masks:
        found |= mask
    return found


def _within(keys: list[tuple[Any, Any]], taken: Any) -> list[Any]:
    """Of each key, the rows of a chunk whose key a good row further up has. `taken`: rows that are none already.

    With several keys, a row that one of them turns down leaves its other keys free; rows are then gone through in order.
    """
    candidates = [there & ~taken for _, there in keys]
    alone = []
    for (digests, _), mask in zip(keys, candidates, strict=True):
        found = np.zeros(len(mask), dtype=bool)
        places = np.flatnonzero(mask)
        found[places[repeated(digests[places])]] = True
        alone.append(found)
    if len(keys) < 2 or not any(mask.any() for mask in alone):
        return alone
    seen: list[set[bytes]] = [set() for _ in keys]
    result = [np.zeros(len(taken), dtype=bool) for _ in keys]
    for row in np.flatnonzero(~taken).tolist():
        there = [place for place, (_, mask) in enumerate(keys) if mask[row]]
        hit = [place for place in there if bytes(keys[place][0][row]) in seen[place]]
        for place in hit:
            result[place][row] = True
        if not hit:
            for place in there:
                seen[place].add(bytes(keys[place][0][row]))
    return result
