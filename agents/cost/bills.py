"""A bill: cost by one dimension within another, rounded to cents so that at every level the parts are the whole."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from agents.cost.sharing import Cell
from tools.costs.apportioning import EXACT, rounded, total
from tools.costs.port import Dimension

CENTS = 2
_Row = tuple[tuple[str, ...], Decimal]
"""The names of a cell, the outermost first, and its cost."""


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    """Empty: the whole, or what is nobody's in particular."""
    cost: Decimal
    """In cents."""
    exact: Decimal
    parts: "tuple[Entry, ...]" = ()
    """The dearest first."""


def bill(cells: Sequence[Cell], by: Sequence[Dimension]) -> Entry:
    """Of cells in one currency. Raises ValueError for several: they cannot be added."""
    return _bill(cells, [(tuple([cell.at[each] for each in by]), cell.cost) for cell in cells], len(by))


def over_time(cells: Sequence[Cell], by: Sequence[Dimension]) -> tuple[tuple[datetime, Entry], ...]:
    """A bill for each step, in order, which add up to the bill of all. Of cells with a step; raises ValueError as `bill`."""
    # A bill of bills: the step is its outermost dimension.
    rows, starts = [], {}
    for cell in cells:
        if cell.start is None:
            raise ValueError("start: these cells have no step")
        name = cell.start.isoformat()
        starts[name] = cell.start
        rows.append(((name, *[cell.at[each] for each in by]), cell.cost))
    found = _bill(cells, rows, len(by) + 1)
    return tuple(sorted(((starts[each.name], each) for each in found.parts), key=lambda each: each[0]))


def _bill(cells: Sequence[Cell], rows: Sequence[_Row], deep: int) -> Entry:
    if len({cell.currency for cell in cells}) > 1:
        raise ValueError("currency: one at a time")
    exact = total(cost for _, cost in rows)
    return _entry("", exact.quantize(Decimal(1).scaleb(-CENTS), ROUND_HALF_EVEN, EXACT), exact, rows, 0, deep)


def _entry(name: str, cost: Decimal, exact: Decimal, rows: Sequence[_Row], at: int, deep: int) -> Entry:
    if at == deep:
        return Entry(name=name, cost=cost, exact=exact)
    groups: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[row[0][at]].append(row)
    names = sorted(groups)
    sums = [total(cost for _, cost in groups[each]) for each in names]
    cents = rounded(cost, sums, CENTS) if sums else []
    parts = [
        _entry(each, part, whole, groups[each], at + 1, deep) for each, part, whole in zip(names, cents, sums, strict=True)
    ]
    return Entry(
        name=name, cost=cost, exact=exact, parts=tuple(sorted(parts, key=lambda part: (part.exact.copy_negate(), part.name)))
    )
