"""How a column is counted: value by value where its values are few, else on a grid over its middle."""

import math
import zlib

BINS = 1024
FEW_VALUES = 100
"""Numbers of at most so many different values in a first look are counted value by value."""
TAIL = 0.001
"""Share of the look beyond each end of a grid: what is outside is counted by number and sum only."""
MOST_VALUES = 20_000
"""Words kept of a column; the others are counted together."""
BUCKETS = 16_384
"""By whose hashes the words of a column with more than can be kept are counted; a power of two, so that they can be halved."""
MOST_NUMBERS = 2_000
"""Numbers counted one by one; a column that turns out to have more is counted on a grid after all."""
FAR = 1e100
"""A number so far from 0 is none: a mark for 'unknown', whose square would be infinite."""
ANY = (-1.0, 1.0)
"""A grid for numbers over which none can be laid: of what is in its tails the sums are known."""
_NARROW = 1e-40
"""No bin is narrower: the square of a number of bins would be infinite."""


def bucket_of(word: str) -> int:
    """The same one wherever it is counted: ClickHouse's `CRC32` is zlib's."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS


def grid_over(low: float, high: float) -> tuple[float, float] | None:
    """None where no grid can be laid: the ends are one, or not finite, or as near each other as rounding is."""
    return (low, high) if math.isfinite(high - low) and (high - low) / BINS > _NARROW else None
