"""Intake: 202 says that everything the alerts led to is on disk."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ConfigDict

from agents.payloads import alertmanager, cloudevents, generic, grafana
from agents.payloads.deliveries import Delivery
from api.problems import Malformed, Overloaded
from api.store import alerts as rows
from api.web import auth, payloads
from api.web.dependencies import Cursor, Here, Limit, Local, Needs, json_only
from api.web.senders import READ_S, recognise
from api.web.services import Services
from api.web.views import AlertView, PageView, View, paged

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])

_JSON = [Depends(json_only)]


class AcceptedView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"received": 1, "new": 1, "repeated": 0, "resolved": 0, "incidents": ["inc_0198c0ffee00700080000000000000aa"]}
            ]
        }
    )

    received: int
    new: int
    """Firing alerts that were seen for the first time."""
    repeated: int
    """Those that said nothing new."""
    resolved: int
    incidents: list[str]
    """Those that the alerts belong to, oldest first."""


async def _take(
    request: Request, needs: Services, here: Local, source: str, parse: Callable[[object], Delivery]
) -> AcceptedView:
    await recognise(source, request, needs, here.strangers)
    with here.gate:
        body = await _body(request)
        delivery = parse(_loaded(body))
        accepted = await needs.intake.accept(delivery.alerts, actor=f"source:{source}", truncated=delivery.truncated)
        for run_id in accepted.runs:
            await needs.wake(run_id)
    here.metrics.delivered(source, accepted, delivery.truncated)
    return AcceptedView.model_validate(accepted)


async def _body(request: Request) -> bytes:
    """Within the gate, so that bodies in memory are bounded, and bounded in time; a signed one is there already."""
    try:
        async with asyncio.timeout(READ_S):
            return await request.body()
    except TimeoutError as error:
        raise Overloaded(f"the body did not come within {READ_S:.0f} s", retry_after_s=2) from error


def _loaded(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {str(error)[:200]}") from error


@router.post("/alertmanager", status_code=202, dependencies=_JSON, openapi_extra=payloads.ALERTMANAGER)
async def from_alertmanager(request: Request, needs: Needs, here: Here) -> AcceptedView:
    """Alertmanager's webhook, version 4. A group may hold firing and resolved alerts."""
    return await _take(request, needs, here, "alertmanager", alertmanager.parse)


@router.post("/grafana", status_code=202, dependencies=_JSON, openapi_extra=payloads.GRAFANA)
async def from_grafana(request: Request, needs: Needs, here: Here) -> AcceptedView:
    """Grafana's webhook contact point."""
    return await _take(request, needs, here, "grafana", grafana.parse)


@router.post("/cloudevents", status_code=202, dependencies=_JSON, openapi_extra=payloads.CLOUDEVENTS)
async def from_cloudevents(request: Request, needs: Needs, here: Here) -> AcceptedView:
    """CloudEvents 1.0: structured, a batch, or binary mode, where the attributes are `ce-` headers and the body is the data."""
    headers = dict(request.headers)
    return await _take(request, needs, here, "cloudevents", lambda body: cloudevents.parse(body, headers=headers))


@router.post("/generic", status_code=202, dependencies=_JSON, openapi_extra=payloads.GENERIC)
async def from_anything(request: Request, needs: Needs, here: Here) -> AcceptedView:
    """One alert, or `{"alerts": [...]}`, in OPPEN's own small form."""
    return await _take(request, needs, here, "generic", generic.parse)


@router.get("")
async def list_alerts(
    needs: Needs,
    _who: auth.CanView,
    status: Annotated[Literal["firing", "resolved"] | None, Query(description="Only those.")] = None,
    incident_id: Annotated[str | None, Query(description="Only those of that incident.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[AlertView]:
    """Newest first: one for each source, fingerprint and start, however often it was delivered."""
    async with needs.database.read() as session:
        page = await rows.page(session, status=status, incident_id=incident_id, limit=limit, cursor=cursor)
    return paged(page, AlertView)
