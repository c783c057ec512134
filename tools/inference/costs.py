"""How much processor time a version needs for a batch: what was measured while it was warmed, corrected by what it takes in
earnest. Not time on the clock: on a machine that is busy with other things that would make every model look slow."""

_LEARNING = 0.05
"""Weight of the latest batch."""


class Cost:
    """A fixed part and one per row, through two measured points; `observe` scales the line."""

    def __init__(self, few_rows: int, few_s: float, many_rows: int, many_s: float) -> None:
        self._per_row_s = max(0.0, (many_s - few_s) / (many_rows - few_rows)) if many_rows > few_rows else few_s / few_rows
        self._fixed_s = max(0.0, few_s - self._per_row_s * few_rows)
        self._factor = 1.0

    def expected_s(self, rows: int) -> float:
        return self._factor * (self._fixed_s + self._per_row_s * rows)

    def observe(self, rows: int, seconds: float) -> None:
        expected = self._fixed_s + self._per_row_s * rows
        if expected > 0.0:
            self._factor += _LEARNING * (seconds / expected - self._factor)
