"""Trainings as jobs: how far each is, what it says, what it has used, and a person's word to end it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.problems import NotFound
from api.store import audit
from api.web import auth, states
from api.web.dependencies import Here, Needs, json_only
from api.web.services import Services
from api.web.views import View
from tools.errors import PermanentError
from tools.jobs.port import JOB_NAME, JobState, Phase, Progress, Reason, Usage

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_MOST_LINES = 10_000


class JobView(View):
    name: str
    model: str
    team: str
    """Who pays."""
    run_id: str
    """Of the run that asked for it."""
    phase: Phase
    reason: Reason | None
    """Why it failed, or what keeps it pending."""
    detail: str
    exit_code: int | None
    attempts: int
    progress: Progress | None
    """As it says itself; null in listings."""
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class JobUsageView(JobView):
    usage: Usage | None
    """Null before it has begun."""


class JobsView(View):
    items: list[JobView]


class LinesView(View):
    items: list[str]


class CancelBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the data turned out to be wrong"}]})

    reason: str = Field(min_length=1, max_length=500)


@router.get("")
async def list_jobs(
    needs: Needs, _who: auth.CanView, model: Annotated[str | None, Query(description="Only those of this model.")] = None
) -> JobsView:
    """Newest first, those that have ended too for as long as they are kept."""
    return JobsView(items=[JobView.model_validate(each) for each in await needs.jobs.jobs(model=model)])


@router.get("/{name}")
async def show_job(name: str, needs: Needs, _who: auth.CanView) -> JobUsageView:
    state = await _state(needs, name)
    usage = await needs.jobs.usage(name) if state.started_at is not None else None
    return JobUsageView(**JobView.model_validate(state).model_dump(), usage=usage)


@router.get("/{name}/logs")
async def show_job_logs(
    name: str, needs: Needs, _who: auth.CanView, tail: Annotated[int, Query(ge=1, le=_MOST_LINES)] = 200
) -> LinesView:
    """The last lines of its latest attempt."""
    await _state(needs, name)
    return LinesView(items=[line async for line in needs.jobs.logs(name, tail=tail)])


@router.get("/{name}/events", response_model=JobView, responses=states.RESPONSES, dependencies=[Depends(states.watches)])
async def show_job_events(
    name: str, request: Request, needs: Needs, here: Here, _who: auth.CanView, last_event_id: states.LastEventID = None
) -> Any:
    """How it stands. With `Accept: text/event-stream` that goes on, with its progress and the time that it says is left, until
    it has ended."""
    now = _told(await _state(needs, name))
    if states.STREAM not in request.headers.get("accept", ""):
        return now.shown
    if now.over and now.id == last_event_id:
        return Response(status_code=204)
    told = states.stream(here, "job", _watched(needs, name), last_event_id)
    return StreamingResponse(told, media_type=states.STREAM, headers=states.UNBUFFERED)


@router.post("/{name}/cancel", status_code=202, dependencies=[Depends(json_only)])
async def cancel_job(name: str, body: CancelBody, needs: Needs, who: auth.CanOperate) -> JobView:
    """Ask it to end; whoever waits for it is told. What has ended stays as it is, and repeating it changes nothing."""
    before = await _state(needs, name)
    if before.final:
        return JobView.model_validate(before)
    state = await needs.jobs.cancel(name, reason=f"{who.name}: {body.reason}")
    now = needs.clock.now()
    async with needs.database.begin() as transaction:
        told = {"job": name, "reason": body.reason}
        audit.append(transaction, at=now, actor=who.name, action="job.cancelled", subject=f"job:{name}", data=told)
    return JobView.model_validate(state)


async def _watched(needs: Services, name: str) -> AsyncGenerator[states.State]:
    async with aclosing(needs.jobs.watch(name)) as found:
        async for state in found:
            yield _told(state)


def _told(state: JobState) -> states.State:
    return states.State(JobView.model_validate(state), state.final, state.model_dump_json())


async def _state(needs: Services, name: str) -> JobState:
    """Raises NotFound."""
    if not JOB_NAME.fullmatch(name):
        raise NotFound(f"there is no job {name[:100]!r}")
    try:
        return await needs.jobs.state(name)
    except PermanentError as error:
        raise NotFound(f"there is no job {name[:100]!r}") from error
