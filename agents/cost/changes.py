"""Why a cost has changed: which contributors, and whether it is their usage or the price.

For each contributor, `price`: what the same usage costs more, and `usage`: what more usage costs, at the mean of both prices
and both usages, so that the two add up to the change without a remainder (Bennet, The Theory of Measurement of Changes in Cost
of Living, Journal of the Royal Statistical Society 83, 1920). What is new or gone is usage.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal, localcontext

from tools.costs.apportioning import EXACT
from tools.costs.port import Amount, Dimension
from tools.values import Frozen

ENOUGH = Decimal("0.8")
"""Contributors are named until they explain so much of the change: the rest is noise to whoever reads it at night."""
MOST = 5


class Contributor(Frozen):
    """Where the change comes from; costs are per unit of time, so that windows of different lengths compare."""

    at: dict[Dimension, str]
    before: Decimal
    after: Decimal
    by_price: Decimal
    by_usage: Decimal

    @property
    def change(self) -> Decimal:
        return self.after - self.before


class Change(Frozen):
    before: Decimal
    after: Decimal
    by_price: Decimal
    by_usage: Decimal
    contributors: tuple[Contributor, ...]
    """That explain most of it, the largest in its direction first."""
    explained: Decimal
    """Share of the change that they stand for; may be above 1 where others go the other way."""


def explain(before: Sequence[Amount], after: Sequence[Amount], by: Sequence[Dimension], scale: Decimal = Decimal(1)) -> Change:
    """`before`, `after`: amounts by `by` and the resource, in one currency. `scale`: the length of the window after over that
    of the one before."""
    with localcontext(EXACT):
        was, now = _summed(before, by, scale), _summed(after, by, Decimal(1))
        found: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
        nothing = (Decimal(0), Decimal(0))
        for key in was.keys() | now.keys():
            (cost, quantity), (new_cost, new_quantity) = was.get(key, nothing), now.get(key, nothing)
            price = _by_price(cost, quantity, new_cost, new_quantity)
            sums = found[key[:-1]]
            for place, part in enumerate((cost, new_cost, price, new_cost - cost - price)):
                sums[place] += part
    contributors = [
        Contributor(at=dict(zip(by, key, strict=True)), before=b, after=a, by_price=price, by_usage=usage)
        for key, (b, a, price, usage) in found.items()
    ]
    whole = [
        sum((getattr(each, name) for each in contributors), Decimal(0)) for name in ("before", "after", "by_price", "by_usage")
    ]
    change = whole[1] - whole[0]
    named = _named(contributors, change)
    explained = sum((each.change for each in named), Decimal(0)) / change if change else Decimal(0)
    return Change(
        before=whole[0], after=whole[1], by_price=whole[2], by_usage=whole[3], contributors=tuple(named), explained=explained
    )


def _named(contributors: Sequence[Contributor], change: Decimal) -> list[Contributor]:
    sign = 1 if change >= 0 else -1
    ordered = sorted(contributors, key=lambda each: (-sign * each.change, sorted(each.at.values())))
    named: list[Contributor] = []
    for each in ordered:
        if sign * each.change <= 0 or len(named) == MOST:
            break
        named.append(each)
        if sign * sum(one.change for one in named) >= ENOUGH * abs(change):
            break
    return named


def _by_price(cost: Decimal, quantity: Decimal, new_cost: Decimal, new_quantity: Decimal) -> Decimal:
    if not quantity or not new_quantity:
        return Decimal(0)
    return (new_cost / new_quantity - cost / quantity) * (quantity + new_quantity) / 2


def _summed(
    amounts: Sequence[Amount], by: Sequence[Dimension], scale: Decimal
) -> dict[tuple[str, ...], tuple[Decimal, Decimal]]:
    """(cost, quantity) by contributor and resource."""
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    for each in amounts:
        key = (*(each.at[one] for one in by), each.at[Dimension.RESOURCE])
        cost, quantity = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = cost + each.cost * scale, quantity + (each.quantity or Decimal(0)) * scale
    return sums
