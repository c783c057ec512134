"""Everything that can go wrong, as RFC 9457 problem+json: what it is, which field, and what to do."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from agents.payloads.reading import PayloadError
from api.problems import FieldError, Invalid, Malformed, Problem, Unauthenticated, Unavailable
from tools.errors import Conflict, TemporaryError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


_CODES = {404: "not-found", 405: "method-not-allowed"}


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        # In ASCII: what was sent and is repeated here may hold half a surrogate pair, which UTF-8 has no bytes for.
        return json.dumps(content, separators=(",", ":")).encode()


def render(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> Response:
    body: dict[str, Any] = {"type": f"urn:oppen:problem:{code}", "title": title, "status": status, "detail": detail, **more}
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    return ProblemResponse(body, status_code=status, headers=headers)


def respond(problem: Problem, more_headers: Mapping[str, str] | None = None) -> Response:
    headers = dict(more_headers or {})
    if isinstance(problem, Unauthenticated):
        headers["WWW-Authenticate"] = f'{problem.challenge} realm="oppen"'
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return render(problem.status, problem.code, problem.title, problem.detail, errors=problem.errors, headers=headers)


def install(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def _problem(_request: Request, error: Problem) -> Response:
        return respond(error)

    @app.exception_handler(PayloadError)
    async def _payload(_request: Request, error: PayloadError) -> Response:
        fields = tuple(FieldError(field=field, detail=what) for field, what in error.errors)
        return respond(Invalid("the body is not what this address takes", errors=fields))

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> Response:
        faults = error.errors()
        if any(fault["type"] == "json_invalid" for fault in faults):
            return respond(Malformed("the body is no JSON"))
        fields = tuple(FieldError(field=_path(fault["loc"]), detail=str(fault["msg"])) for fault in faults)
        return respond(Invalid("a value is missing or not what it should be", errors=fields))

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> Response:
        """What the framework itself refuses: paths, methods, bodies that cannot be decoded."""
        if error.status_code == 400:
            return respond(Malformed("the body cannot be read as JSON"))
        code = _CODES.get(error.status_code, "http")
        return render(error.status_code, code, str(error.detail), str(error.detail), headers=error.headers)

    @app.exception_handler(TemporaryError)
    async def _temporary(_request: Request, error: TemporaryError) -> Response:
        """The reason goes to the log: it may say where things are, and who asks may be a stranger."""
        log.warning("request.unavailable", reason=str(error))
        said = "something that this needs does not answer just now; /readyz says what"
        return respond(Unavailable(said, retry_after_s=max(1, math.ceil(error.retry_after.total_seconds()))))

    @app.exception_handler(Conflict)
    async def _conflict(_request: Request, error: Conflict) -> Response:
        return render(409, "conflict", "The state has moved on", str(error))


def _path(location: Sequence[int | str]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location[1:]]
    return "".join(steps).removeprefix(".") or str(location[0])
