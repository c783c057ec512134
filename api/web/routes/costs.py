"""What the platform and its models cost: the ledger's charges by dimensions and time, each level adding up to the cent."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_serializer, field_validator

from agents.cost.attribution import attributed
from agents.cost.bills import Entry, bill
from agents.cost.sharing import Cell, Rule
from api.problems import FieldError, Invalid
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs, asks_much
from api.web.services import Services
from api.web.views import View
from tools.costs import focus
from tools.costs.focus import Format
from tools.costs.port import Component, Dimension, Pricing, Question, Step
from tools.costs.units import Resource
from tools.errors import PermanentError
from tools.values import Window

router = APIRouter(prefix="/v1/costs", tags=["costs"])

_WEEK = timedelta(days=7)
_LONGEST = timedelta(days=1100)
"""Three years, so that a year can be held against the one before."""
_EARLIEST_YEAR, _LATEST_YEAR = 2000, 2100
_MOST_STEPS = 3_000
"""Hours of four months: more are no table any more, but an export."""
_LENGTHS = {Step.HOUR: timedelta(hours=1), Step.DAY: timedelta(days=1), Step.MONTH: timedelta(days=28)}
_THOUSAND = 1_000
_SMALLEST = Decimal("1e-9")

Name = Annotated[str, Field(max_length=200)]


class CostsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime | None = Field(default=None, description="Default: seven days before `end`.")
    end: AwareDatetime | None = Field(default=None, description="The first moment that is not in it any more. Default: now.")
    by: list[Dimension] = Field(
        default=[Dimension.COMPONENT, Dimension.PART], description="The outermost first; repeat it for more than one."
    )
    step: Step | None = Field(default=None, description="Also over time, in UTC.")
    share: Rule = Field(
        default="proportional",
        description="How what is nobody's in particular is shared out among the models, versions, teams or experiments that "
        "are asked for: in proportion to their own cost in the same component, evenly, or not at all.",
    )
    per: Literal["thousand_predictions"] | None = Field(default=None, description="Also the cost of a thousand predictions.")
    component: list[Component] = Field(default=[], description="Only these; so with those below.")
    part: list[Name] = []
    model: list[Name] = []
    version: list[Name] = []
    team: list[Name] = []
    experiment: list[Name] = []
    resource: list[Resource] = []
    pricing: list[Pricing] = []
    workload: list[Name] = []

    @field_validator("by")
    @classmethod
    def _once(cls, by: list[Dimension]) -> list[Dimension]:
        if len(set(by)) < len(by):
            raise ValueError("each dimension once")
        return by

    @property
    def where(self) -> dict[Dimension, tuple[str, ...]]:
        chosen = {each: tuple(str(value) for value in getattr(self, each.value)) for each in Dimension}
        return {dimension: values for dimension, values in chosen.items() if values}


class EntryView(View):
    name: str
    """Empty: what is nobody's in particular."""
    cost: Decimal
    """Rounded to cents so that at every level the parts are the whole."""
    exact: Decimal
    per_thousand: Decimal | None
    """Predictions of its model and version, as far as it is of one; null where none were asked for, or none were made."""
    parts: "list[EntryView]"
    """The dearest first."""

    @field_serializer("cost", "exact", "per_thousand")
    def _plain(self, value: Decimal | None) -> str | None:
        return format(value, "f") if value is not None else None


class StepView(View):
    start: datetime
    cost: Decimal
    """In cents; the steps of a bill add up to it."""
    exact: Decimal
    parts: list[EntryView]
    """By the outermost dimension."""

    @field_serializer("cost", "exact")
    def _plain(self, value: Decimal) -> str:
        return format(value, "f")


class BillView(View):
    currency: str
    """ISO 4217."""
    total: EntryView
    steps: list[StepView]
    """Oldest first; empty without a `step`. Those without any charge are left out."""


class CostsView(View):
    start: datetime
    end: datetime
    by: list[Dimension]
    step: Step | None
    share: Rule
    predictions: int | None
    """In the window, of the models and versions that were asked for; null unless costs are asked per thousand."""
    prices: str
    """Where they are from."""
    metered_until: datetime | None
    """When the meters were last read; null: not since the service was started. What came later is on no bill yet."""
    unpriced: list[str]
    """What is metered and has no price in the book: it is missing here."""
    bills: list[BillView]
    """One for each currency: two are never added. Empty when nothing was booked."""


@router.get("", dependencies=[Depends(asks_much)])
async def show_costs(needs: Needs, _who: auth.CanView, asked: Annotated[CostsQuery, Query()]) -> CostsView:
    """Who and what caused which cost, as a tree by `by`, and over time by `step`."""
    window = _window(asked, needs.clock.now())
    if odd := sorted(field for field, values in asked.where.items() if not all(map(storable, values))):
        raise _refused(odd[0], "plain text, please")
    if asked.per and (asked.team or asked.experiment):
        raise _refused("per", "predictions are known by model and version: ask for these, and not for a team or an experiment")
    shown = tuple(asked.by)
    # What is nobody's is shared within its component, whether that is shown or not.
    question = Question(
        window=window, by=tuple(dict.fromkeys((*shown, Dimension.COMPONENT))), step=asked.step, where=asked.where
    )
    try:
        amounts = await needs.costs.breakdown(question)
    except PermanentError as error:
        raise _refused("by", str(error).removeprefix("by: ")) from error
    cells = attributed(amounts, shown, asked.share)
    counts = await _predictions(needs, asked, window) if asked.per else None
    by_currency: dict[str, list[Cell]] = {}
    for cell in cells:
        by_currency.setdefault(cell.currency, []).append(cell)
    billing = needs.billing
    return CostsView(
        start=window.start,
        end=window.end,
        by=list(shown),
        step=asked.step,
        share=asked.share,
        predictions=None if counts is None else sum(counts.values()),
        prices=billing.source,
        metered_until=billing.meter.until,
        unpriced=list(billing.meter.unpriced),
        bills=[_bill(currency, by_currency[currency], asked, counts) for currency in sorted(by_currency)],
    )


_EXPORTS: dict[Format, str] = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_LINES = 2_000
"""At a time: writing them holds up everybody else for some hundredths of a second."""


@router.get(
    "/export",
    dependencies=[Depends(asks_much)],
    response_class=StreamingResponse,
    responses={200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _EXPORTS.values()}}},
)
async def export_costs(
    needs: Needs,
    _who: auth.CanView,
    start: Annotated[AwareDatetime | None, Query(description="Default: seven days before `end`.")] = None,
    end: Annotated[AwareDatetime | None, Query(description="Default: now.")] = None,
    format: Annotated[Format, Query(description="Of the file.")] = "csv",
) -> StreamingResponse:
    """Every charge that starts in the window, in the columns of FOCUS 1.2, as a file for finance tools. An answer that breaks
    off is not whole."""
    window = _window(CostsQuery(start=start, end=end), needs.clock.now())
    parts = focus.stream(needs.costs, window, format, page=_LINES)
    # With the first lines: a ledger that does not answer is said before there is a file.
    begun = [await anext(parts), await anext(parts, b"")]

    async def whole() -> AsyncIterator[bytes]:
        for part in begun:
            yield part
        async for part in parts:
            yield part

    name = f"oppen-costs-{window.start:%Y%m%dT%H%M}-{window.end:%Y%m%dT%H%M}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(whole(), media_type=_EXPORTS[format], headers=headers)


def _bill(currency: str, cells: list[Cell], asked: CostsQuery, counts: Mapping[tuple[str, str], int] | None) -> BillView:
    total = _entry(bill(cells, asked.by), asked.by, counts, {})
    if asked.step is None:
        return BillView(currency=currency, total=total, steps=[])
    # A bill of bills: the step is its outermost dimension, in the place of one that it does not show.
    time = next(each for each in Dimension if each not in asked.by[:1])
    steps = bill([_in_time(cell, time) for cell in cells], (time, *asked.by[:1]))
    ordered = sorted(steps.parts, key=lambda each: each.name)
    return BillView(
        currency=currency,
        total=total,
        steps=[
            StepView(
                start=datetime.fromisoformat(each.name),
                cost=each.cost,
                exact=each.exact,
                parts=[_entry(part, (), None, {}) for part in each.parts],
            )
            for each in ordered
        ],
    )


def _in_time(cell: Cell, time: Dimension) -> Cell:
    assert cell.start is not None
    return cell.model_copy(update={"at": {**cell.at, time: cell.start.isoformat()}})


def _entry(
    entry: Entry,
    by: list[Dimension] | tuple[Dimension, ...],
    counts: Mapping[tuple[str, str], int] | None,
    at: dict[Dimension, str],
) -> EntryView:
    own, rest = (by[0], by[1:]) if by else (None, ())
    return EntryView(
        name=entry.name,
        cost=entry.cost,
        exact=entry.exact,
        per_thousand=_per_thousand(entry.exact, counts, at),
        parts=[_entry(part, rest, counts, {**at, own: part.name} if own else at) for part in entry.parts],
    )


def _per_thousand(cost: Decimal, counts: Mapping[tuple[str, str], int] | None, at: Mapping[Dimension, str]) -> Decimal | None:
    if counts is None:
        return None
    model, version = at.get(Dimension.MODEL, ""), at.get(Dimension.VERSION, "")
    made = sum(count for key, count in counts.items() if model in ("", key[0]) and version in ("", key[1]))
    return (cost * _THOUSAND / made).quantize(_SMALLEST) if made else None


async def _predictions(needs: Services, asked: CostsQuery, window: Window) -> dict[tuple[str, str], int]:
    """By model and version; answers that nobody was served are none."""
    counts: dict[tuple[str, str], int] = {}
    for model in await needs.predictions.models():
        if asked.model and model not in asked.model:
            continue
        for work in await needs.predictions.works(model, window, window.length):
            if not work.shadow and (not asked.version or work.version in asked.version):
                counts[model, work.version] = counts.get((model, work.version), 0) + work.predictions
    return counts


def _window(asked: CostsQuery, now: datetime) -> Window:
    end = asked.end or now
    for field, moment in (("start", asked.start), ("end", end)):
        if moment is not None and not _EARLIEST_YEAR < moment.year < _LATEST_YEAR:
            raise _refused(field, f"has to be after {_EARLIEST_YEAR} and before {_LATEST_YEAR}: nothing else is booked")
    start = asked.start or end - _WEEK
    if start >= end:
        raise _refused("start", f"has to be before `end`, which is {end.isoformat()}")
    if end - start > _LONGEST:
        raise _refused("start", f"{_LONGEST.days} days are asked for at most")
    if asked.step is not None and (end - start) / _LENGTHS[asked.step] > _MOST_STEPS:
        raise _refused("step", f"more than {_MOST_STEPS:,} of them: ask for longer ones, or a shorter window")
    return Window(start=start, end=end)


def _refused(field: str, detail: str) -> Invalid:
    return Invalid("this cannot be asked of the ledger", errors=(FieldError(field=field, detail=detail),))
