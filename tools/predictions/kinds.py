"""What kind of feature a value makes, and whether another value is of that kind."""

import math
from collections.abc import Iterable
from typing import Literal

from tools.predictions.records import FeatureValue, PredictionRecord

FeatureKind = Literal["numeric", "categorical"]


def kinds(rows: Iterable[PredictionRecord]) -> dict[str, FeatureKind]:
    """By each feature's first value: text is categorical, numbers and truth values are numeric."""
    found: dict[str, FeatureKind] = {}
    for row in rows:
        for name, value in row.features.items():
            if name not in found and value is not None:
                found[name] = "categorical" if isinstance(value, str) else "numeric"
    return found


def fitting(value: FeatureValue, kind: FeatureKind) -> str | float | None:
    """The value as it is stored; None when it is of the other kind, or no finite number."""
    if value is None or isinstance(value, str) != (kind == "categorical"):
        return None
    if isinstance(value, str):
        return value
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
