"""What every answer has in common: its request id, the headers that keep browsers from guessing, its line in the log and in the
metrics. And the last door: what nothing inside expected becomes a 500 that says nothing but where to look.
"""

import re
import uuid
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.web.errors import render
from api.web.metrics import Metrics

log = structlog.get_logger()

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class Envelope:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        started = perf_counter()
        answered = False

        async def stamped(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                self._note(scope, message["status"], perf_counter() - started)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, stamped)
            except ClientDisconnect:
                # Gone in the middle of its body: there is nobody to answer.
                return
            except Exception as error:
                error_id = uuid.uuid4().hex
                log.error("request.failed", error_id=error_id, path=scope["path"], exc_info=error)
                if answered:
                    # Half of an answer is out: only a broken connection tells the client that it is no whole one.
                    raise
                detail = "this is a fault of the service; its log says more under the error_id"
                response = render(500, "internal", "Something went wrong inside", detail, error_id=error_id)
                await response(scope, receive, stamped)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """By route template, so that ids do not become labels. Logged: what was refused, what changed something."""
        route = getattr(scope.get("route"), "path", "(none)")
        self._metrics.answered(route, scope["method"], status, seconds)
        if status >= 400 or (scope["method"] not in ("GET", "HEAD") and status != 202):
            log.info("http.answered", method=scope["method"], route=route, status=status, milliseconds=round(seconds * 1000, 1))
