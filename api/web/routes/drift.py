"""Drift and quality of a model's traffic, measured when it is asked for: in the store, by counts alone."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import AwareDatetime

from agents.drift.causes import DriftFinding, DriftObservations, explain, pairs
from agents.drift.performance import Performance, perform
from agents.drift.rules import Method
from agents.drift.verdicts import compare
from agents.wording import span
from api.problems import FieldError, Invalid, NotFound
from api.store import monitors
from api.store.records import MonitorRecord
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs, asks_much
from api.web.openapi import answers
from api.web.services import Services
from api.web.views import View
from graphs.drifting import beside_training, left_out, observe_drift
from tools.errors import PermanentError
from tools.registry.port import Alias
from tools.values import LeftOut, Window

router = APIRouter(prefix="/v1", tags=["drift"])


_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class WindowView(View):
    start: datetime
    end: datetime
    """The first moment that is not in it any more."""


class DriftView(View):
    model: str
    version: str | None
    reference: WindowView
    current: WindowView
    rows_reference: int
    rows_current: int
    left_out: list[LeftOut]
    """What is quarantined: neither the reference nor the earlier seasons have it."""
    finding: DriftFinding


class MonitorView(View):
    subject: str
    """`model:NAME`, or `data:TABLE` for a table of the lake."""
    model: str | None
    """Null: it is of a table."""
    table: str | None
    monitor: str
    bad: bool | None
    """What it said of its latest window; null: it could not tell."""
    summary: str
    streak: int
    """Windows in a row that were bad (above 0) or good (below)."""
    raised_at: datetime | None
    """Since when an alert of it fires; null while none does."""
    tick: datetime
    """End of its latest window."""
    checked_at: datetime | None
    """Null: it is looked at from the next window on."""


class MonitorsView(View):
    items: list[MonitorView]


class VersionQualityView(View):
    version: str
    count: int
    errors: int
    labelled: int
    """Predictions whose label has come."""
    mean_absolute_error: float | None
    """Of a model that answers with numbers."""
    performance: Performance
    """Of a model that answers with classes; an `estimate` is one."""


class FeatureQualityView(View):
    name: str
    null_rate: float
    null_rate_reference: float
    faults: list[str]


class QualityView(View):
    model: str
    reference: WindowView
    current: WindowView
    versions: list[VersionQualityView]
    features: list[FeatureQualityView]


class Windows:
    """Two windows from a query; what is not given follows from policy and the other ends."""

    def __init__(
        self,
        needs: Needs,
        request: Request,
        start: Annotated[AwareDatetime | None, Query(description="Of the current window; default: by policy.")] = None,
        end: Annotated[AwareDatetime | None, Query(description="Default: now.")] = None,
        reference_start: Annotated[AwareDatetime | None, Query(description="Default: by policy.")] = None,
        reference_end: Annotated[AwareDatetime | None, Query(description="Default: `start`.")] = None,
    ) -> None:
        model = request.path_params.get("name") or request.query_params.get("model", "")
        rules = needs.policies().drift_of(model)
        end = _possible("end", end or needs.clock.now())
        start = _possible("start", start or end - rules.window)
        reference_end = _possible("reference_end", reference_end or start)
        reference_start = _possible("reference_start", reference_start or reference_end - rules.reference)
        if start >= end:
            raise _refused("start", f"has to be before `end`, which is {end.isoformat()}")
        if reference_start >= reference_end:
            raise _refused("reference_start", f"has to be before `reference_end`, which is {reference_end.isoformat()}")
        for field, length in (("start", end - start), ("reference_start", reference_end - reference_start)):
            if length > rules.longest_window:
                raise _refused(
                    field, f"{span(length)} are longer than the {span(rules.longest_window)} that policy lets be asked"
                )
        self.current = Window(start=start, end=end)
        self.reference = Window(start=reference_start, end=reference_end)
        self._ends_now = "end" not in request.query_params

    def on_the_hour(self) -> tuple[Window, Window]:
        """Reference and current; where nobody said when they end, moved back to the last whole hour."""
        end = self.current.end
        back = end.replace(minute=0, second=0, microsecond=0) - end if self._ends_now else timedelta(0)
        return self.reference.shifted(back), self.current.shifted(back)


Both = Annotated[Windows, Depends()]


@router.get("/drift", responses=answers(404), dependencies=[Depends(asks_much)])
async def show_drift(
    needs: Needs,
    _who: auth.CanView,
    windows: Both,
    model: Annotated[str, Query(min_length=1, max_length=200)],
    version: Annotated[str | None, Query(max_length=200, description="Default: all versions together.")] = None,
    against: Annotated[
        Literal["traffic", "training"],
        Query(description="`training`: what the version (default: the champion) was trained on, instead of a window."),
    ] = "traffic",
    method: Annotated[
        list[Method] | None,
        Query(max_length=5, description="Instead of policy's, for the kinds of columns that it is for; may be repeated."),
    ] = None,
) -> DriftView:
    """What moved between two windows of a model's traffic, by how much, how surely, and why.

    A feature has drifted when it moved by more than policy allows and chance does not explain it. Causes are told apart by the
    labels that have come and the same hours of earlier weeks; what could not be told is in `considered`.
    """
    await _known(needs, model)
    rules = needs.policies().drift_of(model)
    without: tuple[LeftOut, ...] = ()
    if against == "training":
        version, seen = await _beside_training(needs, model, version, windows.current)
    else:
        without = await left_out(model, windows.reference, windows.current, rules, needs.quarantines)
        seen = await observe_drift(
            model, windows.reference, windows.current, needs.predictions, rules, version=version, without=without
        )
    return DriftView(
        model=model,
        version=version,
        reference=WindowView.model_validate(seen.reference.window),
        current=WindowView.model_validate(windows.current),
        rows_reference=seen.reference.rows,
        rows_current=seen.current.rows,
        left_out=list(without),
        finding=await asyncio.to_thread(explain, seen, rules.rules.by(method or ())),
    )


_HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
# What the report's own scripts need, and nothing of ours within their reach.
_SANDBOX = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
}


@router.get("/drift/report", response_class=HTMLResponse, responses={**_HTML, **answers(404, 501)})
async def show_drift_report(
    needs: Needs,
    _who: auth.CanView,
    windows: Both,
    model: Annotated[str, Query(min_length=1, max_length=200)],
    version: Annotated[str | None, Query(max_length=200, description="Default: all versions together.")] = None,
) -> FileResponse:
    """Evidently's report on the two windows, as HTML: evidence to look at. Drawn from a sample of at most 100,000 predictions
    of each, whose size it states. One is drawn at a time, which takes some ten seconds; without `end`, windows end at a whole
    hour, so that it is drawn once."""
    await _known(needs, model)
    rules = needs.policies().drift_of(model)
    reference, current = windows.on_the_hour()
    without = await left_out(model, reference, current, rules, needs.quarantines)
    path = await needs.reports.of(model, version, reference, current, without)
    return FileResponse(path, media_type="text/html", headers=_SANDBOX)


@router.get("/models/{name}/quality", dependencies=[Depends(asks_much)])
async def show_quality(name: str, needs: Needs, _who: auth.CanView, windows: Both) -> QualityView:
    """How right each version is on the labels that have come, what to expect of the others, and which inputs are broken.

    Accuracy comes with its coverage (`labelled` of `answered`) and a 95 % interval. The estimate goes by how often answers of
    the same class and score were right in the reference; it does not see a change of the concept.
    """
    await _known(needs, name)
    rules = needs.policies().drift_of(name)
    without = await left_out(name, windows.reference, windows.current, rules, needs.quarantines)
    before = await needs.predictions.distributions(name, windows.reference, without=without)
    now = await needs.predictions.distributions(name, windows.current, like=before)
    learnt = await needs.predictions.outcomes(name, windows.reference, without=without)
    versions = [
        VersionQualityView(
            version=each.version,
            count=each.count,
            errors=each.errors,
            labelled=each.labelled,
            mean_absolute_error=each.mean_absolute_error,
            performance=perform(learnt, await needs.predictions.outcomes(name, windows.current, version=each.version)),
        )
        for each in await needs.predictions.versions(name, windows.current)
    ]
    compared = await asyncio.to_thread(compare, pairs(before.features, now.features), rules.rules)
    return QualityView(
        model=name,
        reference=WindowView.model_validate(windows.reference),
        current=WindowView.model_validate(windows.current),
        versions=versions,
        features=[
            FeatureQualityView(
                name=each.name,
                null_rate=each.nulls_current,
                null_rate_reference=each.nulls_reference,
                faults=list(each.faults),
            )
            for each in compared.features
        ],
    )


async def _beside_training(needs: Services, model: str, version: str | None, window: Window) -> tuple[str, DriftObservations]:
    """Raises NotFound where there is nothing of a training."""
    try:
        version = version or await needs.registry.alias(model, Alias.CHAMPION)
        both = await beside_training(model, version, window, needs.registry, needs.predictions) if version else None
    except PermanentError as error:
        raise NotFound(str(error)) from error
    if both is None or version is None:
        raise NotFound(f"{model} has no champion: name a version" if version is None else f"version {version} left no profile")
    outcomes = await needs.predictions.outcomes(model, window, version=version)
    return version, DriftObservations(reference=both[0], current=both[1], outcomes=((), outcomes))


async def _known(needs: Services, model: str) -> None:
    if not storable(model) or model not in await needs.predictions.models():
        raise NotFound(f"there are no predictions of a model {model[:200]!r}")


def _possible(field: str, moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise _refused(field, f"has to be between {_EARLIEST:%Y} and {_LATEST:%Y}: nothing else is stored")
    return moment


def _refused(field: str, detail: str) -> Invalid:
    return Invalid("the two windows cannot be made of this", errors=(FieldError(field=field, detail=detail),))


@router.get("/monitors")
async def list_monitors(
    needs: Needs,
    _who: auth.CanView,
    model: Annotated[str | None, Query(max_length=200, description="Only its.")] = None,
    table: Annotated[str | None, Query(max_length=200, description="Only those of this table of the lake.")] = None,
) -> MonitorsView:
    """What is looked at without anybody asking, and where it stands."""
    asked = {f"model:{model}" if model is not None else None, f"data:{table}" if table is not None else None} - {None}
    if len(asked) > 1 or not all(storable(each) for each in asked if each is not None):
        return MonitorsView(items=[])
    async with needs.database.read() as session:
        found = await monitors.listing(session, next(iter(asked), None))
    return MonitorsView(items=[_monitor(each) for each in found])


def _monitor(record: MonitorRecord) -> MonitorView:
    kind, _, name = record.subject.partition(":")
    return MonitorView(
        subject=record.subject,
        model=name if kind == "model" else None,
        table=name if kind == "data" else None,
        monitor=record.monitor,
        bad=record.bad,
        summary=record.summary,
        streak=record.streak,
        raised_at=record.raised_at,
        tick=record.tick,
        checked_at=record.checked_at,
    )
