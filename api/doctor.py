"""`oppen doctor`: every setting and dependency, one by one, with what to do about it. Changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import ValidationError

from agents.policies import PolicyError
from api.settings import Settings
from api.store.database import Database
from tools.clock import clock_from
from tools.errors import PortError

_LIMIT_S = 5.0


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    needed: bool
    """Whether the service cannot start, or take anything in, without it."""
    detail: str


async def examine() -> list[Finding]:
    try:
        settings = Settings()
    except ValidationError as error:
        return [
            Finding(f"OPPEN_{'.'.join(map(str, fault['loc'])).upper()}", ok=False, needed=True, detail=fault["msg"])
            for fault in error.errors(include_input=False)
        ]
    return [
        Finding("settings", ok=True, needed=True, detail=f"state in {settings.home.absolute()}"),
        _home(settings.home),
        await _ask("database", True, lambda: _database(settings), "check OPPEN_DATABASE_URL, and that the server runs"),
        _policies(settings),
        _clock(settings),
        _registry(settings),
        await _ask("gateway", False, lambda: _get(f"{settings.gateway_url}/v2/health/ready"), "start it: python -m gateway"),
        await _prometheus(settings),
        _senders(settings),
    ]


async def _ask(name: str, needed: bool, question: Callable[[], Awaitable[str]], advice: str) -> Finding:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return Finding(name, ok=True, needed=needed, detail=await question())
    except TimeoutError:
        reason = f"no answer within {_LIMIT_S:.0f} s"
    except (PortError, httpx.HTTPError, ValueError) as error:
        reason = str(error) or type(error).__name__
    return Finding(name, ok=False, needed=needed, detail=f"{reason}; {advice}")


async def _database(settings: Settings) -> str:
    database = Database(settings.database)
    try:
        await database.ping()
    finally:
        await database.close()
    return "SQLite in the state folder" if settings.on_sqlite else "PostgreSQL answers"


async def _get(url: str) -> str:
    async with httpx.AsyncClient(timeout=_LIMIT_S) as client:
        response = await client.get(url)
    response.raise_for_status()
    return f"{url} answers"


async def _prometheus(settings: Settings) -> Finding:
    if not settings.prometheus_url:
        return Finding("metrics system", ok=True, needed=False, detail="none configured (OPPEN_PROMETHEUS_URL)")
    return await _ask(
        "metrics system", False, lambda: _get(f"{settings.prometheus_url}/-/healthy"), "check OPPEN_PROMETHEUS_URL"
    )


def _home(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("state folder", ok=False, needed=True, detail=f"{error}; set OPPEN_HOME to a folder that can be written")
    return Finding("state folder", ok=True, needed=True, detail="can be written")


def _policies(settings: Settings) -> Finding:
    from api.container import policies_from

    try:
        version = policies_from(settings.policies).version
    except (PolicyError, OSError) as error:
        return Finding("policies", ok=False, needed=True, detail=f"{error}; see `oppen policies check FILE`")
    return Finding("policies", ok=True, needed=True, detail=f"{settings.policies or 'the defaults'}, version {version}")


def _clock(settings: Settings) -> Finding:
    try:
        clock_from(settings.clock)
    except (ValueError, OSError) as error:
        return Finding("clock", ok=False, needed=True, detail=str(error))
    return Finding("clock", ok=True, needed=True, detail=settings.clock.partition(":")[0])


def _registry(settings: Settings) -> Finding:
    where = "a tracking server" if settings.mlflow.startswith("http") else "an embedded store"
    return Finding("registry", ok=True, needed=False, detail=f"MLflow on {where}")


def _senders(settings: Settings) -> Finding:
    if not settings.senders:
        advice = 'nobody may post alerts; set OPPEN_SENDERS, e.g. {"alertmanager": {"bearer": "a long secret"}}'
        return Finding("alert sources", ok=False, needed=False, detail=advice)
    return Finding("alert sources", ok=True, needed=False, detail=", ".join(sorted(settings.senders)))
