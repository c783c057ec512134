"""Our bill beside OpenCost's, by workload and day: what agrees, what differs, and which of the two has missed something."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_serializer

from agents.cost.reconciling import Compared, Reconciled, Standing, reconcile, under, within
from api.problems import FieldError, Invalid, NotFound, Unavailable
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs, asks_much
from api.web.openapi import answers
from api.web.services import Auditor
from api.web.views import View
from tools.costs.allocations import Allocation
from tools.costs.apportioning import total
from tools.costs.port import MOST_CELLS, Amount, Dimension, Question, Step
from tools.errors import PermanentError, TemporaryError
from tools.values import Window

router = APIRouter(prefix="/v1/costs", tags=["costs"])

_DAY = timedelta(days=1)
_DEFAULT = 7 * _DAY
_LONGEST = 31 * _DAY
"""OpenCost reckons all of it from Prometheus when it is asked, and most Prometheus forget sooner."""
_EARLIEST_YEAR = 2000
_AGGREGATE = "namespace,controller"

Name = Annotated[str, Field(max_length=200)]


class ReconciliationQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime | None = Field(default=None, description="Midnight of UTC. Default: seven days before `end`.")
    end: AwareDatetime | None = Field(
        default=None, description="Midnight of UTC, the first moment that is not in it any more. Default: the last one."
    )
    standing: list[Standing] = Field(default=[], description="Only these; repeat it for more than one. Default: all.")
    namespace: list[Name] = Field(
        default=[],
        description="What OpenCost has of others is left out; repeat it for more than one. Default: all of the cluster.",
    )
    limit: int = Field(default=500, ge=1, le=5_000, description="How many items at most.")


class _Money(View):
    @field_serializer("*", when_used="json", check_fields=False)
    def _plain(self, value: object) -> object:
        return format(value, "f") if isinstance(value, Decimal) else value


class ComparedView(_Money):
    workload: str
    """The controller of its pods."""
    day: date
    """Of UTC."""
    standing: Standing
    """`missing_here`: only OpenCost has it; `missing_there`: only we have booked it."""
    here: Decimal
    there: Decimal
    difference: Decimal
    """Above zero: OpenCost says more."""


class ApartView(_Money):
    """What is of no workload, and so is held against nothing."""

    day: date
    idle: Decimal
    """Paid for and asked for by nobody, as OpenCost says."""
    unowned_here: Decimal
    """Booked for no workload in particular."""
    unowned_there: Decimal
    """Of no controller, or volumes that nobody has mounted."""


class UncomparedView(_Money):
    currency: str
    cost: Decimal


class ReconciliationView(_Money):
    start: datetime
    end: datetime
    currency: str
    """Which OpenCost is taken to reckon in."""
    here: Decimal
    """All that we have booked in this currency."""
    there: Decimal
    """All that OpenCost says, idle nodes too."""
    tolerance: float
    """Of the greater of the two: what is nearer is `matched`."""
    least: Decimal
    """What differs by less is `matched`."""
    counts: dict[Standing, int]
    """Of workloads and days, whether or not they are among the items."""
    items: list[ComparedView]
    """Those of `standing`, the greatest difference first."""
    left_out: int
    """How many more there are than `limit`."""
    apart: list[ApartView]
    """By day; without those of which there is nothing."""
    uncompared: list[UncomparedView]
    """What we have booked in other currencies."""
    metered_until: datetime | None
    """When our meters were last read; null: not since the service was started. What came later is missing here."""


@router.get("/reconciliation", responses=answers(404), dependencies=[Depends(asks_much)])
async def reconcile_costs(
    needs: Needs, _who: auth.CanView, asked: Annotated[ReconciliationQuery, Query()]
) -> ReconciliationView:
    """What we have booked beside what OpenCost says of the same days, by workload. Neither is the truth: what differs is worth
    a look. 404 where no OpenCost is configured; 503, with the reason, when it does not answer as it should."""
    if (auditor := needs.auditor) is None:
        raise NotFound("there is no OpenCost to hold costs against: set OPPEN_OPENCOST_URL")
    window = _window(asked, needs.clock.now())
    if not all(map(storable, asked.namespace)):
        raise _refused("namespace", "plain text, please")
    try:
        amounts = await needs.costs.breakdown(Question(window=window, by=(Dimension.WORKLOAD,), step=Step.DAY))
    except PermanentError as error:
        raise _refused("start", f"more than {MOST_CELLS:,} workloads and days are booked since: ask for fewer days") from error
    theirs = within(await _allocations(auditor, window), asked.namespace)
    policy = needs.policies().cost.reconciliation
    ours = under([each for each in amounts if each.currency == auditor.currency], auditor.controllers)
    # Tens of thousands of them, in a month of a large cluster: others are answered meanwhile.
    found = await asyncio.to_thread(reconcile, ours, theirs, policy, currency=auditor.currency)
    wanted = [each for each in found.compared if not asked.standing or each.standing in asked.standing]
    wanted.sort(key=lambda each: -abs(each.difference))
    return ReconciliationView(
        start=window.start,
        end=window.end,
        currency=found.currency,
        here=found.here,
        there=found.there,
        tolerance=policy.tolerance,
        least=policy.least,
        counts={standing: len(found.of(standing)) for standing in Standing},
        items=[_compared(each) for each in wanted[: asked.limit]],
        left_out=max(len(wanted) - asked.limit, 0),
        apart=_apart(found),
        uncompared=_uncompared(amounts, auditor.currency),
        metered_until=needs.billing.meter.until,
    )


async def _allocations(auditor: Auditor, window: Window) -> tuple[Allocation, ...]:
    """Raises Unavailable with OpenCost's own reason: who asks can do nothing without it, and is no stranger."""
    try:
        return await auditor.reader.allocations(window, aggregate=_AGGREGATE)
    except TemporaryError as error:
        raise Unavailable(str(error), retry_after_s=max(1, math.ceil(error.retry_after.total_seconds()))) from error
    except PermanentError as error:
        raise Unavailable(f"{error}; `oppen doctor` checks how it is reached") from error


def _compared(compared: Compared) -> ComparedView:
    return ComparedView(**compared.model_dump(), difference=compared.difference)


def _apart(found: Reconciled) -> list[ApartView]:
    nothing = Decimal(0)
    return [
        ApartView(
            day=day,
            idle=found.idle.get(day, nothing),
            unowned_here=found.unowned_here.get(day, nothing),
            unowned_there=found.unowned_there.get(day, nothing),
        )
        for day in sorted({*found.idle, *found.unowned_here, *found.unowned_there})
    ]


def _uncompared(amounts: Sequence[Amount], currency: str) -> list[UncomparedView]:
    others: dict[str, list[Decimal]] = defaultdict(list)
    for amount in amounts:
        if amount.currency != currency:
            others[amount.currency].append(amount.cost)
    return [UncomparedView(currency=name, cost=total(costs)) for name, costs in sorted(others.items())]


def _window(asked: ReconciliationQuery, now: datetime) -> Window:
    last = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    end = asked.end or last
    for field, moment in (("start", asked.start), ("end", end)):
        if moment is None:
            continue
        if moment.year <= _EARLIEST_YEAR:
            raise _refused(field, f"has to be after {_EARLIEST_YEAR}: nothing else is booked")
        if moment > last:
            raise _refused(field, f"whole days are compared, and the last one ended {last.isoformat()}")
        if moment.astimezone(UTC).time() != time():
            raise _refused(field, "whole days are compared: write the midnight of UTC at which one begins")
    start = asked.start or end - _DEFAULT
    if start >= end:
        raise _refused("start", f"has to be before `end`, which is {end.isoformat()}")
    if end - start > _LONGEST:
        raise _refused("start", f"{_LONGEST.days} days are asked for at most")
    return Window(start=start.astimezone(UTC), end=end.astimezone(UTC))


def _refused(field: str, detail: str) -> Invalid:
    return Invalid("these days cannot be compared", errors=(FieldError(field=field, detail=detail),))
