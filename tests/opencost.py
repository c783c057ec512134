"""A stand-in of OpenCost's allocation API on loopback: the answers have the shape of its `AllocationJSON`, by days of UTC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.listening import listening
from tools.costs.allocations import IDLE, UNALLOCATED

DAY = timedelta(days=1)
KIND = "deployment"


@dataclass
class Cluster:
    """What it costs there; what is asked of it is kept in `asked`, with its credentials."""

    costs: dict[tuple[datetime, str, str], float] = field(default_factory=dict)
    """(midnight of UTC, namespace, controller). Namespaces are empty of `IDLE` and `UNALLOCATED`."""
    token: str = ""
    failure: tuple[int, str] | None = None
    """Status and message of every answer."""
    asked: list[dict[str, str]] = field(default_factory=list)

    def spent(self, day: datetime, controller: str, cost: float, namespace: str = "models") -> None:
        self.costs[day, "" if controller in (IDLE, UNALLOCATED) else namespace, controller] = cost

    def answer(self, start: datetime, end: datetime, step: timedelta) -> list[dict[str, Any]]:
        steps = []
        while start < end:
            found = (_allocation(*key, cost) for key, cost in self.costs.items() if start <= key[0] < start + step)
            steps.append({each["name"]: each for each in found})
            start += step
        return steps


@asynccontextmanager
async def opencost() -> AsyncIterator[tuple[str, Cluster]]:
    """(its address, what it watches)"""
    cluster, app = Cluster(), FastAPI()

    @app.get("/allocation/compute")
    async def compute(request: Request) -> JSONResponse:
        cluster.asked.append(dict(request.query_params))
        if cluster.token and request.headers.get("authorization") != f"Bearer {cluster.token}":
            return JSONResponse({"code": 401, "message": "no token, or another one"}, 401)
        if cluster.failure is not None:
            status, message = cluster.failure
            return JSONResponse({"code": status, "message": message}, status)
        start, end = (datetime.fromisoformat(each) for each in request.query_params["window"].split(","))
        step = timedelta(hours=int(request.query_params["step"].removesuffix("h")))
        return JSONResponse({"code": 200, "status": "success", "data": cluster.answer(start, end, step)})

    async with listening(app) as url:
        yield url, cluster


def _allocation(day: datetime, namespace: str, controller: str, cost: float) -> dict[str, Any]:
    start, end = (f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for moment in (day, day + DAY))
    owned = {"namespace": namespace, "controller": controller, "controllerKind": KIND} if namespace else {}
    return {
        "name": f"{namespace}/{KIND}:{controller}" if namespace else controller,
        "properties": {"cluster": "cluster-one", **owned},
        "window": {"start": start, "end": end},
        "start": start,
        "end": end,
        "minutes": 1440.0,
        "cpuCoreHours": 48.0,
        "cpuCost": cost,
        "ramCost": None,
        "totalCost": cost,
        "totalEfficiency": 0.2,
    }
