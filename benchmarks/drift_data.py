"""Two tables of twenty features as they come from production: numbers of many shapes, words few and many, some moved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

Column = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, int], Column]

CATEGORIES = ("status", "city")
_ROWS_AT_ONCE = 250_000
"""A file is written in row groups, so that its size is no matter of memory."""


def _normal(middle: float, spread: float) -> Draw:
    return lambda rng, rows: rng.normal(middle, spread, rows)


def _lognormal(middle: float, spread: float) -> Draw:
    return lambda rng, rows: rng.lognormal(middle, spread, rows)


def _gamma(shape: float, scale: float) -> Draw:
    return lambda rng, rows: rng.gamma(shape, scale, rows)


def _counts(mean: float) -> Draw:
    return lambda rng, rows: rng.poisson(mean, rows)


def _whole(low: int, high: int) -> Draw:
    return lambda rng, rows: rng.integers(low, high, rows)


def _mixture(share: float) -> Draw:
    return lambda rng, rows: np.where(rng.random(rows) < share, rng.normal(-3, 0.5, rows), rng.normal(2, 1, rows))


def _words(count: int, exponent: float) -> Draw:
    names = np.array([f"value {number}" for number in range(count)], dtype=object)
    shares = np.arange(1, count + 1, dtype=float) ** -exponent
    shares /= shares.sum()
    return lambda rng, rows: names[np.searchsorted(shares.cumsum()[:-1], rng.random(rows), side="right")]


LAWS: dict[str, tuple[Draw, Draw]] = {
    "temperature": (_normal(15, 8), _normal(15, 8)),
    "pressure": (_normal(1013, 9), _normal(1017, 9)),
    "balance": (_normal(0, 1e6), _normal(0, 1e6)),
    "score": (lambda rng, rows: rng.beta(2, 5, rows), lambda rng, rows: rng.beta(2, 4, rows)),
    "share": (lambda rng, rows: rng.random(rows), lambda rng, rows: rng.random(rows)),
    "income": (_lognormal(10, 0.8), _lognormal(10, 0.8)),
    "amount": (_lognormal(3, 1.2), _lognormal(3.3, 1.2)),
    "wait": (_gamma(1, 30), _gamma(1, 30)),
    "duration": (_gamma(2, 12), _gamma(2, 14)),
    "heavy": (lambda rng, rows: rng.standard_t(4, rows), lambda rng, rows: rng.standard_t(4, rows) + 0.2),
    "clicks": (_counts(3), _counts(3)),
    "items": (_counts(40), _counts(43)),
    "age": (_whole(18, 90), _whole(18, 90)),
    "hour": (_whole(0, 24), _whole(0, 24)),
    "cents": (_whole(0, 1_000_000), _whole(0, 1_080_000)),
    "flag": (_whole(0, 2), lambda rng, rows: (rng.random(rows) < 0.55).astype(int)),
    "grade": (_whole(1, 6), lambda rng, rows: np.minimum(rng.integers(1, 7, rows), 5)),
    "mixed": (_mixture(0.5), _mixture(0.42)),
    "status": (_words(8, 0.5), _words(8, 1.0)),
    "city": (_words(300, 1.0), _words(300, 1.02)),
}
"""Feature -> how the reference and how the current table draw it."""


def table(side: int, rows: int, seed: int) -> pa.Table:
    """`side`: 0 is the reference, 1 the current table."""
    rng = np.random.default_rng([seed, side])
    return pa.table({name: draw[side](rng, rows) for name, draw in LAWS.items()})


def write(path: Path, side: int, rows: int) -> Path:
    """A Parquet file with so many rows."""
    with pyarrow.parquet.ParquetWriter(path, table(side, 1, 0).schema) as writer:
        for seed, start in enumerate(range(0, rows, _ROWS_AT_ONCE)):
            writer.write_table(table(side, min(_ROWS_AT_ONCE, rows - start), seed))
    return path
