"""Where the bins of a number lie, so that what was never there before has a bin of its own."""

import math
from collections.abc import Iterable

BINS = 20
CATEGORIES = 20


def levels() -> tuple[float, ...]:
    """Quantiles at which bins end."""
    return tuple(step / BINS for step in range(1, BINS))


def edges(quantiles: Iterable[float], maximum: float | None) -> tuple[float, ...]:
    """Inner edges from the quantiles of a reference.

    Where much of the reference is one value (a flag, a count), quantiles coincide and there are fewer bins. When it is the
    greatest, another edge right above it parts it from what is greater than anything seen: below its least value the first
    edge does so already.
    """
    found = sorted({quantile for quantile in quantiles if math.isfinite(quantile)})
    if found and maximum is not None and found[-1] >= maximum and math.isfinite(beyond := math.nextafter(maximum, math.inf)):
        found.append(beyond)
    return tuple(found)
