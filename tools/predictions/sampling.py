"""Some predictions of a window as a Parquet file, chosen by the hash of their id: in no order, and the same every time."""

import math
from collections.abc import Sequence
from pathlib import Path

from tools.predictions.catalogue import Feature
from tools.predictions.port import Sampled
from tools.predictions.statements import Query

_ANSWERS = ("prediction", "score")


def sample(query: Query, features: Sequence[Feature] | None, to: Path, most: int) -> Sampled:
    """`features`: None for a model of which nothing was ever loaded."""
    import pyarrow as pa
    import pyarrow.parquet

    names = [feature.name for feature in features or ()]
    answers = [name for name in _ANSWERS if name not in names]
    found, rows = pa.table({name: pa.nulls(0, pa.float64()) for name in (*names, *answers)}), 0
    if features is not None:
        columns = [*(feature.column for feature in features), *answers]
        ((rows,),) = query.rows(f"SELECT count() FROM {query.predictions(('at',))}")
        every = max(1, math.ceil(rows / most))
        source = query.predictions((*columns, "cityHash64(id) AS place"))
        statement = f"SELECT {', '.join(columns)} FROM {source} WHERE place % {every} = 0 ORDER BY place LIMIT {int(most)}"
        found = query.arrow(statement).rename_columns([*names, *answers])
    pyarrow.parquet.write_table(found, to)
    return Sampled(rows=rows, sampled=found.num_rows)
