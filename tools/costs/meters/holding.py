"""What costs by time, whether it is used or not: as it was seen to be held from one look to the next.

What was held between two looks is what is held at the second. The ledger itself remembers until when it has been metered, so a
process that was killed goes on where its predecessor's last booking ended.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from pydantic import Field

from tools.costs.apportioning import EXACT, total
from tools.costs.meters.hours import HOUR, by_hours, hour_of, key_of
from tools.costs.port import QUANTITY_PLACES, Owner, Told, Usage, Word
from tools.costs.units import Resource
from tools.values import Frozen, Window

_MICROSECOND = timedelta(microseconds=1)
_SMALLEST = Decimal(1).scaleb(-QUANTITY_PLACES)


class Holding(Frozen):
    name: tuple[str, ...] = Field(min_length=1)
    """Of its keys: the same for the same thing."""
    resource: Resource
    sku: Word = ""
    rate: Decimal = Field(ge=0)
    """Metered units a second: cores, bytes, or how many there are."""
    owner: Owner

    def key(self, hour: datetime) -> str:
        return key_of(*self.name, hour=hour)

    def keys(self, now: datetime, back: timedelta) -> list[str]:
        """Of the hours in which its last booking may have been."""
        first, count = hour_of(now - back), (hour_of(now) - hour_of(now - back)) // HOUR
        return [self.key(first + place * HOUR) for place in range(count + 1)]


def since(holding: Holding, told: Mapping[str, Told], now: datetime, back: timedelta, first_seen: datetime) -> datetime:
    """Until when it is metered; what has no booking so far back begins when it was first seen."""
    ends = [told[key].window.end for key in holding.keys(now, back) if key in told]
    return max(ends, default=first_seen)


def accrued(holding: Holding, told: Mapping[str, Told], start: datetime, now: datetime) -> tuple[Usage, ...]:
    """What is to be booked of the time from `start` to now: hours as a whole, with revision 0."""
    if start >= now or not holding.rate:
        return ()
    return tuple(
        usage(holding, told.get(holding.key(piece.start)), piece, amount(holding.rate, piece.length))
        for piece in by_hours(Window(start=start, end=now))
    )


def usage(holding: Holding, before: Told | None, piece: Window, more: Decimal) -> Usage:
    """The hour with what came to it in `piece`."""
    return Usage(
        key=holding.key(piece.start),
        resource=holding.resource,
        sku=holding.sku,
        quantity=total((more, before.quantity)) if before is not None else more,
        window=Window(start=before.window.start, end=piece.end) if before is not None else piece,
        owner=holding.owner,
    )


def amount(rate: Decimal, length: timedelta) -> Decimal:
    """At a rate a second; exact, then rounded to what is booked."""
    micros = EXACT.multiply(rate, Decimal(length // _MICROSECOND))
    return EXACT.divide(micros, Decimal(1_000_000)).quantize(_SMALLEST, ROUND_HALF_EVEN, EXACT)
