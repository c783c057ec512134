"""What was used, at the prices of one moment: a price that changes is no part of what a change has saved or cost; pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from tools.costs.apportioning import EXACT
from tools.costs.port import Pricing
from tools.costs.units import Resource
from tools.values import Frozen, Instant


class Kind(Frozen):
    """What has a price: a resource, bought in one way. A version may have a price of its own (its tokens)."""

    resource: Resource
    pricing: Pricing
    version: str = ""


class Metered(Frozen):
    """Of one hour and kind."""

    start: Instant
    kind: Kind
    quantity: Decimal
    """In the metered unit."""
    cost: Decimal
    """As it was paid."""


Rates = Mapping[Kind, Decimal]
"""Of one metered unit."""


def rates(metered: Iterable[Metered], since: datetime, listed: Callable[[Kind], Decimal | None]) -> dict[Kind, Decimal]:
    """As each kind was paid in its latest hour from `since` on. What was not used since then costs what is `listed` now; else
    what others of its resource and pricing have paid since; else what it was paid last."""
    paid: dict[Kind, tuple[datetime, Decimal]] = {}
    for each in sorted(metered, key=lambda each: each.start):
        if each.quantity > 0:
            paid[each.kind] = (each.start, EXACT.divide(each.cost, each.quantity))
    fresh = {kind: rate for kind, (start, rate) in paid.items() if start >= since}
    alike: dict[tuple[Resource, Pricing], Decimal] = {(kind.resource, kind.pricing): rate for kind, rate in fresh.items()}
    found = dict(fresh)
    for kind, (_, last) in paid.items():
        if kind not in fresh:
            now = listed(kind)
            found[kind] = now if now is not None else alike.get((kind.resource, kind.pricing), last)
    return found


def by_hour(metered: Iterable[Metered], at: Rates | None = None) -> dict[datetime, Decimal]:
    """What each hour has cost; with `at`, what it would have by those rates."""
    found: dict[datetime, Decimal] = defaultdict(Decimal)
    for each in metered:
        rate = at.get(each.kind) if at is not None else None
        cost = each.cost if rate is None else EXACT.multiply(each.quantity, rate)
        found[each.start] = EXACT.add(found[each.start], cost)
    return found
