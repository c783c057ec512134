"""What people ask for: it enters like an alert, is investigated like one, and asks for an approval like one."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.requests import Kind, Request, to_alert
from api.problems import FieldError, Invalid, NotFound
from api.store import ids
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.services import Services
from api.web.views import View
from tools.errors import PermanentError
from tools.values import Instant

router = APIRouter(prefix="/v1/triggers", tags=["triggers"])

Text = Annotated[str, Field(min_length=1, max_length=2_000)]
Model = Annotated[str, Field(min_length=1, max_length=200)]


class TriggeredView(View):
    incident_id: str
    """Where what comes of it is told, live at `/v1/incidents/{id}/events`."""
    joined: bool
    """The model had an open incident, and the request is part of it now: nothing is begun twice."""


class CheckBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"model": "flights", "reason": "before the audit"}]})

    model: Model
    reason: Text


class RetrainBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "flights", "reason": "the new airport has opened"}]}
    )

    model: Model
    reason: Text
    window_start: Instant | None = None
    """Of the data to train on; default: what policy says."""
    window_end: Instant | None = None

    @model_validator(mode="after")
    def _both(self) -> "RetrainBody":
        if (self.window_start is None) != (self.window_end is None):
            raise ValueError("window_start and window_end come together")
        if self.window_start is not None and self.window_end is not None and self.window_end <= self.window_start:
            raise ValueError("window_end: a window ends after it starts")
        return self


class VersionBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "flights", "version": "3", "reason": "better on the new routes"}]},
    )

    model: Model
    version: Model
    reason: Text


@router.post("/check", status_code=202, response_model=TriggeredView, responses=answers(404), dependencies=[Depends(json_only)])
async def trigger_check(body: CheckBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce) -> TriggeredView | JSONResponse:
    """Have the model looked at as if an alert had fired."""
    return await _ask("check", body.model_dump(), needs, who.name, once)


@router.post(
    "/retrain", status_code=202, response_model=TriggeredView, responses=answers(404), dependencies=[Depends(json_only)]
)
async def trigger_retrain(body: RetrainBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce) -> TriggeredView | JSONResponse:
    """Ask for a training. Whether it would help is looked at first: data that is broken is not trained on."""
    return await _ask("retrain", body.model_dump(), needs, who.name, once)


@router.post(
    "/promote", status_code=202, response_model=TriggeredView, responses=answers(404), dependencies=[Depends(json_only)]
)
async def trigger_promote(body: VersionBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce) -> TriggeredView | JSONResponse:
    """Ask for a version to be rolled out. Its evaluation is looked at first, and somebody else has to approve."""
    return await _ask("promote", body.model_dump(), needs, who.name, once)


async def _ask(kind: Kind, fields: dict[str, Any], needs: Services, by: str, once: OnlyOnce) -> TriggeredView | JSONResponse:
    if (earlier := await once.earlier()) is not None:
        return earlier
    await _known(needs, fields["model"], fields.get("version"))
    if not storable(fields["reason"]):
        raise Invalid("the reason cannot be stored", errors=(FieldError(field="reason", detail="plain text, please"),))
    now = needs.clock.now()
    alert = to_alert(Request(kind=kind, by=by, **fields), ids.new("trg", now), now)
    accepted = await needs.intake.accept([alert], actor=by)
    for run_id in accepted.runs:
        await needs.wake(run_id)
    view = TriggeredView(incident_id=accepted.incidents[0], joined=not accepted.runs)
    async with needs.database.begin() as transaction:
        await once.remember(transaction, view, 202)
    return view


async def _known(needs: Services, model: str, version: str | None) -> None:
    """Raises NotFound."""
    try:
        versions = [each.version for each in await needs.registry.versions(model)] if storable(model) else []
    except PermanentError:
        versions = []
    if not versions:
        raise NotFound(f"there is no model {model!r} in the registry")
    if version is not None and version not in versions:
        raise NotFound(f"{model} has no version {version[:100]!r}: there are {', '.join(versions[:10])}")
