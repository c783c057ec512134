"""Whose each cost is, in all the dimensions that were asked for: what is nobody's in one of them is shared out among those who
have cost of their own there, dimension by dimension, from the outermost inwards.

What it is stays: an hour of the load balancer is still the load balancer's, and now of these models, each with its part. Within
the same component and step, in proportion to what each has used itself, or evenly; what finds nobody in its component is shared
among all (a training whose version nobody told, among the versions that serve), and what finds nobody at all stays nobody's.
Nothing is lost or made up by it, to the last decimal.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, localcontext

from agents.cost.sharing import SHAREABLE, Cell, Rule
from tools.costs.apportioning import EXACT, apportion
from tools.costs.port import MONEY_PLACES, Amount, Dimension
from tools.values import Instant

_Place = tuple[str, ...]
_Group = tuple[Instant | None, str, _Place]


class TooMany(ValueError):
    """More cells would come of it than are wanted."""


def attributed(amounts: Sequence[Amount], by: Sequence[Dimension], rule: Rule, *, most: int | None = None) -> tuple[Cell, ...]:
    """`amounts`: by all of `by`, and by the component where it is to be shared within that. `by`: the outermost first. Raises
    TooMany for more than `most` cells: what is shared out is one for each who gets of it."""
    cells = [Cell(start=each.start, at=each.at, own=each.cost, currency=each.currency) for each in amounts]
    if most is not None and len(cells) > most:
        raise TooMany
    outer: list[Dimension] = []
    if rule == "none":
        return tuple(cells)
    # Entered once: for each cell it costs more than the sum.
    with localcontext(EXACT):
        for dimension in by:
            if dimension in SHAREABLE:
                cells = _shared(cells, dimension, tuple(outer), rule, most)
                outer.append(dimension)
    return tuple(cells)


def _shared(cells: Sequence[Cell], over: Dimension, outer: tuple[Dimension, ...], rule: Rule, most: int | None) -> list[Cell]:
    groups: dict[_Group, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.start, cell.currency, tuple([cell.at[each] for each in outer])].append(cell)
    found: list[Cell] = []
    for group in groups.values():
        found += _within(group, over, rule)
        if most is not None and len(found) > most:
            raise TooMany
    return found


def _within(group: Sequence[Cell], over: Dimension, rule: Rule) -> Iterator[Cell]:
    if all(cell.at[over] for cell in group):
        yield from group
        return
    names = tuple(group[0].at)
    parts: dict[_Place, list[Cell]] = defaultdict(list)
    for cell in _dealt(group, over, rule):
        parts[tuple([cell.at[each] for each in names])].append(cell)
    for first, *more in parts.values():
        if not more:
            yield first
            continue
        own = sum((each.own for each in more), first.own)
        shared = sum((each.shared for each in more), first.shared)
        yield Cell(start=first.start, at=first.at, own=own, currency=first.currency, shared=shared)


def _dealt(group: Sequence[Cell], over: Dimension, rule: Rule) -> Iterator[Cell]:
    """What is somebody's, and of what is nobody's the part of each who takes of it."""
    everybody, of_component = _weights(group, over)
    for cell in group:
        takers = (of_component.get(cell.at.get(Dimension.COMPONENT)) or everybody) if not cell.at[over] else {}
        if not takers:
            yield cell
            continue
        names = sorted(takers)
        # What was corrected to less than nothing takes no part in it.
        weights = [max(takers[name], Decimal(0)) if rule == "proportional" else Decimal(1) for name in names]
        for name, part in zip(names, apportion(cell.own + cell.shared, weights, MONEY_PLACES), strict=True):
            yield Cell(start=cell.start, at={**cell.at, over: name}, own=Decimal(0), currency=cell.currency, shared=part)


def _weights(
    group: Sequence[Cell], over: Dimension
) -> tuple[Mapping[str, Decimal], Mapping[str | None, Mapping[str, Decimal]]]:
    """Of everybody who has something of his own there: all together, and by component."""
    everybody: dict[str, Decimal] = defaultdict(Decimal)
    of_component: dict[str | None, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for cell in group:
        if name := cell.at[over]:
            everybody[name] += cell.own
            of_component[cell.at.get(Dimension.COMPONENT)][name] += cell.own
    return everybody, of_component
