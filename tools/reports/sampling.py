"""A sample of a table that is read once, in constant memory, in which every row is as likely as any other."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tools.reports.port import Side
from tools.tables.profiling import Table, kind_of

_SEED = 20_260_302
"""The same table gives the same sample."""


def sample(table: Table, name: str, most: int, to: Path) -> Side:
    """Writes a Parquet file. Each row draws a number, and those with the least numbers stay."""
    rng = np.random.default_rng(_SEED)
    names = [field.name for field in table.schema if kind_of(field.type) is not None]
    kept: list[pa.RecordBatch] = []
    keys: list[np.ndarray] = []
    limit, rows, held = math.inf, 0, 0
    for batch in table.batches():
        drawn = rng.random(batch.num_rows)
        rows += batch.num_rows
        chosen = np.flatnonzero(drawn < limit)
        if not len(chosen):
            continue
        kept.append(batch.select(names).take(pa.array(chosen)))
        keys.append(drawn[chosen])
        held += len(chosen)
        if held > 2 * most:
            kept, keys, limit = _least(kept, keys, most)
            held = most
    if held > most:
        kept, keys, limit = _least(kept, keys, most)
    schema = pa.schema([table.schema.field(name) for name in names])
    found = pa.Table.from_batches(kept, kept[0].schema if kept else schema)
    pyarrow.parquet.write_table(found, to)
    return Side(name=name, rows=rows, sampled=found.num_rows)


def _least(
    kept: list[pa.RecordBatch], keys: list[np.ndarray], most: int
) -> tuple[list[pa.RecordBatch], list[np.ndarray], float]:
    drawn = np.concatenate(keys)
    chosen = np.sort(np.argpartition(drawn, most - 1)[:most])
    rows = pa.Table.from_batches(kept).take(pa.array(chosen)).combine_chunks()
    return rows.to_batches(), [drawn[chosen]], float(drawn[chosen].max())
