"""Everything that can go wrong, as RFC 9457 problem+json: what it is, which field, and what to do."""

import math
import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from agents.payloads.reading import PayloadError
from api.problems import FieldError, Invalid, Malformed, Problem, Unavailable
from tools.errors import Conflict, PermanentError, TemporaryError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def render(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
    **more: str,
) -> Response:
    body: dict[str, Any] = {"type": f"urn:oppen:problem:{code}", "title": title, "status": status, "detail": detail, **more}
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    return ProblemResponse(body, status_code=status, headers=headers)


def respond(problem: Problem) -> Response:
    headers: dict[str, str] = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="oppen"'
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
        code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
        headers = dict(error.headers) if error.headers else None
        return render(error.status_code, code, str(error.detail), str(error.detail), headers=headers)

    @app.exception_handler(TemporaryError)
    async def _temporary(_request: Request, error: TemporaryError) -> Response:
        return respond(Unavailable(str(error), retry_after_s=max(1, math.ceil(error.retry_after.total_seconds()))))

    @app.exception_handler(PermanentError)
    async def _permanent(_request: Request, error: PermanentError) -> Response:
        if isinstance(error, Conflict):
            return render(409, "conflict", "The state has moved on", str(error))
        return render(404, "not-found", "There is no such thing", str(error))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        incident = uuid.uuid4().hex
        log.error("request.failed", error_id=incident, path=request.url.path, exc_info=error)
        detail = "this is a fault of the service; its log says more under the error_id"
        return render(500, "internal", "Something went wrong inside", detail, error_id=incident)


def _path(location: Sequence[int | str]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location[1:]]
    return "".join(steps).removeprefix(".") or str(location[0])
