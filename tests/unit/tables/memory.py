"""A table in memory, in batches of any size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tools.tables.port import ColumnProfile
from tools.tables.profiling import profile_together


class MemoryTable:
    def __init__(self, columns: Mapping[str, Any] | pa.Table, rows_at_once: int = 1_000) -> None:
        self._table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        self._rows = rows_at_once

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(self._table.to_batches(max_chunksize=self._rows))


def pair(
    reference: Sequence[Any], current: Sequence[Any], type_: pa.DataType | None = None
) -> tuple[ColumnProfile, ColumnProfile]:
    """One column of both sides."""
    sides = [MemoryTable({"x": pa.array(each, type_)}) for each in (reference, current)]
    return profile_together(*sides).pairs["x"]
