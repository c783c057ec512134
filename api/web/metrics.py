"""What the service tells Prometheus about itself. Requests are counted as they pass; states are read from SQL when scraped."""

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.store.records import ApprovalRecord, IncidentRecord, RunRecord
from api.web.services import Services
from tools.errors import PortError

REGISTRY = CollectorRegistry()
_requests = Counter(
    "oppen_http_requests_total", "Answers by route and status.", ("route", "method", "status"), registry=REGISTRY
)
_seconds = Histogram("oppen_http_request_seconds", "Time to the answer's first byte.", ("route",), registry=REGISTRY)
_incidents = Gauge("oppen_incidents", "Incidents by status.", ("status",), registry=REGISTRY)
_runs = Gauge("oppen_runs", "Runs by status.", ("status",), registry=REGISTRY)
_pending = Gauge("oppen_approvals_pending", "Questions that wait for a person.", registry=REGISTRY)
_lag_segments = Gauge("oppen_predictions_lag_segments", "Complete segments that are not in the store yet.", registry=REGISTRY)
_lag_bytes = Gauge("oppen_predictions_lag_bytes", "Their size.", registry=REGISTRY)


async def collect(needs: Services) -> CollectorRegistry:
    async with needs.database.read() as session:
        for gauge, column in ((_incidents, IncidentRecord.status), (_runs, RunRecord.status)):
            gauge.clear()
            for status, count in await session.execute(select(column, func.count()).group_by(column)):
                gauge.labels(status).set(count)
        waiting = select(func.count()).select_from(ApprovalRecord).where(ApprovalRecord.status == "pending")
        _pending.set(await session.scalar(waiting) or 0)
    try:
        lag = await needs.lag()
    except PortError:
        return REGISTRY
    _lag_segments.set(lag.segments)
    _lag_bytes.set(lag.bytes)
    return REGISTRY


class Measured:
    """Counts and times answers by route template, so that ids do not become labels."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "(none)")
                _requests.labels(route, scope["method"], message["status"]).inc()
                _seconds.labels(route).observe(perf_counter() - started)
            await send(message)

        await self._app(scope, receive, noted)
