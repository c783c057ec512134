"""A report of two samples for people to look at: evidence that a verdict can be checked by, not what the verdict rests on."""

from tools.values import Frozen

MOST_ROWS = 100_000
"""Of a sample: the peer that draws the report needs seconds and hundreds of megabytes for so many."""


class Side(Frozen):
    """One of the two samples."""

    name: str
    """What it is a sample of, for people."""
    rows: int
    sampled: int

    def __str__(self) -> str:
        if self.sampled == self.rows:
            return f"{self.name}: all {self.rows:,} rows"
        return f"{self.name}: a sample of {self.sampled:,} of {self.rows:,} rows"


class Made(Frozen):
    bytes: int
    columns: int
    left_out: tuple[str, ...]
    """Columns that cannot be shown: of times, or without a value on a side."""
