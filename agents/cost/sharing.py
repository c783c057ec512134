"""Cost that is nobody's in particular (a load balancer, an idle GPU) is shared out among those who have cost of their own.

In proportion to the cost of their own within the same component and step, or evenly, or not at all: as policy says. What
finds nobody in its component is shared among all of the step; what finds nobody at all stays nobody's. Nothing is lost or made
up by it, to the last decimal.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from tools.costs.apportioning import EXACT, apportion, total
from tools.costs.port import MONEY_PLACES, Amount, Dimension
from tools.values import Instant

Rule = Literal["proportional", "even", "none"]

SHAREABLE = (Dimension.MODEL, Dimension.VERSION, Dimension.TEAM)
"""Whose emptiness means nobody in particular. What is in no experiment is in none: it is not for one to pay."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a breakdown, after sharing. There are tens of thousands of them, and the ledger has checked them: no pydantic."""

    start: Instant | None
    at: Mapping[Dimension, str]
    own: Decimal
    currency: str
    shared: Decimal = Decimal(0)
    """Its part of what is nobody's."""

    @property
    def cost(self) -> Decimal:
        return EXACT.add(self.own, self.shared)


def share_out(amounts: Sequence[Amount], over: Dimension, rule: Rule) -> tuple[Cell, ...]:
    """`over`: the dimension by whose values it is shared; each amount has it. Raises ValueError for one that is never empty."""
    if over not in SHAREABLE:
        raise ValueError(f"over: nothing is shared out by {over}; share over {', '.join(SHAREABLE)}")
    cells = [Cell(start=each.start, at=each.at, own=each.cost, currency=each.currency) for each in amounts]
    if rule == "none":
        return tuple(cells)
    shared: dict[int, Decimal] = defaultdict(Decimal)
    """By the cell's place: what it gets (or, nobody's, gives)."""
    steps: dict[tuple[Instant | None, str], list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        steps[cell.start, cell.currency].append(place)
    for of_step in steps.values():
        takers = [place for place in of_step if cells[place].at[over]]
        if not takers:
            continue
        of_component = _by_component(cells, takers)
        for component, givers in _by_component(cells, (place for place in of_step if not cells[place].at[over])).items():
            those = of_component.get(component) or takers
            whole = total(cells[place].own for place in givers)
            for taker, part in zip(those, _parts(cells, those, whole, rule), strict=True):
                shared[taker] = total((shared[taker], part))
            for giver in givers:
                shared[giver] = cells[giver].own.copy_negate()
    return tuple(replace(cell, shared=shared[place]) for place, cell in enumerate(cells))


def _by_component(cells: Sequence[Cell], places: Iterable[int]) -> dict[str | None, list[int]]:
    """All under None where the amounts are not told apart by it."""
    found: dict[str | None, list[int]] = defaultdict(list)
    for place in places:
        found[cells[place].at.get(Dimension.COMPONENT)].append(place)
    return found


def _parts(cells: Sequence[Cell], takers: Sequence[int], whole: Decimal, rule: Rule) -> list[Decimal]:
    # What was corrected to less than nothing in a step takes no part in it.
    own = [max(cells[place].own, Decimal(0)) if rule == "proportional" else Decimal(1) for place in takers]
    return apportion(whole, own, MONEY_PLACES)
