"""A table as a model takes it, column by column, and what the model makes of it. For jobs, which have many rows at hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tools.errors import PermanentError
from tools.inference.engines import Engine
from tools.registry.serving_spec import CategoricalFeature, NumericFeature, ServingSpec

_BATCH_ROWS = 4096
"""Large enough that calls cost nothing, small enough for the caches."""


@dataclass(frozen=True)
class Answers:
    """One entry per row."""

    predictions: NDArray[Any]
    """Classes; of a regression the values."""
    scores: NDArray[np.float64]
    """Binary: probability of the second class. Multiclass: of the predicted one. Regression: the value."""


def encode(table: pa.Table, spec: ServingSpec) -> list[NDArray[Any]]:
    """The model's arguments: null is NaN, a category that training did not know is 0. Raises PermanentError for a column that
    is missing or of another kind."""
    numeric = [_numbers(table, f.name) for f in spec.features if isinstance(f, NumericFeature)]
    categorical = [_codes(table, f) for f in spec.features if isinstance(f, CategoricalFeature)]
    arrays: list[NDArray[Any]] = []
    if numeric:
        arrays.append(np.stack(numeric, axis=1).astype(np.float32))
    if categorical:
        arrays.append(np.stack(categorical, axis=1).astype(np.int64))
    return arrays


def answer(engine: Engine, spec: ServingSpec, arrays: list[NDArray[Any]]) -> Answers:
    outputs = np.concatenate([np.asarray(output, np.float64) for output in _computed(engine, arrays)])
    if spec.task == "regression":
        values = outputs.reshape(len(outputs))
        return Answers(values, values)
    classes = np.array(spec.classes)
    if spec.task == "binary":
        with np.errstate(over="ignore"):
            scores = 1.0 / (1.0 + np.exp(-outputs.reshape(len(outputs))))
        return Answers(classes[(scores >= spec.threshold).astype(int)], scores)
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return Answers(classes[shares.argmax(axis=1)], shares.max(axis=1))


def _computed(engine: Engine, arrays: list[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(arrays[0]), _BATCH_ROWS):
        yield engine(*(np.ascontiguousarray(array[start : start + _BATCH_ROWS]) for array in arrays))


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    column = _column(table, name)
    try:
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PermanentError(f"{name}: {column.type} is no column of numbers") from error
    return values


def _codes(table: pa.Table, feature: CategoricalFeature) -> NDArray[np.int64]:
    column = _column(table, feature.name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    places = pc.index_in(column.cast(pa.string()), value_set=pa.array(feature.categories, pa.string()))
    codes: NDArray[np.int64] = pc.fill_null(pc.add(places, 1), 0).to_numpy().astype(np.int64)
    return codes


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise PermanentError(f"{name}: the table has no such column, and the model wants it")
    return table[name].combine_chunks()
