"""For probes and scrapers; public, so they tell whether things answer. Why they do not is for the log and `oppen doctor`."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ConfigDict

from api.web.dependencies import Here, Needs
from api.web.views import View
from api.work.chores import State
from tools.errors import PortError

log = structlog.get_logger()

router = APIRouter(tags=["health"])

_LIMIT_S = 2.0


class Alive(View):
    status: str = "ok"


class Readiness(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ready": True, "dependencies": {"database": "ok", "serving": "does not answer"}, "chores": {"dispatch": "ok"}}
            ]
        }
    )

    ready: bool
    dependencies: dict[str, str]
    """Name to `ok`, `does not answer` or `no answer within 2 s`."""
    chores: dict[str, State]
    """Background chore to how its last try went: `ok`; `delayed` by a dependency; `broken`, with the traceback in the log."""


@router.get("/healthz")
async def healthz() -> Alive:
    """The process lives and its loop turns."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Something that is needed does not answer."}})
async def readyz(needs: Needs, response: Response) -> Readiness:
    """Every dependency is asked, all at once, for two seconds. Not ready without those that intake needs; investigations do
    without the others, and say so. A chore that fails goes on being tried, so it is told and makes nothing unready."""
    answers = await asyncio.gather(*(_ask(name, check) for name, check in needs.checks.items()))
    dependencies = dict(zip(needs.checks, answers, strict=True))
    ready = all(dependencies[name] == "ok" for name in needs.required)
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, dependencies=dependencies, chores={chore.name: chore.state for chore in needs.chores})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(needs: Needs, here: Here) -> Response:
    """For Prometheus."""
    return Response(await here.metrics.expose(needs), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _ask(name: str, check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_LIMIT_S):
            await check()
    except PortError as error:
        log.warning("dependency.unavailable", dependency=name, reason=str(error))
        return "does not answer"
    except TimeoutError:
        return f"no answer within {_LIMIT_S:.0f} s"
    return "ok"
