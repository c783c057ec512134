"""Some predictions of a window as a Parquet file, chosen by the hash of their id: in no order, and the same every time."""

import math
from collections.abc import Sequence
from pathlib import Path

from tools.predictions.catalogue import Feature
from tools.predictions.port import LABEL, Sampled
from tools.predictions.statements import Query

_ANSWERS = ("prediction", "score")


def sample(query: Query, features: Sequence[Feature] | None, to: Path, most: int, *, labelled: bool = False) -> Sampled:
    """`features`: None for a model of which nothing was ever loaded. `labelled`: those with a label, and that with them."""
    import pyarrow as pa
    import pyarrow.parquet

    names = [feature.name for feature in features or ()]
    answers = [name for name in _ANSWERS if name not in names]
    told = [*names, *answers, *([LABEL] if labelled else [])]
    found, rows = pa.table({name: pa.nulls(0, pa.string() if name == LABEL else pa.float64()) for name in told}), 0
    if features is not None:
        columns = [*(feature.column for feature in features), *answers]
        place = "cityHash64(id)"
        if labelled:
            source, counted = query.labelled(("id", *columns)), query.labelled(("at",))
            columns.append("label")
        else:
            source, counted, place = query.predictions((*columns, f"{place} AS place")), query.predictions(("at",)), "place"
        ((rows,),) = query.rows(f"SELECT count() FROM {counted}")
        every = max(1, math.ceil(rows / most))
        statement = f"SELECT {', '.join(columns)} FROM {source} WHERE {place} % {every} = 0 ORDER BY {place} LIMIT {int(most)}"
        found = query.arrow(statement).rename_columns(told)
    pyarrow.parquet.write_table(found, to)
    return Sampled(rows=rows, sampled=found.num_rows)
