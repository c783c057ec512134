"""Whose each cost is, in all the dimensions that were asked for: what is nobody's in one of them is shared out among those who
have cost of their own there, dimension by dimension, from the outermost inwards.

What it is stays: an hour of the load balancer is still the load balancer's, and now of these models, each with its part. Within
the same component and step, in proportion to what each has used itself, or evenly; what finds nobody in its component is shared
among all (a training whose version nobody told, among the versions that serve), and what finds nobody at all stays nobody's.
Nothing is lost or made up by it, to the last decimal.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext

from agents.cost.sharing import SHAREABLE, Cell, Rule
from tools.costs.apportioning import EXACT, apportion
from tools.costs.port import MONEY_PLACES, Amount, Dimension
from tools.values import Instant

_Place = tuple[tuple[Dimension, str], ...]
_Group = tuple[Instant | None, str, _Place]


def attributed(amounts: Sequence[Amount], by: Sequence[Dimension], rule: Rule) -> tuple[Cell, ...]:
    """`amounts`: by all of `by`, and by the component where it is to be shared within that. `by`: the outermost first."""
    cells = [Cell(start=each.start, at=each.at, own=each.cost, currency=each.currency) for each in amounts]
    outer: list[Dimension] = []
    if rule == "none":
        return tuple(cells)
    for dimension in by:
        if dimension in SHAREABLE:
            cells = _shared(cells, dimension, tuple(outer), rule)
            outer.append(dimension)
    return tuple(cells)


def _shared(cells: Sequence[Cell], over: Dimension, outer: tuple[Dimension, ...], rule: Rule) -> list[Cell]:
    groups: dict[_Group, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.start, cell.currency, tuple((each, cell.at[each]) for each in outer)].append(cell)
    return [each for group in groups.values() for each in _within(group, over, rule)]


def _within(group: Sequence[Cell], over: Dimension, rule: Rule) -> list[Cell]:
    everybody, of_component = _weights(group, over)
    kept: dict[_Place, Cell] = {}
    for cell in group:
        takers = (of_component.get(cell.at.get(Dimension.COMPONENT)) or everybody) if not cell.at[over] else {}
        if not takers:
            _add(kept, cell)
            continue
        names = sorted(takers)
        # What was corrected to less than nothing takes no part in it.
        weights = [max(takers[name], Decimal(0)) if rule == "proportional" else Decimal(1) for name in names]
        for name, part in zip(names, apportion(_cost(cell), weights, MONEY_PLACES), strict=True):
            given = {"at": {**cell.at, over: name}, "own": Decimal(0), "shared": part}
            _add(kept, cell.model_copy(update=given))
    return list(kept.values())


def _weights(
    group: Sequence[Cell], over: Dimension
) -> tuple[Mapping[str, Decimal], Mapping[str | None, Mapping[str, Decimal]]]:
    """Of everybody who has something of his own there: all together, and by component."""
    everybody: dict[str, Decimal] = defaultdict(Decimal)
    of_component: dict[str | None, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    with localcontext(EXACT):
        for cell in group:
            if name := cell.at[over]:
                everybody[name] += cell.own
                of_component[cell.at.get(Dimension.COMPONENT)][name] += cell.own
    return everybody, of_component


def _add(kept: dict[_Place, Cell], cell: Cell) -> None:
    place = tuple(sorted(cell.at.items()))
    with localcontext(EXACT):
        before = kept.get(place)
        own, shared = (before.own, before.shared) if before is not None else (Decimal(0), Decimal(0))
        kept[place] = cell.model_copy(update={"own": own + cell.own, "shared": shared + cell.shared})


def _cost(cell: Cell) -> Decimal:
    with localcontext(EXACT):
        return cell.own + cell.shared
