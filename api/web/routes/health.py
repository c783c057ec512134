"""For probes and scrapers; public, and telling no more than whether things answer."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from api.web.auth import Needs
from api.web.metrics import collect
from tools.errors import PortError

router = APIRouter(tags=["health"])

_LIMIT_S = 2.0


class Alive(BaseModel):
    status: str = "ok"


class Readiness(BaseModel):
    ready: bool
    dependencies: dict[str, str]
    """Name -> `ok`, or why it does not answer."""


@router.get("/healthz")
async def healthz() -> Alive:
    """The process lives and its loop turns."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(needs: Needs, response: Response) -> Readiness:
    """Every dependency is asked, at once, within two seconds. Not ready without those that intake needs."""
    answers = await asyncio.gather(*(_ask(check) for check in needs.checks.values()))
    dependencies = dict(zip(needs.checks, answers, strict=True))
    ready = all(dependencies[name] == "ok" for name in needs.required)
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, dependencies=dependencies)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(needs: Needs) -> Response:
    """For Prometheus."""
    return Response(generate_latest(await collect(needs)), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _ask(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_LIMIT_S):
            await check()
    except PortError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {_LIMIT_S:.0f} s"
    return "ok"
