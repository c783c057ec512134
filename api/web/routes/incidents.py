"""Incidents with everything that belongs to them, their runs, and their timeline as pages or as a live stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from api.problems import Invalid, NotFound
from api.store import actions, alerts, approvals, events, incidents, runs
from api.store.records import EventRecord, IncidentRecord
from api.store.sessions import ReadSession
from api.web import auth
from api.web.auth import Needs
from api.web.services import Services
from api.web.views import (
    ActionView,
    AlertView,
    ApprovalView,
    EventView,
    IncidentSummary,
    IncidentView,
    PageView,
    RunView,
    paged,
)

router = APIRouter(prefix="/v1", tags=["incidents"])

_ALERTS_SHOWN = 100
_HEARTBEAT_S = 15.0
"""A comment this often keeps proxies from closing a silent stream."""


@router.get("/incidents")
async def list_incidents(
    needs: Needs,
    _who: auth.CanView,
    status: str | None = None,
    open: bool = False,
    model: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> PageView[IncidentSummary]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await incidents.page(session, status=status, open_only=open, model=model, limit=limit, cursor=cursor)
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
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def show_events(
    incident_id: str,
    request: Request,
    needs: Needs,
    _who: auth.CanView,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Any:
    """The timeline, oldest first. With `Accept: text/event-stream` it goes on live until the incident is closed, from after
    `Last-Event-ID`."""
    async with needs.database.read() as session:
        await _incident(session, incident_id)
        if "text/event-stream" not in request.headers.get("accept", ""):
            return paged(await events.page(session, incident_id, limit=limit, cursor=cursor), EventView)
    seen = last_event_id or cursor or "0"
    if not (seen.isascii() and seen.isdigit() and len(seen) <= 18):
        raise Invalid("Last-Event-ID is the id of an event that was received, a number")
    return StreamingResponse(_stream(needs, incident_id, int(seen)), media_type="text/event-stream")


async def _stream(needs: Services, incident_id: str, after: int) -> AsyncIterator[str]:
    """Ends after the event that closed the incident, or when the client has gone."""
    news = events.follow(needs.database, incident_id, after)
    upcoming: asyncio.Future[EventRecord] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(news))
            done, _ = await asyncio.wait({upcoming}, timeout=_HEARTBEAT_S)
            if done:
                event = upcoming.result()
                upcoming = None
                view = EventView.model_validate(event)
                yield f"id: {view.seq}\nevent: {view.name}\ndata: {json.dumps(view.model_dump(mode='json'))}\n\n"
            else:
                yield ": still here\n\n"
            if upcoming is None and await _over(needs, incident_id, view.seq):
                return
    finally:
        if upcoming is not None:
            upcoming.cancel()


async def _over(needs: Services, incident_id: str, seq: int) -> bool:
    """Closed, and everything told."""
    async with needs.database.read() as session:
        incident = await incidents.get(session, incident_id)
        closed = incident is None or incident.closed_at is not None
        return closed and await events.last_seq(session, incident_id) <= seq


async def _incident(session: ReadSession, incident_id: str) -> IncidentRecord:
    incident = await incidents.get(session, incident_id)
    if incident is None:
        raise NotFound(f"there is no incident {incident_id[:64]!r}")
    return incident
