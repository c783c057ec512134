"""CSV in chunks of bytes: what the values mean is decided where the table's types are known.

pyarrow's own conversion gives up at the first value that does not fit, and a stream cannot go on after it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tools.sources.port import Chunk, Misread

ABSENT = pa.array(["", "NA", "N/A", "#N/A", "NULL", "null", "None"], pa.string())
"""What stands for no value in a column of text that is of another type. In a column of strings it is what it says. NaN is a
number, and not finite."""
_BLOCK_BYTES = 2 << 20
"""Arrow reads up to 32 ahead where rows are stored more slowly than they are read; no row is longer than one."""
_SAMPLE_BYTES = 16 << 20
"""Types are inferred from so much of a file."""
_MOST_MISREAD = 10_000
"""In one block; a file with more is no CSV of this shape."""


def schema(path: Path) -> pa.Schema:
    """Types as they look: of the head of the file, and numbers of all of it (a column of whole numbers may have a fraction at
    its end)."""
    with pyarrow.csv.open_csv(
        path, read_options=_reading(_SAMPLE_BYTES), parse_options=_skipping([]), convert_options=_converting(None)
    ) as head:
        found = head.schema
    whole = [field.name for field in found if pa.types.is_integer(field.type)]
    if whole and len(set(found.names)) == len(found.names) and path.stat().st_size > _SAMPLE_BYTES:
        fractions = _fractions(path, whole)
        found = pa.schema([pa.field(each.name, pa.float64()) if each.name in fractions else each for each in found])
    return found


def chunks(path: Path, batch_rows: int) -> Iterator[Chunk]:
    """Row numbers are those of the file's rows without its header."""
    skipped: list[Any] = []
    converting = _converting({name: pa.binary() for name in schema_names(path)})
    numbering = _Numbering(skipped)
    with pyarrow.csv.open_csv(
        path, read_options=_reading(_BLOCK_BYTES), parse_options=_skipping(skipped), convert_options=converting
    ) as reader:
        for block in reader:
            rows = pa.Table.from_batches([block])
            numbers = numbering.next(rows.num_rows)
            for start in range(0, rows.num_rows, batch_rows):
                part = numbers[start : start + batch_rows]
                yield Chunk(rows.slice(start, batch_rows), part, text=True, misread=numbering.misread(int(part[-1])))
        if skipped:
            yield Chunk(reader.schema.empty_table(), numbering.next(0), text=True, misread=numbering.misread(None))


class _Numbering:
    """Which numbers the rows have that were not skipped; the reader may be ahead of what it has handed out."""

    def __init__(self, skipped: list[Any]) -> None:
        self._skipped = skipped
        self._after = 0

    def next(self, count: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
        # The reader counts the header as 1.
        skipped = np.array([each.number - 1 for each in self._skipped], dtype=np.int64)
        candidates = np.arange(self._after + 1, self._after + 1 + count + len(skipped), dtype=np.int64)
        numbers = np.setdiff1d(candidates, skipped)[:count]
        self._after = int(numbers[-1]) if count else self._after
        return numbers

    def misread(self, until: int | None) -> tuple[Misread, ...]:
        """Those before the row `until`, once."""
        due = [each for each in self._skipped if until is None or each.number - 1 < until]
        self._skipped[:] = [each for each in self._skipped if each not in due]
        return tuple(
            Misread(each.number - 1, f"the row has {each.actual_columns} columns, not {each.expected_columns}", each.text)
            for each in due
        )


def schema_names(path: Path) -> list[str]:
    with pyarrow.csv.open_csv(
        path, read_options=_reading(_SAMPLE_BYTES), parse_options=_skipping([]), convert_options=_converting(None)
    ) as head:
        names: list[str] = head.schema.names
        return names


def _fractions(path: Path, whole: list[str]) -> set[str]:
    found: set[str] = set()
    converting = _converting({name: pa.string() for name in whole}, whole)
    with (
        contextlib.suppress(pa.ArrowInvalid),  # what is damaged is told by who reads the rows
        pyarrow.csv.open_csv(
            path, read_options=_reading(_BLOCK_BYTES), parse_options=_skipping([]), convert_options=converting
        ) as reader,
    ):
        for block in reader:
            for name in whole:
                if (
                    name not in found
                    and pc.any(pc.match_substring_regex(block[name], r"^\s*[-+]?\d+\.\d|^\s*[-+]?\d+(\.\d*)?[eE]")).as_py()
                ):
                    found.add(name)
    return found


def _reading(block_bytes: int) -> Any:
    # In one thread, the reader knows the numbers of rows that it skips.
    return pyarrow.csv.ReadOptions(use_threads=False, block_size=block_bytes)


def _skipping(skipped: list[Any]) -> Any:
    def note(row: Any) -> str:
        skipped.append(row)
        if len(skipped) > _MOST_MISREAD:
            return "error"
        return "skip"

    return pyarrow.csv.ParseOptions(invalid_row_handler=note, newlines_in_values=True)


def _converting(types: dict[str, pa.DataType] | None, only: list[str] | None = None) -> Any:
    if types is None:
        return pyarrow.csv.ConvertOptions(null_values=ABSENT.to_pylist(), strings_can_be_null=False)
    return pyarrow.csv.ConvertOptions(
        column_types=types,
        include_columns=only,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
