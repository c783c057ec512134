"""Why a cost has changed: which contributors, and whether it is their usage or the price.

For each contributor, `price`: what the same usage costs more, and `usage`: what more usage costs, at the mean of both prices
and both usages, so that the two add up to the change without a remainder (Bennet, The Theory of Measurement of Changes in Cost
of Living, Journal of the Royal Statistical Society 83, 1920). What is new or gone is usage. A price is what a unit cost on the
whole: where dearer kinds of a resource are used more, or less of it spot, that is a price that has gone up.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal, localcontext

from tools.costs.apportioning import EXACT, less, total
from tools.costs.port import MONEY_PLACES, QUANTITY_PLACES, Amount, Dimension
from tools.values import Frozen

ENOUGH = Decimal("0.8")
"""Contributors are named until they explain so much of the change: the rest is noise to whoever reads it at night."""
MOST = 5

_SMALLEST = Decimal(1).scaleb(-MONEY_PLACES)
_LEAST = Decimal(1).scaleb(-QUANTITY_PLACES)
_SHARE = Decimal("0.0001")


class Contributor(Frozen):
    """Where the change comes from; costs are per unit of time, so that windows of different lengths compare."""

    at: dict[Dimension, str]
    before: Decimal
    after: Decimal
    by_price: Decimal
    by_usage: Decimal

    @property
    def change(self) -> Decimal:
        return less(self.after, self.before)


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
    """`before`, `after`: amounts by `by` and the resource. `scale`: the length of the window after over that of the one before.
    Raises ValueError for several currencies: they cannot be added."""
    if len({each.currency for each in (*before, *after)}) > 1:
        raise ValueError("currency: one at a time")
    was, now = _summed(before, by, scale), _summed(after, by, Decimal(1))
    found: dict[tuple[str, ...], list[tuple[Decimal, Decimal, Decimal, Decimal]]] = defaultdict(list)
    nothing = (Decimal(0), Decimal(0))
    for key in was.keys() | now.keys():
        (cost, quantity), (new_cost, new_quantity) = was.get(key, nothing), now.get(key, nothing)
        price = _by_price(cost, quantity, new_cost, new_quantity)
        found[key[:-1]].append((cost, new_cost, price, less(less(new_cost, cost), price)))
    contributors = []
    for key, parts in found.items():
        was_cost, cost, price, usage = (total(each) for each in zip(*parts, strict=True))
        at = dict(zip(by, key, strict=True))
        contributors.append(Contributor(at=at, before=was_cost, after=cost, by_price=price, by_usage=usage))
    change = less(total(each.after for each in contributors), total(each.before for each in contributors))
    with localcontext(EXACT):
        named = _named(contributors, change)
    explained = EXACT.divide(total(each.change for each in named), change) if change else Decimal(0)
    return Change(
        before=total(each.before for each in contributors),
        after=total(each.after for each in contributors),
        by_price=total(each.by_price for each in contributors),
        by_usage=total(each.by_usage for each in contributors),
        contributors=tuple(named),
        explained=explained.quantize(_SHARE, context=EXACT),
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
    # What corrections have brought to nothing, or below it, has no price.
    if quantity <= 0 or new_quantity <= 0:
        return Decimal(0)
    with localcontext(EXACT):
        exact = (new_cost / new_quantity - cost / quantity) * (quantity + new_quantity) / 2
        return exact.quantize(_SMALLEST)


def _summed(
    amounts: Sequence[Amount], by: Sequence[Dimension], scale: Decimal
) -> dict[tuple[str, ...], tuple[Decimal, Decimal]]:
    """(cost, quantity) by contributor and resource."""
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    with localcontext(EXACT):
        for each in amounts:
            key = (*(each.at[one] for one in by), each.at[Dimension.RESOURCE])
            cost, quantity = sums.get(key, (Decimal(0), Decimal(0)))
            sums[key] = cost + each.cost, quantity + (each.quantity or Decimal(0))
        # To the decimals that money has: a scale may have more than there are digits for.
        return {
            key: ((cost * scale).quantize(_SMALLEST), (quantity * scale).quantize(_LEAST))
            for key, (cost, quantity) in sums.items()
        }
