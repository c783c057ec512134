"""Intake: 202 says that everything the alerts led to is on disk."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from agents.payloads import alertmanager, cloudevents, generic, grafana
from agents.payloads.deliveries import Delivery
from api.problems import Malformed, Overloaded
from api.store import alerts as rows
from api.web import auth
from api.web.auth import Needs, check_sender
from api.web.views import AlertView, PageView, paged

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])


class AcceptedView(BaseModel):
    received: int
    new: int
    repeated: int
    resolved: int
    incidents: list[str]


class Gate:
    """Bounds the deliveries that are taken at once."""

    def __init__(self, places: int) -> None:
        self._free = places

    def __enter__(self) -> None:
        if self._free == 0:
            raise Overloaded("too many deliveries at once", retry_after_s=2)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


async def _take(request: Request, needs: Needs, source: str, parse: Callable[[object], Delivery]) -> AcceptedView:
    body = await request.body()
    check_sender(needs.senders, source, request.headers, body, needs.clock.now())
    gate: Gate = request.app.state.gate
    with gate:
        delivery = parse(_loaded(body))
        accepted = await needs.intake.accept(delivery.alerts, actor=f"source:{source}", truncated=delivery.truncated)
        for run_id in accepted.runs:
            await needs.dispatch(run_id)
    return AcceptedView(**{name: value for name, value in asdict(accepted).items() if name != "runs"})


def _loaded(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {str(error)[:200]}") from error


def _body(example: dict[str, Any]) -> dict[str, Any]:
    """The body is read by hand: it is authenticated as bytes before anything parses it."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": ["object", "array"]}, "example": example}},
        },
        "security": [{"Sender": []}],
    }


_ALERT = {
    "status": "firing",
    "labels": {"alertname": "ModelAccuracyLow", "model": "flights", "version": "2", "severity": "critical"},
    "annotations": {"summary": "Accuracy of flights is 82.1%, below 88%"},
    "startsAt": "2026-01-31T12:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "999ecb17b07ac26a",
}


@router.post("/alertmanager", status_code=202, openapi_extra=_body({"version": "4", "groupKey": "{}:{}", "alerts": [_ALERT]}))
async def from_alertmanager(request: Request, needs: Needs) -> AcceptedView:
    """Alertmanager's webhook, version 4. A group may hold firing and resolved alerts."""
    return await _take(request, needs, "alertmanager", alertmanager.parse)


@router.post("/grafana", status_code=202, openapi_extra=_body({"version": "1", "groupKey": "{}:{}", "alerts": [_ALERT]}))
async def from_grafana(request: Request, needs: Needs) -> AcceptedView:
    """Grafana's webhook contact point."""
    return await _take(request, needs, "grafana", grafana.parse)


@router.post(
    "/cloudevents",
    status_code=202,
    openapi_extra=_body(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "/monitors",
            "type": "model.accuracy.low",
            "time": "2026-01-31T12:00:00Z",
            "data": {"labels": {"model": "flights"}},
        }
    ),
)
async def from_cloudevents(request: Request, needs: Needs) -> AcceptedView:
    """CloudEvents 1.0: structured, a batch, or binary mode with `ce-` headers."""
    headers = dict(request.headers)
    return await _take(request, needs, "cloudevents", lambda body: cloudevents.parse(body, headers=headers))


@router.post(
    "/generic",
    status_code=202,
    openapi_extra=_body({"name": "ModelAccuracyLow", "status": "firing", "labels": {"model": "flights"}}),
)
async def from_anything(request: Request, needs: Needs) -> AcceptedView:
    """One alert, or a list of them, in OPPEN's own small form (docs/api.md)."""
    return await _take(request, needs, "generic", generic.parse)


@router.get("")
async def list_alerts(
    needs: Needs,
    _who: auth.CanView,
    status: Literal["firing", "resolved"] | None = None,
    incident_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> PageView[AlertView]:
    async with needs.database.read() as session:
        page = await rows.page(session, status=status, incident_id=incident_id, limit=limit, cursor=cursor)
    return paged(page, AlertView)
