"""The web application: routes parse, authorise, delegate. What it needs comes as one value from the composition root."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from api.web import errors, openapi
from api.web.dependencies import Gate, Local
from api.web.envelope import Envelope
from api.web.limits import BodyLimit
from api.web.routes import (
    alerts,
    approvals,
    autonomy,
    cost_signals,
    costs,
    datasets,
    drift,
    experiments,
    features,
    health,
    hooks,
    incidents,
    jobs,
    keys,
    lineage,
    models,
    optimizations,
    quarantines,
    reconciliation,
    records,
    rollouts,
    triggers,
    usage,
)
from api.web.services import Services

_ROUTES = (
    health,
    alerts,
    triggers,
    incidents,
    approvals,
    autonomy,
    models,
    usage,
    rollouts,
    optimizations,
    experiments,
    hooks,
    jobs,
    drift,
    quarantines,
    datasets,
    features,
    lineage,
    costs,
    cost_signals,
    reconciliation,
    records,
    keys,
)


def create_app(open_services: Callable[[], AbstractAsyncContextManager[Services]], limits: tuple[int, int]) -> FastAPI:
    """`limits`: the largest body in bytes, and how many deliveries are taken at once."""
    largest, at_once = limits
    local = Local(Gate(at_once))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            yield

    # No page of documentation: it would run scripts from somebody else's server where people hold keys.
    app = FastAPI(
        title="OPPEN",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.local = local
    errors.install(app)
    for module in _ROUTES:
        app.include_router(module.router)
    app.add_middleware(BodyLimit, deliveries=largest)
    app.add_middleware(Envelope, metrics=local.metrics)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app
