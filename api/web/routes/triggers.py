"""What people ask for: it enters like an alert, is investigated like one, and asks for an approval like one."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.requests import REVIEW
from api.web import auth
from api.web.asking import TriggeredView, ask
from api.web.dependencies import Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from tools.values import Instant

router = APIRouter(prefix="/v1/triggers", tags=["triggers"])

Text = Annotated[str, Field(min_length=1, max_length=2_000)]
Model = Annotated[str, Field(min_length=1, max_length=200)]


class CheckBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "flights", "reason": "before the audit"}]}
    )

    model: Model
    reason: Text


class CostReviewBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "flights", "reason": "before the budget is set"}]}
    )

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


@router.post(
    "/check", status_code=202, response_model=TriggeredView, responses=answers(404, 409), dependencies=[Depends(json_only)]
)
async def trigger_check(body: CheckBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce) -> TriggeredView | JSONResponse:
    """Have the model looked at as if an alert had fired."""
    return await ask("check", body.model_dump(), needs, who.name, once)


@router.post(
    "/retrain", status_code=202, response_model=TriggeredView, responses=answers(404, 409), dependencies=[Depends(json_only)]
)
async def trigger_retrain(
    body: RetrainBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
) -> TriggeredView | JSONResponse:
    """Ask for a training. Whether it would help is looked at first: data that is broken is not trained on."""
    return await ask("retrain", body.model_dump(), needs, who.name, once)


@router.post(
    "/cost-review",
    status_code=202,
    response_model=TriggeredView,
    responses=answers(404, 409),
    dependencies=[Depends(json_only)],
)
async def trigger_cost_review(
    body: CostReviewBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
) -> TriggeredView | JSONResponse:
    """Have the model's cost looked through for what it need not be. One thing is proposed at most, what saves most first."""
    return await ask(REVIEW, body.model_dump(), needs, who.name, once)


@router.post(
    "/promote", status_code=202, response_model=TriggeredView, responses=answers(404, 409), dependencies=[Depends(json_only)]
)
async def trigger_promote(
    body: VersionBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
) -> TriggeredView | JSONResponse:
    """Ask for a version to be rolled out. Its evaluation is looked at first, and somebody else has to approve."""
    return await ask("promote", body.model_dump(), needs, who.name, once)
