"""What the platform and its models cost: the ledger's charges by dimensions and time, each level adding up to the cent."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from agents.cost.attribution import TooMany
from agents.cost.sharing import Rule
from api.problems import FieldError, Invalid
from api.store.text import storable
from api.web import auth
from api.web.cost_bills import MOST_CELLS, CostsView, Making, bills
from api.web.dependencies import Needs, asks_much
from api.web.services import Services
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
_FEWER = "ask for fewer dimensions, longer steps or a shorter window, or export it"

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
        description="How what is nobody's in particular is shared out among the models, versions or teams that "
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


@router.get("", dependencies=[Depends(asks_much)], response_model=CostsView)
async def show_costs(needs: Needs, _who: auth.CanView, asked: Annotated[CostsQuery, Query()]) -> Response:
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
    if len(amounts) > MOST_CELLS:
        raise _refused("by", f"{len(amounts):,} cells, and at most {MOST_CELLS:,}; {_FEWER}")
    counts = await _predictions(needs, asked, window) if asked.per else None
    made = Making(by=shown, step=asked.step, share=asked.share, counts=counts)
    billing = needs.billing
    frame = CostsView(
        start=window.start,
        end=window.end,
        by=list(shown),
        step=asked.step,
        share=asked.share,
        predictions=None if counts is None else sum(counts.values()),
        prices=billing.source,
        metered_until=billing.meter.until,
        unread=list(billing.meter.unread),
        unpriced=list(billing.meter.unpriced),
        bills=[],
    )
    try:
        # All computing, and writing it down as well: the event loop has others to serve.
        body = await asyncio.to_thread(lambda: frame.model_copy(update={"bills": bills(amounts, made)}).model_dump_json())
    except TooMany as error:
        raise _refused("by", f"more than {MOST_CELLS:,} cells; {_FEWER}") from error
    return Response(body, media_type="application/json")


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
