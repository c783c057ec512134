"""Usage becomes priced lines: by the hour, and by the price of the moment. Exact: the lines' quantities add up to the usage."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import pairwise

from tools.costs.apportioning import EXACT, apportion
from tools.costs.port import MONEY_PLACES, QUANTITY_PLACES, Line, Usage
from tools.costs.prices import PriceBook
from tools.costs.units import multiple
from tools.values import Window

LONGEST = timedelta(days=31)
"""A meter that has nothing to say for longer than a month is no meter."""
_HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)
_SMALLEST = Decimal(1).scaleb(-MONEY_PLACES)


def priced(usage: Usage, book: PriceBook) -> tuple[Line, ...]:
    """Used evenly over its window. Raises NoPrice, and ValueError for a window longer than `LONGEST`."""
    if usage.window.length > LONGEST:
        raise ValueError(f"window: {usage.key} is about {usage.window.length}; {LONGEST.days} days at most")
    pieces = _pieces(usage, book)
    weights = [Decimal(piece.length // _MICROSECOND) for piece in pieces]
    quantities = apportion(usage.quantity, weights, QUANTITY_PLACES) if len(pieces) > 1 else [usage.quantity]
    return tuple(
        _line(usage, place, piece, quantity, book)
        for place, (piece, quantity) in enumerate(zip(pieces, quantities, strict=True))
    )


def taken_back(line: Line, revision: int) -> Line:
    """What undoes it, as `revision` of its key says."""
    turned = {"quantity": line.quantity.copy_negate(), "cost": line.cost.copy_negate()}
    changed = {"revision": revision, "taken_back": True, **turned}
    return line.model_copy(update=changed)


def _line(usage: Usage, place: int, window: Window, quantity: Decimal, book: PriceBook) -> Line:
    price = book.at(usage.resource, usage.sku, usage.pricing, window.start)
    with localcontext(EXACT):
        cost = quantity * price.price / multiple(usage.resource, price.unit)
        cost = cost.quantize(_SMALLEST, ROUND_HALF_EVEN)
    return Line(
        key=usage.key,
        revision=usage.revision,
        place=place,
        resource=usage.resource,
        sku=usage.sku,
        window=window,
        quantity=quantity,
        unit=price.unit,
        unit_price=price.price,
        pricing=price.pricing,
        cost=cost,
        currency=book.currency,
        owner=usage.owner,
    )


def _pieces(usage: Usage, book: PriceBook) -> list[Window]:
    window = usage.window
    cuts = {*_hours(window), *book.changes(usage.resource, usage.sku, usage.pricing, window)}
    moments = [window.start, *sorted(cuts), window.end]
    return [Window(start=start, end=end) for start, end in pairwise(moments)]


def _hours(window: Window) -> Iterable[datetime]:
    """Full hours of UTC within it."""
    hour = window.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + _HOUR
    while hour < window.end:
        yield hour
        hour += _HOUR
