"""What the e-processes share: which way a claim goes, mixtures in logarithms, and when capital is enough."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]


class Side(StrEnum):
    ABOVE = "above"
    """Bets that the difference (canary less control) is above the null."""
    BELOW = "below"

    @property
    def sign(self) -> int:
        return 1 if self is Side.ABOVE else -1


def log_mean(logs: Numbers, weights: Numbers) -> Numbers:
    """Logarithm of the weighted mean over the last axis; weights sum to one."""
    largest = logs.max(axis=-1)
    summed = np.sum(np.exp(logs - largest[..., None]) * weights, axis=-1)
    return np.asarray(largest + np.log(summed))


def claimed(log_capital: Numbers, level: float) -> Truths:
    """After each period: whether the null has been rejected by then. What was once claimed stays so."""
    return np.asarray(np.maximum.accumulate(log_capital, axis=-1) >= -np.log(level))


def invert(log_capital: Callable[[float], float], estimate: float, far: float, level: float, tolerance: float) -> float:
    """The null nearest to `far` that is not rejected at `level`, found by halving; capital grows from `estimate` to `far`."""
    if not log_capital(far) >= -np.log(level):
        return far
    near = estimate
    while abs(far - near) > tolerance:
        middle = (near + far) / 2
        if log_capital(middle) >= -np.log(level):
            far = middle
        else:
            near = middle
    return far


def as_numbers(values: Any) -> Numbers:
    return np.asarray(values, dtype=np.float64)
