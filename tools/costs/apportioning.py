"""A whole, cut into parts that add up to it exactly.

The largest-remainder method (Hamilton's): each part is rounded down, and what is left goes, unit by unit, to those that lost
most by it; of equals to the first.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal, localcontext

EXACT = Context(prec=100)
"""More digits than a sum of any of our products has."""


def apportion(whole: Decimal, weights: Sequence[Decimal], places: int) -> list[Decimal]:
    """Parts of `whole` in proportion to `weights`, in units of the `places`th decimal; `whole` is a multiple of that unit.

    Where all weights are zero the parts are equal, as far as that goes. Raises ValueError without weights, and below zero.
    """
    if not weights or any(weight < 0 for weight in weights):
        raise ValueError("weights: at least one, and none below zero")
    with localcontext(EXACT):
        total = sum(weights)
        if not total:
            weights, total = [Decimal(1)] * len(weights), Decimal(len(weights))
        unit = Decimal(1).scaleb(-places)
        exact = [whole * weight / total for weight in weights]
        return _rounded(whole, exact, unit)


def rounded(whole: Decimal, parts: Sequence[Decimal], places: int) -> list[Decimal]:
    """`parts`, which add up to `whole` as it was before it was rounded to `places`, rounded so that they add up to it."""
    with localcontext(EXACT):
        return _rounded(whole, parts, Decimal(1).scaleb(-places))


def _rounded(whole: Decimal, exact: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    floors = [each.quantize(unit, ROUND_FLOOR) for each in exact]
    left = int((whole - sum(floors)) / unit)
    if not 0 <= left <= len(floors):
        raise ValueError("parts: they do not add up to the whole")
    losses = sorted(range(len(floors)), key=lambda place: (floors[place] - exact[place], place))
    for place in losses[:left]:
        floors[place] += unit
    return floors
