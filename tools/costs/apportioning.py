"""A whole, cut into parts that add up to it exactly.

The largest-remainder method (Hamilton's): each part is rounded down, and what is left goes, unit by unit, to those that lost
most by it; of equals to the first.
"""

from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Context, Decimal, localcontext

EXACT = Context(prec=100)
"""More digits than a sum of any of our products has. Decimals are rounded to those of the context in force, 28 by default, and
nobody is told: whatever is added or multiplied here is so in this one."""


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Their exact sum, whatever the context in force."""
    found = Decimal(0)
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def less(amount: Decimal, other: Decimal) -> Decimal:
    """What is left of `amount` without `other`, exactly."""
    return EXACT.subtract(amount, other)


def apportion(whole: Decimal, weights: Sequence[Decimal], places: int) -> list[Decimal]:
    """Parts of `whole` in proportion to `weights`, in units of the `places`th decimal; `whole` is a multiple of that unit.

    Where all weights are zero the parts are equal, as far as that goes. Raises ValueError without weights, for one below zero,
    and for a whole with more decimals.
    """
    if not weights or any(weight < 0 for weight in weights):
        raise ValueError("weights: at least one, and none below zero")
    with localcontext(EXACT):
        of = sum(weights)
        if not of:
            weights, of = [Decimal(1)] * len(weights), Decimal(len(weights))
        unit = Decimal(1).scaleb(-places)
        exact = [whole * weight / of for weight in weights]
        return _rounded(whole, exact, unit)


def rounded(whole: Decimal, parts: Sequence[Decimal], places: int) -> list[Decimal]:
    """`parts`, which add up to `whole` as it was before it was rounded to `places`, rounded so that they add up to it."""
    with localcontext(EXACT):
        return _rounded(whole, parts, Decimal(1).scaleb(-places))


def _rounded(whole: Decimal, exact: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    floors = [each.quantize(unit, ROUND_FLOOR) for each in exact]
    missing = whole - sum(floors)
    left = int(missing / unit)
    if left * unit != missing:
        raise ValueError(f"whole: it has more decimals than {unit}")
    if not 0 <= left <= len(floors):
        raise ValueError("parts: they do not add up to the whole")
    losses = sorted(range(len(floors)), key=lambda place: (floors[place] - exact[place], place))
    for place in losses[:left]:
        floors[place] += unit
    return floors
