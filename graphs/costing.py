"""Reads what a review of a model's cost rests on, and what a saving is judged by."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from agents.alerts import Alert
from agents.cost.case import CostCase, Serving
from agents.cost.causes import Origin
from agents.cost.changes import Change, explain
from agents.cost.inefficiency import Inefficiency
from agents.cost.optimization import Optimization
from agents.cost.repricing import Kind, Metered, Rates, by_hour, rates
from agents.cost.savings import Hour
from agents.policies import Policies
from agents.quantization_job import is_quantization
from agents.requests import COST_MONITOR, request_of
from agents.subjects import model_of
from agents.training import JOB_TAG
from graphs.context import Ledger
from graphs.gathering import Sources
from graphs.spending import surge
from graphs.surplus import surplus
from tools.costs.meters.serving import sku_of
from tools.costs.port import Amount, Component, CostReader, Dimension, Pricing, Question, Step
from tools.costs.prices import NoPrice, PriceBook
from tools.costs.units import Resource, multiple
from tools.jobs.port import JobsReader, JobState
from tools.predictions.port import PredictionReader
from tools.registry.port import Alias
from tools.toolbox import Readers
from tools.values import Window

HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_READ = timedelta(minutes=15)
"""Meters are read every ten minutes, in turn, and what answers late is read again."""
_HALF = 0.5
"""Of an hour's predictions: a version that answers less than that computes emptier batches than it would with all of them."""
_BY_CHANGE = (Dimension.COMPONENT, Dimension.VERSION, Dimension.WORKLOAD)


async def survey(
    alerts: Sequence[Alert],
    earlier: Optimization | None,
    readers: Readers,
    ledger: Ledger,
    policies: Policies,
    prices: PriceBook | None,
    now: datetime,
) -> CostCase:
    sources, model = Sources(), next((name for alert in alerts if (name := model_of(alert, policies.intake)) is not None), None)
    rules = policies.optimizations_of(model) if model is not None else policies.optimizations
    window = Window(start=now - rules.looked_at, end=now)
    case = CostCase(alerts=tuple(alerts), model=model, window=window, request=request_of(alerts), earlier=earlier)
    rise = await sources.ask("costs", _rise(alerts, readers, policies, now), None)
    case = case.model_copy(update={"rise": rise, "missing": sources.missing})
    if model is None:
        return case
    registry = readers.registry
    champion = await sources.ask("registry", registry.alias(model, Alias.CHAMPION), None)
    spec = await sources.ask("registry", registry.serving(model, champion), None) if champion is not None else None
    case = case.model_copy(
        update={"champion": champion, "answers": "numbers" if spec is not None and spec.task == "regression" else "classes"}
    )
    if champion is not None:
        tags = {each.version: each.tags for each in await sources.ask("registry", registry.versions(model), ())}
        quantized = is_quantization(tags.get(champion, {}).get(JOB_TAG, ""))
        measured = None if quantized else await sources.ask("registry", registry.quantization(model, champion), None)
        case = case.model_copy(update={"quantized": quantized, "measured": measured})
    where: dict[Dimension, tuple[str, ...]] = {Dimension.MODEL: (model,)}
    spent = await sources.ask("costs", readers.costs.breakdown(Question(window=window, by=_BY_JOB, where=where)), ())
    currency = main_currency(spent)
    if currency is not None:
        own = [each for each in spent if each.currency == currency]
        case = case.model_copy(
            update={
                "currency": currency,
                "spent": sum((each.cost for each in own), Decimal(0)),
                "by_job": {
                    each.at[Dimension.WORKLOAD]: each.cost for each in own if each.at[Dimension.COMPONENT] == Component.TRAINING
                },
                "change": await sources.ask("costs", _change(where, currency, now, window, readers.costs), None),
                "serving": await sources.ask(
                    "costs", _serving(model, champion, currency, window, settled(policies, now), readers), None
                ),
            }
        )
    jobs = await sources.ask("jobs", _jobs(model, readers.jobs), ())
    others: tuple[Inefficiency, ...] = ()
    if prices is not None and (earlier is None or earlier.trial is None):
        others = await surplus(model, jobs, window, readers, ledger, policies, prices, sources, now)
    return case.model_copy(update={"jobs": jobs, "others": others, "missing": sources.missing})


async def _rise(alerts: Sequence[Alert], readers: Readers, policies: Policies, now: datetime) -> Origin | None:
    """Of what a monitor of ours has called unusual, while it is."""
    raised = next(
        (each.labels for each in alerts if each.labels.get("monitor") == COST_MONITOR and "dimension" in each.labels), None
    )
    if raised is None:
        return None
    named = next((each for each in Dimension if each.value == raised["dimension"]), None)
    if named is not None and not raised.get(named.value):
        return None
    found = await surge(named, raised.get(named.value, "") if named else "", readers.costs, readers.jobs, policies.cost, now)
    return found[1] if found is not None else None


_BY_JOB = (Dimension.COMPONENT, Dimension.WORKLOAD)


def main_currency(amounts: Sequence[Amount]) -> str | None:
    """That most is paid in, by its own figures: two are never added."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for each in amounts:
        sums[each.currency] += each.cost
    return max(sorted(sums), key=lambda each: sums[each], default=None)


async def _jobs(model: str, jobs: JobsReader) -> tuple[JobState, ...]:
    """Listings are without progress, which says which of them is furthest."""
    known = await jobs.jobs(model=model)
    return tuple([each if each.final else await jobs.state(each.name) for each in known])


async def _change(
    where: dict[Dimension, tuple[str, ...]], currency: str, now: datetime, window: Window, costs: CostReader
) -> Change | None:
    """The last day beside the days of the window before it."""
    turn = now - _DAY
    if window.start >= turn:
        return None
    sides = []
    for stretch in (Window(start=window.start, end=turn), Window(start=turn, end=now)):
        asked = Question(window=stretch, by=(*_BY_CHANGE, Dimension.RESOURCE), where=where)
        sides.append([each for each in await costs.breakdown(asked) if each.currency == currency])
    before, after = sides
    if not before or not after:
        return None
    scale = Decimal(repr(_DAY / (turn - window.start)))
    return explain(before, after, _BY_CHANGE, scale)


async def _serving(
    model: str, version: str | None, currency: str, window: Window, until: datetime, readers: Readers
) -> Serving | None:
    if version is None:
        return None
    # Where there is a whole hour to end it at: half an hour's bill for all of its predictions is no rate.
    whole = window.model_copy(update={"end": until}) if until > window.start else window
    hours = await serving_hours(model, whole, currency, readers, version=version)
    if not hours:
        return None
    cost, units = (sum((getattr(each, name) for each in hours), Decimal(0)) for name in ("cost", "units"))
    return Serving(version=version, cost=cost, hours=len(hours), predictions=int(units))


async def serving_hours(
    model: str,
    window: Window,
    currency: str,
    readers: Readers,
    *,
    version: str | None = None,
    as_all: bool = False,
    held: bool = True,
    at: Rates | None = None,
) -> tuple[Hour, ...]:
    """Full hours that are booked, of the version or of all of the model: what serving has cost, and for how many predictions.
    `held`: with what is held and no version has used, where all of the model is asked for. `as_all`: only those in which the
    version has answered half of them or more, and what all of them would have cost by it. `at`: by these rates, instead of as
    it was paid."""
    whole = await booked(window, readers.costs)
    if whole is None:
        return ()
    used = await metered(model, Component.SERVING, whole, currency, readers.costs, version=version)
    costs = by_hour([each for each in used if held or each.kind.version], at)
    counts = await _counts(model, whole, readers.predictions)
    found = []
    for start, cost in sorted(costs.items()):
        everything = sum(counts[start].values())
        units = everything if version is None else counts[start].get(version, 0)
        if as_all:
            if not units or units < _HALF * everything:
                continue
            found.append(Hour(start=start, cost=cost * everything / units, units=Decimal(everything)))
        else:
            found.append(Hour(start=start, cost=cost, units=Decimal(units)))
    return tuple(found)


async def training_hours(
    model: str, window: Window, currency: str, readers: Readers, at: Rates | None = None
) -> tuple[Hour, ...]:
    """Full hours that are booked in which the model was trained: what that has cost, and for how many core-hours."""
    whole = await booked(window, readers.costs)
    if whole is None:
        return ()
    used = await metered(model, Component.TRAINING, whole, currency, readers.costs)
    units: dict[datetime, Decimal] = defaultdict(Decimal)
    for each in used:
        if each.kind.resource is Resource.CPU:
            units[each.start] += each.quantity / 3600
    costs = by_hour([each for each in used if each.kind.resource is not Resource.STORAGE], at)
    return tuple(Hour(start=start, cost=costs[start], units=units[start]) for start in sorted(costs) if units[start] > 0)


async def metered(
    model: str, component: Component, window: Window, currency: str, costs: CostReader, *, version: str | None = None
) -> tuple[Metered, ...]:
    """By the hour, resource and pricing; of serving by version, too, because versions may have prices of their own."""
    where: dict[Dimension, tuple[str, ...]] = {Dimension.MODEL: (model,), Dimension.COMPONENT: (component.value,)}
    if version is not None:
        where[Dimension.VERSION] = (version,)
    by: tuple[Dimension, ...] = (Dimension.RESOURCE, Dimension.PRICING)
    if component is Component.SERVING:
        by = (*by, Dimension.VERSION)
    return tuple(
        Metered(
            start=each.start.astimezone(UTC),
            kind=Kind(
                resource=Resource(each.at[Dimension.RESOURCE]),
                pricing=Pricing(each.at[Dimension.PRICING]),
                version=each.at.get(Dimension.VERSION, ""),
            ),
            quantity=each.quantity,
            cost=each.cost,
        )
        for each in await costs.breakdown(Question(window=window, step=Step.HOUR, by=by, where=where))
        if each.currency == currency and each.start is not None and each.quantity is not None
    )


async def rates_since(
    since: datetime,
    model: str,
    component: Component,
    window: Window,
    currency: str,
    costs: CostReader,
    book: PriceBook | None,
) -> Rates:
    """At which all of `window` is valued: prices after the change at `since`, as they were paid or, for what is not used any
    more, as the book lists them at its end."""

    def listed(kind: Kind) -> Decimal | None:
        if book is None or book.currency != currency:
            return None
        try:
            found = book.at(kind.resource, sku_of(model, kind.version, book), kind.pricing, window.end)
        except NoPrice:
            return None
        return found.price / multiple(kind.resource, found.unit)

    whole = await booked(window, costs)
    used = await metered(model, component, whole, currency, costs) if whole is not None else ()
    return rates(used, _ceiling(since), listed)


def settled(policies: Policies, now: datetime) -> datetime:
    """Until then the bill is whole. That something was booked later says nothing of the other meters."""
    return now - max(policies.verification.settle, _READ)


async def booked(window: Window, costs: CostReader) -> Window | None:
    """Its full hours whose usage is in the ledger; None where there is none."""
    last = await costs.last()
    if last is None:
        return None
    start, end = _ceiling(window.start), _floor(min(window.end, last))
    return Window(start=start, end=end) if end > start else None


async def _counts(model: str, window: Window, predictions: PredictionReader) -> dict[datetime, dict[str, int]]:
    found: dict[datetime, dict[str, int]] = defaultdict(dict)
    for each in await predictions.tallies(model, window, HOUR):
        found[each.start.astimezone(UTC)][each.version] = each.count
    return found


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _ceiling(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + HOUR
