"""What the gateway holds and no version used: nobody's in particular, until it is shared out among those who have used it.

A worker computes one batch at a time, on one core, so a model's workers are the cores that are held for it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from tools.costs.apportioning import less, total
from tools.costs.meters.holding import Holding, amount
from tools.costs.meters.hours import HOUR, by_hours, hour_of
from tools.costs.meters.serving import CPU
from tools.costs.port import Component, Owner, Told, Usage
from tools.costs.units import Resource
from tools.values import Window

NAME, WORKLOAD = "idle", "gateway (idle)"


def workers(model: str, cores: int, team: str) -> Holding:
    """Of a model that is served; its idle time belongs to no version."""
    owner = Owner(component=Component.SERVING, part=CPU, model=model[:200], team=team, workload=WORKLOAD)
    return Holding(name=(NAME, model), resource=Resource.CPU, rate=Decimal(cores), owner=owner)


def usages(
    held: Holding,
    used: Mapping[str, Usage],
    told: Mapping[str, Told],
    since: datetime,
    now: datetime,
    back: timedelta,
) -> tuple[Usage, ...]:
    """By the hour: what was held, less what versions used of it. With revision 0.

    `used`: by key, processor time as the log has it now; `told`: what is booked of it and of what is idle; together they say
    what was held until then. An hour in which more was used than held (its log came late) had nothing idle.
    """
    fresh = {hour_of(piece.start): piece for piece in by_hours(Window(start=since, end=now))} if since < now else {}
    return tuple(_usages(held, used, told, fresh, [hour_of(now) - place * HOUR for place in range(back // HOUR, -1, -1)]))


def _usages(
    held: Holding, used: Mapping[str, Usage], told: Mapping[str, Told], fresh: Mapping[datetime, Window], hours: list[datetime]
) -> Iterator[Usage]:
    for hour in hours:
        before, piece = told.get(held.key(hour)), fresh.get(hour)
        if before is None and piece is None:
            continue
        of_hour = {key: usage for key, usage in used.items() if hour_of(usage.window.start) == hour}
        whole = amount(held.rate, piece.length) if piece is not None else Decimal(0)
        if before is not None:
            whole = total((whole, before.quantity, *(told[key].quantity for key in of_hour if key in told)))
        idle = less(whole, total(usage.quantity for usage in of_hour.values()))
        start = before.window.start if before is not None else piece.start if piece is not None else hour
        end = piece.end if piece is not None else before.window.end if before is not None else hour
        yield Usage(
            key=held.key(hour),
            resource=held.resource,
            quantity=max(idle, Decimal(0)),
            window=Window(start=start, end=end),
            owner=held.owner,
        )
