"""Our own metering beside what OpenCost says of the same cluster: which workloads agree, and which of us has missed one.

By workload and day. Neither is the truth: OpenCost prices what pods request or use, whichever is more, at the prices of nodes;
we price what was metered at the price book's. What differs by more than that explains is worth a person's look.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tools.costs.allocations import IDLE, UNALLOCATED, UNMOUNTED, Allocation
from tools.costs.apportioning import EXACT, less, total
from tools.costs.port import Amount, Currency, Dimension
from tools.values import Frozen, Share


class Reconciliation(Frozen):
    """The policy."""

    tolerance: Share = 0.10
    """Of the greater of the two. OpenCost takes samples once a minute and counts pods from start to end: a job of ten minutes
    is up to a tenth longer there than here."""
    least: Annotated[Decimal, Field(ge=0)] = Decimal("0.05")
    """In the currency, a day: differences below are not worth a person's minute."""


class Standing(StrEnum):
    MATCHED = "matched"
    DIFFERS = "differs"
    MISSING_HERE = "missing_here"
    """OpenCost has it, we do not: a meter is off, or it is none of ours."""
    MISSING_THERE = "missing_there"
    """We have it, OpenCost does not: it ran elsewhere, or under another name."""


class Compared(Frozen):
    workload: str
    day: date
    """Of UTC."""
    standing: Standing
    here: Decimal
    there: Decimal

    @property
    def difference(self) -> Decimal:
        """Above zero: OpenCost says more."""
        return less(self.there, self.here)


class Reconciled(Frozen):
    currency: Currency
    compared: tuple[Compared, ...]
    """In the order of days and workloads."""
    idle: dict[date, Decimal]
    """Paid for and asked for by nobody, as OpenCost says."""
    unowned_here: dict[date, Decimal]
    """Booked for no workload in particular."""
    unowned_there: dict[date, Decimal]
    """Of no controller, or volumes that nobody has mounted."""

    def of(self, standing: Standing) -> tuple[Compared, ...]:
        return tuple(each for each in self.compared if each.standing is standing)

    @property
    def here(self) -> Decimal:
        """All that was given, of ours."""
        return total([*(each.here for each in self.compared), *self.unowned_here.values()])

    @property
    def there(self) -> Decimal:
        """All that was given, of theirs."""
        return total([*(each.there for each in self.compared), *self.idle.values(), *self.unowned_there.values()])


def controller_of(allocation: Allocation) -> str:
    """The workload's name as the jobs' and gateways' meters say it: that of what controls its pods."""
    return allocation.controller or allocation.name.rpartition("/")[2].rpartition(":")[2]


def under(ours: Sequence[Amount], controllers: Mapping[str, str]) -> tuple[Amount, ...]:
    """`ours` by the controllers that they run under, where those have other names: a gateway's idle workers are in the same
    pods as those that answer."""

    def named(amount: Amount) -> Amount:
        workload = amount.at.get(Dimension.WORKLOAD, "")
        return amount.model_copy(update={"at": {**amount.at, Dimension.WORKLOAD: controllers.get(workload, workload)}})

    return tuple(map(named, ours)) if controllers else tuple(ours)


def within(theirs: Sequence[Allocation], namespaces: Collection[str]) -> tuple[Allocation, ...]:
    """Of these namespaces, and what is of none, such as idle nodes. None: all of them."""
    return tuple(each for each in theirs if not namespaces or each.namespace in ("", UNMOUNTED, UNALLOCATED, *namespaces))


def reconcile(
    ours: Sequence[Amount],
    theirs: Sequence[Allocation],
    policy: Reconciliation,
    *,
    currency: str,
    workload_of: Callable[[Allocation], str] = controller_of,
) -> Reconciled:
    """`ours`: by workload, with a step of days. `theirs`: by days. `currency`: the one OpenCost is configured with.

    Raises ValueError for amounts that are not by workload and day, and for another currency: they cannot be compared.
    """
    here, unowned_here = _ours(ours, currency)
    there: dict[tuple[date, str], list[Decimal]] = defaultdict(list)
    idle: dict[date, list[Decimal]] = defaultdict(list)
    unowned_there: dict[date, list[Decimal]] = defaultdict(list)
    for allocation in theirs:
        day = _day(allocation.window.start)
        match _special(allocation.name):
            case None:
                there[day, workload_of(allocation)].append(allocation.total_cost)
            case name if name == IDLE:
                idle[day].append(allocation.total_cost)
            case _:
                unowned_there[day].append(allocation.total_cost)
    return Reconciled(
        currency=currency,
        compared=tuple(
            _compared(day, workload, here.get((day, workload)), there.get((day, workload)), policy)
            for day, workload in sorted({*here, *there})
        ),
        idle=_totals(idle),
        unowned_here=_totals(unowned_here),
        unowned_there=_totals(unowned_there),
    )


def _ours(amounts: Sequence[Amount], currency: str) -> tuple[dict[tuple[date, str], list[Decimal]], dict[date, list[Decimal]]]:
    owned: dict[tuple[date, str], list[Decimal]] = defaultdict(list)
    unowned: dict[date, list[Decimal]] = defaultdict(list)
    for amount in amounts:
        if amount.start is None or (workload := amount.at.get(Dimension.WORKLOAD)) is None:
            raise ValueError("ours: by workload, with a step of days")
        if amount.currency != currency:
            raise ValueError(f"currency: ours is in {amount.currency}, theirs in {currency}; they cannot be compared")
        day = _day(amount.start)
        (owned[day, workload] if workload else unowned[day]).append(amount.cost)
    return owned, unowned


def _compared(
    day: date, workload: str, ours: list[Decimal] | None, theirs: list[Decimal] | None, policy: Reconciliation
) -> Compared:
    here, there = total(ours or ()), total(theirs or ())
    difference = abs(less(there, here))
    greater = max(abs(here), abs(there))
    near = difference <= policy.least or difference <= EXACT.multiply(greater, Decimal(str(policy.tolerance)))
    if near:
        standing = Standing.MATCHED
    elif ours is None:
        standing = Standing.MISSING_HERE
    elif theirs is None:
        standing = Standing.MISSING_THERE
    else:
        standing = Standing.DIFFERS
    return Compared(workload=workload, day=day, standing=standing, here=here, there=there)


def _special(name: str) -> str | None:
    """OpenCost's own names, also of one cluster (`cluster-one/__idle__`)."""
    found = name.rpartition("/")[2]
    return found if found in (IDLE, UNALLOCATED, UNMOUNTED) else None


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _totals(by_day: dict[date, list[Decimal]]) -> dict[date, Decimal]:
    return {day: total(costs) for day, costs in sorted(by_day.items())}
