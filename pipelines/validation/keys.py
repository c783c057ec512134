"""Whether the values of some columns, together, were there before: exact but for a collision of 128 bits, in bounded memory.

Keys are hashed and kept in sorted runs, which go to a temporary file when they are many. Within one column of numbers the hash
is one to one.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_IN_MEMORY = 1 << 21
"""Keys of 16 bytes that are held at a time: 32 MiB; the others lie in files, whose pages the system lends."""

Digests = np.ndarray[Any, np.dtype[np.bytes_]]
Halves = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Keys:
    """A growing set of keys. `folder`: for what does not fit into memory; whoever made it removes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: list[Digests] = []
        self._spilled: list[Digests] = []

    def known(self, digests: Digests) -> Mask:
        found: Mask = np.zeros(len(digests), dtype=bool)
        for run in (*self._spilled, *self._runs):
            places = np.minimum(np.searchsorted(run, digests), len(run) - 1)
            found |= run[places] == digests
        return found

    def add(self, digests: Digests) -> None:
        """Such as are not known yet, each once."""
        if not len(digests):
            return
        run = np.sort(digests)
        # Runs of one size are merged, so that there are few of them.
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
        if sum(map(len, self._runs)) > _IN_MEMORY:
            self._spill()

    def take(self, other: "Keys") -> None:
        """All of `other`, none of which is known."""
        for run in (*other._spilled, *other._runs):
            for start in range(0, len(run), _IN_MEMORY):
                self.add(np.array(run[start : start + _IN_MEMORY]))

    def _spill(self) -> None:
        path = self._folder / f"run-{len(self._spilled):05}"
        np.sort(np.concatenate(self._runs)).tofile(path)
        self._spilled.append(np.memmap(path, dtype="S16", mode="r"))
        self._runs = []


def repeated(digests: Digests) -> Mask:
    """Those that were there before, further up."""
    _, first = np.unique(digests, return_index=True)
    found: Mask = np.ones(len(digests), dtype=bool)
    found[first] = False
    return found


def digests_of(rows: pa.Table, columns: tuple[str, ...]) -> tuple[Digests, Mask]:
    """Of each row, and which rows have a key at all: one with a null is like no other."""
    there: Mask = np.ones(rows.num_rows, dtype=bool)
    high = np.zeros(rows.num_rows, dtype=np.uint64)
    low = np.zeros(rows.num_rows, dtype=np.uint64)
    for name in columns:
        values = rows[name].combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
        if values.null_count:
            there &= pc.is_valid(values).to_numpy(zero_copy_only=False)
        ours, theirs = _halves(values)
        high = _mixed(high * _ODD + ours)
        low = _mixed(low * _OTHER_ODD + theirs)
    both = np.empty((rows.num_rows, 2), dtype=">u8")
    both[:, 0], both[:, 1] = high, low
    return both.view("S16").reshape(-1), there


_ODD, _OTHER_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)
_SALT = np.uint64(0xA0761D6478BD642F)
_WORDS = ("oppen-validates!", "keys-of-its-rows")
"""SipHash keys: 16 letters each."""


def _halves(values: pa.Array) -> tuple[Halves, Halves]:
    kind = values.type
    if pa.types.is_floating(kind):
        numbers = pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy() + 0.0  # -0.0 is 0.0
        whole = numbers.view(np.uint64)
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        filled = pc.fill_null(values.cast(kind if kind == pa.uint64() else pa.int64()), 0)
        whole = filled.to_numpy().view(np.uint64)
    elif pa.types.is_timestamp(kind):
        whole = pc.fill_null(values.cast(pa.int64()), 0).to_numpy().view(np.uint64)
    elif pa.types.is_date32(kind):
        whole = pc.fill_null(values.cast(pa.int32()), 0).cast(pa.int64()).to_numpy().view(np.uint64)
    else:
        from pandas.util import hash_array

        words = np.array(values.cast(pa.string()).to_pylist() or [], dtype=object)
        ours, theirs = (np.asarray(hash_array(words, hash_key=key)) for key in _WORDS)
        return ours.astype(np.uint64), theirs.astype(np.uint64)
    return _mixed(whole), _mixed(whole ^ _SALT)


def _mixed(found: Halves) -> Halves:
    """SplitMix64's finisher, which is one to one."""
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Halves = found ^ (found >> np.uint64(31))
    return mixed
