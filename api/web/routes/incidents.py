"""Incidents with everything that belongs to them, their runs, and their timeline as pages or as a live stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from agents import narrative
from agents.proposals import Proposal, Receipt
from agents.verification import Verification
from api.problems import NotFound
from api.store import actions, alerts, approvals, events, incidents, runs
from api.store.records import IncidentRecord
from api.store.sessions import ReadSession
from api.web import auth, states
from api.web.dependencies import Cursor, Here, Limit, Needs
from api.web.streaming import live, told
from api.web.views import (
    ActionView,
    AlertView,
    ApprovalView,
    EventView,
    IncidentStatus,
    IncidentSummary,
    IncidentView,
    PageView,
    RunView,
    paged,
)

router = APIRouter(prefix="/v1", tags=["incidents"])

_ALERTS_SHOWN = 100
_UNBUFFERED = {"X-Accel-Buffering": "no"}


@router.get("/incidents")
async def list_incidents(
    needs: Needs,
    _who: auth.CanView,
    status: Annotated[IncidentStatus | None, Query(description="Only those.")] = None,
    open_only: Annotated[bool, Query(alias="open", description="Only those that are not closed.")] = False,
    model: Annotated[str | None, Query(description="Only those of this model.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[IncidentSummary]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await incidents.page(session, status=status, open_only=open_only, model=model, limit=limit, cursor=cursor)
    return paged(page, IncidentSummary)


@router.get("/incidents/{incident_id}")
async def show_incident(incident_id: str, needs: Needs, _who: auth.CanView) -> IncidentView:
    async with needs.database.read() as session:
        incident = await _incident(session, incident_id)
        return IncidentView(
            **IncidentSummary.model_validate(incident).model_dump(),
            report=incident.report,
            alerts=[
                AlertView.model_validate(each) for each in await alerts.of_incident(session, incident.id, limit=_ALERTS_SHOWN)
            ],
            runs=[RunView.model_validate(each) for each in await runs.of_incident(session, incident.id)],
            approvals=[ApprovalView.model_validate(each) for each in await approvals.of_incident(session, incident.id)],
            actions=[ActionView.model_validate(each) for each in await actions.of_incident(session, incident.id)],
        )


@router.get(
    "/incidents/{incident_id}/report",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}},
)
async def show_report(incident_id: str, needs: Needs, _who: auth.CanView) -> Response:
    """From alert to outcome as a page of Markdown, for the review afterwards. 404 until an investigation has ended."""
    async with needs.database.read() as session:
        incident = await _incident(session, incident_id)
        found = await alerts.of_incident(session, incident.id, limit=_ALERTS_SHOWN)
    if (written := incident.report) is None or "proposal" not in written:
        raise NotFound(f"{incident.id} has no report: it is {incident.status}, and no investigation of it ended in a proposal")
    receipt, verification = written.get("receipt"), written.get("verification")
    text = narrative.report(
        [alerts.to_alert(each) for each in found],
        Proposal.model_validate(written["proposal"]),
        written["outcome"],
        written["reason"],
        Receipt.model_validate(receipt) if receipt else None,
        Verification.model_validate(verification) if verification else None,
    )
    return Response(text, media_type="text/markdown")


@router.get("/runs/{run_id}")
async def show_run(run_id: str, needs: Needs, _who: auth.CanView) -> RunView:
    async with needs.database.read() as session:
        run = await runs.get(session, run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id[:64]!r}")
    return RunView.model_validate(run)


@router.get(
    "/incidents/{incident_id}/events",
    response_model=PageView[EventView],
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "Stream: the incident is closed and everything was told. Do not connect again."},
    },
    dependencies=[Depends(states.watches)],
)
async def show_events(
    incident_id: str,
    request: Request,
    needs: Needs,
    here: Here,
    _who: auth.CanView,
    limit: Limit = 50,
    cursor: Cursor = None,
    after: Annotated[int, Query(ge=0, lt=2**53, description="Only what was told after the event of this `seq`.")] = 0,
    last_event_id: Annotated[
        str | None, Header(pattern="^[0-9]{1,15}$", description="As browsers send it when they connect again.")
    ] = None,
) -> Any:
    """The timeline, oldest first, as a page. With `Accept: text/event-stream` it goes on live until the incident is closed."""
    streamed = "text/event-stream" in request.headers.get("accept", "")
    seen = int(last_event_id) if last_event_id is not None and streamed else after
    async with needs.database.read() as session:
        await _incident(session, incident_id)
        if not streamed:
            start = cursor if cursor is not None else str(after)
            return paged(await events.page(session, incident_id, limit=limit, cursor=start), EventView)
        if await told(session, incident_id, seen):
            return Response(status_code=204)
    return StreamingResponse(live(needs, here, incident_id, seen), media_type="text/event-stream", headers=_UNBUFFERED)


async def _incident(session: ReadSession, incident_id: str) -> IncidentRecord:
    incident = await incidents.get(session, incident_id)
    if incident is None:
        raise NotFound(f"there is no incident {incident_id[:64]!r}")
    return incident
