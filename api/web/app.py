"""The web application: routes parse, authorise, delegate. What it needs comes as one value from the composition root."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.problems import FieldError
from api.web import errors
from api.web.limits import BodyLimit, Envelope
from api.web.metrics import Measured
from api.web.routes import alerts, approvals, health, incidents, platform
from api.web.services import Services


class ProblemView(BaseModel):
    """RFC 9457, as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


_PROBLEMS = {
    400: "The body cannot be read.",
    401: "No valid credentials.",
    403: "Not allowed to this principal.",
    404: "There is no such thing.",
    409: "The state has moved on, or somebody decided already.",
    410: "The time to decide is over.",
    412: "The fingerprint is another one.",
    413: "The body is too large.",
    422: "A field does not hold what it should.",
    503: "Overloaded, or a dependency does not answer; see Retry-After.",
}


def create_app(open_services: Callable[[], AbstractAsyncContextManager[Services]], limits: tuple[int, int]) -> FastAPI:
    """`limits`: the largest body in bytes, and how many deliveries are taken at once."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        async with open_services() as services:
            app.state.services = services
            yield

    app = FastAPI(title="OPPEN", version="1", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    app.state.gate = alerts.Gate(limits[1])
    errors.install(app)
    for router in (health.router, alerts.router, incidents.router, approvals.router, platform.router):
        app.include_router(router)
    app.add_middleware(Measured)
    app.add_middleware(BodyLimit, limit=limits[0])
    app.add_middleware(Envelope)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title="OPPEN", version="1", routes=app.routes, description="Alerts in, approved actions out.")
        components = schema.setdefault("components", {})
        components.setdefault("securitySchemes", {})["Sender"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "What OPPEN_SENDERS configures for the source: a bearer token, basic auth or an HMAC signature.",
        }
        components.setdefault("schemas", {})["Problem"] = ProblemView.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        components["schemas"]["FieldError"] = FieldError.model_json_schema()
        components["schemas"]["Problem"].pop("$defs", None)
        for path, operations in schema["paths"].items():
            if path.startswith("/v1"):
                for operation in operations.values():
                    _document(operation["responses"])
        app.openapi_schema = schema
    return app.openapi_schema


def _document(responses: dict[str, Any]) -> None:
    content = {errors.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, description in _PROBLEMS.items():
        responses[str(status)] = {"description": description, "content": content}
