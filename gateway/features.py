"""From named tensors of a request to the rows that a model takes, by the version's `ServingSpec`."""

import math
from dataclasses import dataclass
from typing import Final

from gateway.protocol import Cell, Tensor
from gateway.refusals import Refused
from tools.predictions.records import FeatureValue
from tools.registry.serving_spec import CategoricalFeature, NumericFeature, ServingSpec

_FLOATS: Final[frozenset[type]] = frozenset({float, int, type(None)})
_INTEGERS: Final[frozenset[type]] = frozenset({int, type(None)})
_CELLS: Final[dict[str, frozenset[type]]] = {
    "BOOL": frozenset({bool, type(None)}),
    "BYTES": frozenset({str, type(None)}),
    **dict.fromkeys(("FP16", "FP32", "FP64"), _FLOATS),
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"), _INTEGERS),
}
_MAX_FLOAT32: Final = 3.4028234663852886e38


@dataclass(slots=True)
class Rows:
    """Rows as the model takes them. The lists are row-major and flat, so that a batch is one concatenation."""

    count: int
    numeric: list[float]
    categorical: list[int]
    features: list[dict[str, FeatureValue]]
    """One per row, as sent: what the log keeps."""


def row_count(inputs: list[Tensor]) -> int:
    """How many rows the request holds: the first tensor says it, the others must agree."""
    if not inputs:
        raise Refused("inputs: no tensor was sent")
    shape = inputs[0].shape
    if not shape or shape[0] < 1:
        raise Refused(f"inputs[{inputs[0].name}].shape: the first dimension counts the rows and is at least 1")
    return shape[0]


def pick_rows(inputs: list[Tensor], rows: list[int], count: int) -> list[Tensor]:
    """The same tensors, of `count` rows, with only these rows in this order."""
    picked = []
    for tensor in inputs:
        column(tensor, count)
        data = [tensor.data[row] for row in rows]
        picked.append(Tensor(tensor.name, [len(rows), *tensor.shape[1:]], tensor.datatype, data))
    return picked


def column(tensor: Tensor, count: int) -> list[Cell]:
    """The values of one feature, checked against shape and datatype."""
    shape, data = tensor.shape, tensor.data
    if shape[0:1] != [count] or shape[1:] not in ([], [1]):
        raise Refused(f"inputs[{tensor.name}].shape: {shape} is neither [{count}] nor [{count}, 1]")
    if len(data) != count:
        raise Refused(f"inputs[{tensor.name}].data: {len(data)} values for {count} rows")
    allowed = _CELLS[tensor.datatype]
    if allowed.issuperset(map(type, data)):
        return data  # type: ignore[return-value]  # no list among them
    cells: list[Cell] = []
    for row, value in enumerate(data):
        cell = value
        if type(cell) is list:
            if len(shape) != 2 or len(cell) != 1:
                raise Refused(f"inputs[{tensor.name}].data[{row}]: a list does not fit the shape {shape}")
            cell = cell[0]
        if type(cell) not in allowed:
            raise Refused(f"inputs[{tensor.name}].data[{row}]: a {type(cell).__name__} is no {tensor.datatype}")
        cells.append(cell)  # type: ignore[arg-type]
    return cells


class FeatureEncoder:
    """Compiled from a spec once per version; `encode` is on the path of every request."""

    def __init__(self, spec: ServingSpec) -> None:
        self._names = [feature.name for feature in spec.features]
        numeric = [f.name for f in spec.features if isinstance(f, NumericFeature)]
        categorical = [f for f in spec.features if isinstance(f, CategoricalFeature)]
        self._numeric = {name: place for place, name in enumerate(numeric)}
        self._categorical = {
            f.name: (place, {category: code for code, category in enumerate(f.categories, start=1)})
            for place, f in enumerate(categorical)
        }

    def encode(self, inputs: list[Tensor], count: int) -> Rows:
        """Raises Refused with the name of the feature that is wrong."""
        columns: dict[str, list[Cell]] = {}
        numeric: list[list[float]] = [[]] * len(self._numeric)
        categorical: list[list[int]] = [[]] * len(self._categorical)
        for tensor in inputs:
            name = tensor.name
            if name in columns:
                raise Refused(f"inputs[{name}]: sent twice")
            cells = columns[name] = column(tensor, count)
            if name in self._numeric:
                numeric[self._numeric[name]] = _numbers(name, tensor.datatype, cells)
            elif name in self._categorical:
                place, codes = self._categorical[name]
                categorical[place] = _codes(name, tensor.datatype, cells, codes)
            else:
                raise Refused(f"inputs[{name}]: the model has no such feature")
        if len(columns) != len(self._names):
            missing = next(name for name in self._names if name not in columns)
            raise Refused(f"inputs[{missing}]: the feature is missing")
        if count == 1:  # what most requests are: a third of the general way's time
            features = [{name: cells[0] for name, cells in columns.items()}]
            return Rows(1, [numbers[0] for numbers in numeric], [codes[0] for codes in categorical], features)
        names = list(columns)
        return Rows(
            count,
            [value for row in zip(*numeric, strict=True) for value in row],
            [code for row in zip(*categorical, strict=True) for code in row],
            [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        )


def _numbers(name: str, datatype: str, cells: list[Cell]) -> list[float]:
    if datatype == "BYTES":
        raise Refused(f"inputs[{name}].datatype: a number is needed, not BYTES")
    numbers = []
    for row, cell in enumerate(cells):
        if cell is None:
            numbers.append(math.nan)
        elif -_MAX_FLOAT32 <= cell <= _MAX_FLOAT32:  # type: ignore[operator]
            numbers.append(float(cell))
        else:
            raise Refused(f"inputs[{name}].data[{row}]: {cell} does not fit a 32-bit float")
    return numbers


def _codes(name: str, datatype: str, cells: list[Cell], codes: dict[str, int]) -> list[int]:
    if datatype in ("FP16", "FP32", "FP64"):
        raise Refused(f"inputs[{name}].datatype: a category is BYTES, BOOL or an integer, not {datatype}")
    if datatype == "BYTES":
        return [codes.get(cell, 0) if cell is not None else 0 for cell in cells]  # type: ignore[arg-type]
    # As JSON writes them, so that a category `true` or `7` is found.
    return [codes.get(str(cell).lower(), 0) if cell is not None else 0 for cell in cells]
