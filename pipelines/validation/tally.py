"""Why rows were quarantined or noted, counted by rule, with the first of each as an example."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.checked import Numbers
from pipelines.validation.enforcing import Broken
from tools.quality.statistics import RuleCount

MOST_REASONS = 5
"""Of one row."""


class Tally:
    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, column: str, rule: str, rows: int, example: str) -> None:
        key = column, rule
        self._rows[key] = self._rows.get(key, 0) + rows
        self._examples.setdefault(key, example)

    def counts(self) -> tuple[RuleCount, ...]:
        """The most frequent first."""
        found = sorted(self._rows.items(), key=lambda each: (-each[1], each[0]))
        return tuple(
            RuleCount(column=column, rule=rule, rows=rows, example=self._examples[column, rule])
            for (column, rule), rows in found
        )


def apart(
    rows: pa.Table, numbers: Numbers, broken: Iterable[Broken], tally: Tally
) -> tuple[pa.Table, Numbers, pa.Table | None]:
    """Rows that are not broken, with their numbers, and the others, each with its number and all its reasons."""
    found = [each for each in broken if len(each.places)]
    if not found:
        return rows, numbers, None
    places = np.unique(np.concatenate([each.places for each in found]))
    bad = rows.take(pa.array(places))
    records = bad.to_pylist()
    reasons: list[list[str]] = [[] for _ in records]
    for each in found:
        where = np.searchsorted(places, each.places)
        for place in where.tolist():
            if len(reasons[place]) < MOST_REASONS:
                reasons[place].append(each.words(records[place]))
        tally.add(each.column, each.rule, len(where), each.words(records[int(where[0])]))
    told = pa.array(["; ".join(each) for each in reasons], pa.string())
    bad = bad.append_column("_reason", told).append_column("_row", pa.array(numbers[places], pa.int64()))
    kept: np.ndarray[Any, np.dtype[np.bool_]] = np.ones(rows.num_rows, dtype=bool)
    kept[places] = False
    return rows.filter(pa.array(kept)), numbers[kept], bad
