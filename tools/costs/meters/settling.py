"""Readings into the ledger: what says the same as what is booked is left alone, what differs is its next revision.

Whose it is and how it was bought count as much as how much it is. What its price is does not: what is booked keeps the price
of its booking, until the usage itself is corrected.

Whatever process read last, and whatever it was killed in, the ledger ends up saying what the last reading says, once.
"""

from collections.abc import Sequence

from tools.costs.packing import said_of
from tools.costs.port import Booked, CostLedger, Line, Told, Usage
from tools.costs.prices import NoPrice, PriceBook
from tools.costs.pricing import priced
from tools.values import Frozen

_AT_ONCE = 10_000
"""Usages in one booking: what an hour's restart of many models brings is a few."""


class Settled(Frozen):
    booked: int
    """Lines."""
    unpriced: tuple[str, ...] = ()
    """Of which the book has no price, each once: it is not on the bill until the book has."""


async def settle(ledger: CostLedger, readings: Sequence[Usage], book: PriceBook) -> Settled:
    """`readings`: of each key one, whose revision is chosen here. One process at a time."""
    lines = 0
    unpriced: dict[str, None] = {}
    for place in range(0, len(readings), _AT_ONCE):
        some = readings[place : place + _AT_ONCE]
        told = await ledger.told([each.key for each in some])
        usages: list[Usage] = []
        charges: list[Line] = []
        for reading in some:
            if (usage := _next(reading, told.get(reading.key))) is None:
                continue
            try:
                charges += priced(usage, book)
            except NoPrice:
                unpriced[f"{usage.resource} {usage.sku}".strip()] = None
            else:
                usages.append(usage)
        booked: Booked = await ledger.book(usages, charges)
        lines += booked.lines
    return Settled(booked=lines, unpriced=tuple(unpriced))


def _next(reading: Usage, told: Told | None) -> Usage | None:
    """None: it is booked so."""
    if told is None:
        return reading
    if told.said == said_of(reading):
        return None
    return reading.model_copy(update={"revision": told.revision + 1})
