"""Flights as labelled rows: what the reference model is trained on, and what its candidates are held to."""

from collections.abc import Sequence
from datetime import UTC, timedelta

import numpy as np
import pyarrow as pa

from pipelines.evaluating import Labelled
from pipelines.flights import CATEGORICAL, CLASSES, Flights
from tools.values import LeftOut


def without(flights: Flights, left_out: Sequence[LeftOut], shift: timedelta) -> Flights:
    """Data in quarantine is not learnt from, and nobody is judged by it. `shift`: by how much its time lies after 2013."""
    kept = np.ones(len(flights), dtype=bool)
    for each in left_out:
        window = each.window.shifted(-shift)
        start, end = (np.datetime64(moment.astimezone(UTC).replace(tzinfo=None)) for moment in (window.start, window.end))
        kept &= ~((flights.departed >= start) & (flights.departed < end))
    return flights.rows(kept) if not kept.all() else flights


def labelled(flights: Flights) -> Labelled:
    columns: dict[str, pa.Array] = {
        name: pa.array(column, mask=np.isnan(column))
        for name, column in zip(flights.numeric_names, flights.numeric.astype(np.float64).T, strict=True)
    }
    for place, (name, names) in enumerate(zip(CATEGORICAL, flights.names, strict=True)):
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(flights.codes[:, place].astype(np.int32)), list(names))
    return Labelled(pa.table(columns), np.array(CLASSES)[flights.late.astype(int)])
