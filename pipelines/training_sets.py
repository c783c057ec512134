"""Training sets: rows of somebody's, each with its features as they were at its time, and its label if that was known."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from tools.errors import PermanentError
from tools.features.columns import TIME
from tools.features.port import EVENT_TIME, FeatureReader


def training_set(
    store: FeatureReader,
    rows: pa.Table,
    features: Sequence[str],
    *,
    time: str = EVENT_TIME,
    label_time: str | None = None,
    known_by: datetime | None = None,
) -> pa.Table:
    """`rows`, in their order, with a column for each feature, called as it was asked for.

    `label_time`, `known_by`: the column that says when a row's label was known; rows whose label came later, or never, are left
    out, as they would have been missing in a training at `known_by`. Raises PermanentError.
    """
    if (label_time is None) != (known_by is None):
        raise PermanentError("label_time and known_by go together: which column, and by when")
    if label_time is not None and known_by is not None:
        if label_time not in rows.column_names:
            raise PermanentError(f"rows: there is no column {label_time!r}")
        known = rows[label_time]
        if not pa.types.is_timestamp(known.type) or known.type.tz is None:
            raise PermanentError(f"rows: {label_time!r} has to be a time with a zone, not {known.type}")
        rows = rows.filter(pc.less_equal(known.cast(TIME, safe=False), pa.scalar(known_by.astimezone(UTC), TIME)))
    return store.training_set(rows, features, time=time)
