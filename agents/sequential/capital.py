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


_ALMOST = 1 - 1e-6


def log_mean(logs: Numbers, weights: Numbers) -> Numbers:
    """Logarithm of the weighted mean over the last axis; weights sum to one."""
    largest = logs.max(axis=-1)
    summed = np.sum(np.exp(logs - largest[..., None]) * weights, axis=-1)
    return np.asarray(largest + np.log(summed))


def claimed(log_capital: Numbers, level: float) -> Truths:
    """After each period: whether the null has been rejected by then. What was once claimed stays so."""
    return np.asarray(np.maximum.accumulate(log_capital, axis=-1) >= -np.log(level))


def invert(log_capital: Callable[[float], float], estimate: float, side: Side, step: float, level: float) -> float:
    """The null nearest to the estimate, away from it on `side`, that is rejected at `level`; within a sixteenth of what it is
    away, to the outside. Ends at -1 or 1, between which differences of shares lie."""
    needed, sign = -np.log(level), side.sign
    near, far = estimate, estimate + sign * step
    while abs(far) < 1 and log_capital(far) < needed:
        near, step = far, step * 2
        far = estimate + sign * step
    if abs(far) >= 1:
        far = sign * _ALMOST
        if log_capital(far) < needed:
            return float(sign)
    while abs(far - near) > abs(far - estimate) / 16:
        middle = (near + far) / 2
        near, far = (near, middle) if log_capital(middle) >= needed else (middle, far)
    return far


def as_numbers(values: Any) -> Numbers:
    return np.asarray(values, dtype=np.float64)
