"""A bill: cost by one dimension within another, rounded to cents so that at every level the parts are the whole."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from agents.cost.sharing import Cell
from tools.costs.apportioning import EXACT, rounded, total
from tools.costs.port import Dimension
from tools.values import Frozen

CENTS = 2


class Entry(Frozen):
    name: str
    """Empty: the whole, or what is nobody's in particular."""
    cost: Decimal
    """In cents."""
    exact: Decimal
    parts: "tuple[Entry, ...]" = ()
    """The dearest first."""


def bill(cells: Sequence[Cell], by: Sequence[Dimension]) -> Entry:
    """Of cells in one currency. Raises ValueError for several: they cannot be added."""
    if len({cell.currency for cell in cells}) > 1:
        raise ValueError("currency: one at a time")
    exact = total(cell.cost for cell in cells)
    return _entry("", exact.quantize(Decimal(1).scaleb(-CENTS), ROUND_HALF_EVEN, EXACT), exact, cells, by)


def _entry(name: str, cost: Decimal, exact: Decimal, cells: Sequence[Cell], by: Sequence[Dimension]) -> Entry:
    if not by:
        return Entry(name=name, cost=cost, exact=exact)
    own, *rest = by
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.at[own]].append(cell)
    names = sorted(groups)
    sums = [total(cell.cost for cell in groups[each]) for each in names]
    cents = rounded(cost, sums, CENTS) if sums else []
    parts = [_entry(each, part, whole, groups[each], rest) for each, part, whole in zip(names, cents, sums, strict=True)]
    return Entry(
        name=name, cost=cost, exact=exact, parts=tuple(sorted(parts, key=lambda part: (part.exact.copy_negate(), part.name)))
    )
