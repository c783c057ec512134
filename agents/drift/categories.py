"""Categories of two sides on common ground, also where there are too many to be kept one by one.

Which values a side kept depends on that side: what one kept and the other did not is no difference of theirs. Where either has
values beyond those that it kept, all are compared by buckets of their hashes, which are the same ones whatever was seen.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agents.drift.distances import jensen_shannon, stability_index, total_variation
from tools.tables.port import ColumnProfile, Value
from tools.tables.shapes import BUCKETS

_IN_A_BUCKET = 20
"""Values on the smaller side, on average: fewer would be too few for a chi-square test, and chance alone would be far."""
_FREQUENT = 0.001
"""Share of both sides from which on a value was kept whatever the rule, when it was counted without buckets."""

Counts = Mapping[Value, int]


@dataclass(frozen=True)
class Categories:
    reference: Counts
    current: Counts
    folded: bool
    """Several values may be one category here."""

    @property
    def _unit(self) -> float:
        return 1 / sum(self.reference.values()) + 1 / sum(self.current.values())

    @property
    def _free(self) -> int:
        return sum(1 for key in self.reference.keys() | self.current.keys() if self._both(key)) - 1

    def _both(self, key: Value) -> int:
        return self.reference.get(key, 0) + self.current.get(key, 0)

    def jensen_shannon(self) -> float:
        """Of folded ones without what sampling alone makes of so many: twice the divergence is a quarter of chi-square."""
        score = jensen_shannon(self.reference, self.current)
        if not self.folded:
            return score
        return math.sqrt(max(0.0, score * score - self._free * self._unit / 8))

    def stability_index(self) -> float:
        """Of folded ones without what sampling alone makes of so many, Yurdakul (2018)."""
        score = stability_index(self.reference, self.current)
        return max(0.0, score - self._free * self._unit) if self.folded else score

    def total_variation(self) -> float:
        """Of folded ones without what sampling alone makes of so many: half of what normal variables are off on average."""
        found = total_variation(self.reference, self.current)
        if not self.folded:
            return found
        rows = sum(self.reference.values()) + sum(self.current.values())
        shares = (self._both(key) / rows for key in self.reference.keys() | self.current.keys())
        chance = math.fsum(math.sqrt(share * (1 - share) * self._unit) for share in shares) / math.sqrt(2 * math.pi)
        return max(0.0, found - chance)


def categories(reference: ColumnProfile, current: ColumnProfile) -> Categories:
    if not reference.others and not current.others:
        return Categories(reference.values, current.values, folded=False)
    if all(each.buckets or not each.others for each in (reference, current)):
        number = BUCKETS
        while number > 2 and number * _IN_A_BUCKET > min(reference.count, current.count):
            number //= 2
        return Categories(_in_buckets(reference, number), _in_buckets(current, number), folded=True)
    least = _FREQUENT * (reference.count + current.count)
    shared = reference.values.keys() & current.values.keys()
    frequent = {value for value in shared if reference.values[value] + current.values[value] >= least}
    return Categories(_only(reference, frequent), _only(current, frequent), folded=True)


def _in_buckets(column: ColumnProfile, number: int) -> Counts:
    counts = [0] * number
    for place, count in enumerate(column.by_bucket()):
        counts[place % number] += count
    return {float(place): count for place, count in enumerate(counts)}


def _only(column: ColumnProfile, kept: set[Value]) -> Counts:
    found = {value: column.values[value] for value in kept}
    return {**found, "\0others": column.count - sum(found.values())}
