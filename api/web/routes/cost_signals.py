"""Money as a signal: what is unusual and where it comes from, what will have been spent, and what of budgets is left."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import field_serializer

from agents.cost.alarms import Judged, described
from agents.cost.anomalies import Anomaly
from agents.cost.budgets import Burn, Standing, burn
from agents.cost.causes import Aspect, Origin
from agents.cost.forecasts import Forecast, period
from agents.cost.rules import Period, Whose
from api.problems import FieldError, Invalid
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs, asks_much
from api.web.services import Services
from api.web.views import View
from graphs.spending import forecast_of, judged, origin_of, until
from tools.costs.port import Dimension
from tools.errors import PermanentError

router = APIRouter(prefix="/v1/costs", tags=["costs"], dependencies=[Depends(asks_much)])

_MOST_EXPLAINED = 10
"""Of those that go on, the dearest first: each takes several questions to the ledger."""
_PLACES = Decimal("0.000001")

Name = Annotated[str, Query(max_length=200)]


class _Money(View):
    @field_serializer("*", when_used="json", check_fields=False)
    def _plain(self, value: object) -> object:
        return format(value, "f") if isinstance(value, Decimal) else value


class ContributorView(_Money):
    at: dict[Dimension, str]
    """Empty names: nobody's in particular."""
    before: Decimal
    after: Decimal
    change: Decimal
    by_price: Decimal
    by_usage: Decimal


class CostAspectView(View):
    by: list[Dimension]
    explained: float
    """Share of the rise that the contributors stand for; above 1 where others fell."""
    contributors: list[ContributorView]


class CostOriginView(_Money):
    start: datetime
    end: datetime
    compared_with: list[datetime]
    """Where the windows of the same hours begin whose mean is `before`."""
    before: Decimal
    after: Decimal
    by_price: Decimal
    """Of the rise: what the same usage costs more."""
    by_usage: Decimal
    aspects: list[CostAspectView]
    """The most telling first."""
    sentences: list[str]


class CostAnomalyView(_Money):
    dimension: Dimension | None
    """Null: of everything."""
    name: str
    currency: str
    start: datetime
    end: datetime
    seen: datetime
    """The end of the hour with which it could be told."""
    actual: Decimal
    expected: Decimal
    excess: Decimal
    share: float | None
    """Of what was expected; null where that was nothing."""
    rule: Literal["seasonal", "plain"]
    open: bool
    """It goes on, or was over less than a day ago."""
    learnt: bool
    """It stayed, and is the new usual."""
    summary: str
    origin: CostOriginView | None
    """Of those that are open, the dearest ten."""


class UnjudgedView(View):
    dimension: Dimension | None
    name: str
    currency: str
    reason: str


class CostAnomaliesView(View):
    until: datetime | None
    """What came later is not judged yet; null: nothing is booked."""
    looked_from: datetime | None
    """Hours before were learnt from only."""
    series: int
    """How many were judged."""
    items: list[CostAnomalyView]
    """The latest first."""
    plainly: list[UnjudgedView]
    """Judged by the plain rule, or not at all, because there is too little history."""


class StretchView(_Money):
    start: datetime
    end: datetime
    cost: Decimal


class CostForecastView(_Money):
    currency: str
    spent: Decimal
    to_come: list[StretchView]
    """By day; with what is spent they are what is to be expected, exactly."""
    expected: Decimal | None
    """Null: too little is known."""
    low: Decimal | None
    high: Decimal | None
    interval: float
    """How surely it holds what will have been spent."""
    going_on: Decimal
    """What an anomaly that goes on would cost until the end, should it stay: part of `high` only."""
    method: Literal["seasonal", "mean"] | None
    reason: str


class BudgetView(_Money):
    of: Whose
    name: str
    amount: Decimal
    currency: str
    every: Period
    start: datetime
    end: datetime
    spent: Decimal
    left: Decimal
    used: float
    """Share of the budget."""
    rate: float | None
    """Share of the budget over the share of the time: above 1 it will not do if it goes on evenly."""
    expected: Decimal | None
    exhausted_at: datetime | None
    standing: Standing
    summary: str


class CostForecastsView(View):
    start: datetime | None
    end: datetime | None
    until: datetime | None
    """What was spent before is known; null: nothing is booked."""
    items: list[CostForecastView]
    """By currency."""
    budgets: list[BudgetView]
    """Of policy, with their own periods; only those of what is asked for."""


@router.get("/anomalies")
async def list_cost_anomalies(needs: Needs, _who: auth.CanView) -> CostAnomaliesView:
    """What was unusual in the last weeks, of everything and of each part that policy watches, and where the rise comes from."""
    with _answered():
        return await _anomalies(needs)


async def _anomalies(needs: Services) -> CostAnomaliesView:
    rules = needs.policies().cost
    end = await until(needs.costs, rules, needs.clock.now())
    if end is None:
        return CostAnomaliesView(until=None, looked_from=None, series=0, items=[], plainly=[])
    found = await judged(needs.costs, rules, end)
    going_on = sorted((each for each in found if each.open), key=lambda each: -each.open.excess if each.open else 0.0)
    explained = going_on[:_MOST_EXPLAINED]
    items = []
    for each in found:
        for anomaly in each.judgement.anomalies:
            origin = None
            if anomaly == each.open and each in explained:
                origin = await origin_of(each.spending, anomaly, needs.costs, needs.jobs)
            items.append(_anomaly(each, anomaly, origin))
    return CostAnomaliesView(
        until=end,
        looked_from=min((each.judgement.looked_from for each in found if each.judgement.looked_from), default=None),
        series=len(found),
        items=sorted(items, key=lambda each: each.seen, reverse=True),
        plainly=[_unjudged(each) for each in found if each.judgement.rule != "seasonal"],
    )


@router.get("/forecast")
async def show_cost_forecast(
    needs: Needs,
    _who: auth.CanView,
    every: Annotated[Period, Query(description="The day or the month of now, in UTC.")] = "month",
    team: Annotated[Name | None, Query(description="Only what is this team's own.")] = None,
    model: Annotated[Name | None, Query(description="Only what is this model's own.")] = None,
) -> CostForecastsView:
    """What will have been spent by the end, with an interval, and what of the budgets is left."""
    for field, name in (("team", team), ("model", model)):
        if name is not None and not storable(name):
            raise Invalid("this is no name", errors=(FieldError(field=field, detail="plain text, please"),))
    where = {dimension: (name,) for dimension, name in ((Dimension.TEAM, team), (Dimension.MODEL, model)) if name is not None}
    with _answered():
        return await _forecasts(needs, every, where)


async def _forecasts(needs: Services, every: Period, where: Mapping[Dimension, tuple[str, ...]]) -> CostForecastsView:
    rules = needs.policies().cost
    end = await until(needs.costs, rules, needs.clock.now())
    if end is None:
        return CostForecastsView(start=None, end=None, until=None, items=[], budgets=[])
    window = period(every, end)
    forecasts = await forecast_of(needs.costs, rules, window, end, where)
    return CostForecastsView(
        start=window.start,
        end=window.end,
        until=end,
        items=[_forecast(each) for each in forecasts],
        budgets=await _budgets(needs, end, where),
    )


@contextmanager
def _answered() -> Iterator[None]:
    """What policy has us ask and the ledger does not answer (there is none, or too much is asked for) is said as it is."""
    try:
        yield
    except PermanentError as error:
        detail = FieldError(field="policy.cost", detail=str(error))
        raise Invalid("the ledger cannot answer what policy asks of it", errors=(detail,)) from error


async def _budgets(needs: Services, end: datetime, where: Mapping[Dimension, tuple[str, ...]]) -> list[BudgetView]:
    rules, found = needs.policies().cost, []
    for budget in rules.budgets:
        if where and budget.where != where:
            continue
        forecasts = await forecast_of(needs.costs, rules, period(budget.every, end), end, budget.where)
        found += [_budget(burn(budget, each)) for each in forecasts if each.currency == budget.currency]
    return found


def _anomaly(judged: Judged, anomaly: Anomaly, origin: Origin | None) -> CostAnomalyView:
    spending = judged.spending
    return CostAnomalyView(
        dimension=spending.dimension,
        name=spending.name,
        currency=spending.currency,
        **anomaly.model_dump(include={"start", "end", "seen", "rule", "learnt"}),
        actual=_number(anomaly.actual),
        expected=_number(anomaly.expected),
        excess=_number(anomaly.actual) - _number(anomaly.expected),
        share=anomaly.share,
        open=anomaly == judged.open,
        summary=described(spending, anomaly, judged.judgement),
        origin=_origin(origin) if origin is not None else None,
    )


def _origin(found: Origin) -> CostOriginView:
    return CostOriginView(
        start=found.window.start,
        end=found.window.end,
        compared_with=[each.start for each in found.compared_with],
        before=_short(found.before),
        after=_short(found.after),
        by_price=_short(found.by_price),
        by_usage=_short(found.after) - _short(found.before) - _short(found.by_price),
        aspects=[_aspect(each) for each in found.aspects],
        sentences=list(found.sentences),
    )


def _aspect(aspect: Aspect) -> CostAspectView:
    named = [
        ContributorView(
            at=each.at,
            before=_short(each.before),
            after=_short(each.after),
            change=_short(each.after) - _short(each.before),
            by_price=_short(each.by_price),
            by_usage=_short(each.after) - _short(each.before) - _short(each.by_price),
        )
        for each in aspect.change.contributors
    ]
    return CostAspectView(by=list(aspect.by), explained=float(aspect.change.explained), contributors=named)


def _unjudged(found: Judged) -> UnjudgedView:
    spending = found.spending
    return UnjudgedView(
        dimension=spending.dimension, name=spending.name, currency=spending.currency, reason=found.judgement.reason
    )


def _forecast(found: Forecast) -> CostForecastView:
    return CostForecastView(
        **found.model_dump(include={"currency", "interval", "method", "reason"}),
        spent=found.spent,
        to_come=[StretchView.model_validate(each) for each in found.to_come],
        expected=found.expected,
        low=found.low,
        high=found.high,
        going_on=found.going_on,
    )


def _budget(found: Burn) -> BudgetView:
    budget, forecast = found.budget, found.forecast
    return BudgetView(
        **budget.model_dump(),
        start=forecast.window.start,
        end=forecast.window.end,
        spent=forecast.spent,
        left=found.left,
        used=found.used,
        rate=found.rate,
        expected=forecast.expected,
        exhausted_at=found.exhausted_at,
        standing=found.standing,
        summary=found.summary,
    )


def _number(cost: float) -> Decimal:
    """A judgement's figures are no sums of the ledger: six places are more than they are worth."""
    return _short(Decimal(repr(cost)))


def _short(cost: Decimal) -> Decimal:
    return cost.quantize(_PLACES, ROUND_HALF_EVEN)
