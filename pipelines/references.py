"""What a model was trained on, counted once: the part of its data that it did not learn from, with its answers there."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.flights import CATEGORICAL, CLASSES, Flights
from tools.tables.port import ColumnProfile, Distributions
from tools.tables.profiling import profile
from tools.values import Window


def counted(flights: Flights, scores: NDArray[np.float64], threshold: float, window: Window) -> Distributions:
    """`scores`: the probability of being late, one for each of the flights."""
    features: dict[str, pa.Array] = {
        name: pa.array(column, mask=np.isnan(column))
        for name, column in zip(flights.numeric_names, flights.numeric.astype(np.float64).T, strict=True)
    }
    for place, (name, names) in enumerate(zip(CATEGORICAL, flights.names, strict=True)):
        features[name] = pa.DictionaryArray.from_arrays(pa.array(flights.codes[:, place].astype(np.int32)), list(names))
    answers = {
        "prediction": pa.array(np.array(CLASSES)[(scores >= threshold).astype(int)]),
        "score": pa.array(scores),
        "label": pa.array(np.array(CLASSES)[flights.late.astype(int)]),
    }
    found = _profiles(answers)
    return replace(
        Distributions(window=window, rows=len(flights), features=tuple(_profiles(features).values())),
        prediction=found["prediction"],
        score=found["score"],
        label=found["label"],
    )


class _Columns:
    def __init__(self, columns: dict[str, pa.Array]) -> None:
        self._table = pa.table(columns)

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(self._table.to_batches())


def _profiles(columns: dict[str, pa.Array]) -> dict[str, ColumnProfile]:
    return profile(_Columns(columns))
