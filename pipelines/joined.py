"""Flights with features of the feature store beside their own, each as it was when the flight left."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.flights import Flights
from tools.errors import PermanentError
from tools.features.addresses import Place
from tools.features.port import EVENT_TIME, Reference


@dataclass(frozen=True)
class Joined:
    flights: Flights
    views: tuple[str, ...]
    """`name@version` of each view that a feature is from, as the store had it."""


def joined(flights: Flights, features: Sequence[str], place: Place, shift: timedelta = timedelta(0)) -> Joined:
    """`features`: `view`, `view:feature`, `view@version:feature`. `shift`: by how much the store's time lies after 2013.

    Raises PermanentError for what the store has not, and for features that are no numbers.
    """
    from pipelines.feature_jobs import reading
    from pipelines.flight_features import entity_rows
    from pipelines.training_sets import training_set

    rows = entity_rows(flights).select([EVENT_TIME, "label_time", "origin", "carrier", "dest"])
    for name in (EVENT_TIME, "label_time"):
        rows = rows.set_column(rows.column_names.index(name), name, pc.add(rows[name], pa.scalar(shift)))
    with reading(place) as store:
        table = training_set(store, rows, features)
        current = {state.view.name: state.view.version for state in store.states() if state.current}
    names = [name for name in table.column_names if name not in rows.column_names]
    columns = [flights.numeric, *(_numbers(table[name], name)[:, None] for name in names)]
    views = {f"{each.view}@{each.version or current[each.view]}" for each in map(Reference.parse, features)}
    more = replace(
        flights,
        numeric=np.concatenate(columns, axis=1).astype(np.float32),
        numeric_names=(*flights.numeric_names, *names),
    )
    return Joined(more, tuple(sorted(views)))


def _numbers(column: pa.ChunkedArray, name: str) -> Any:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise PermanentError(f"{name}: {column.type} is no number, and the reference training learns from numbers of the store")
    column = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
    return column.cast(pa.float64()).to_numpy()
