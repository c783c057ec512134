"""`oppen doctor`: every setting and dependency, one by one, with what to do about it. Changes nothing but a probe file.

What an embedded engine holds is not opened here: only one process may, and that is the service.
"""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import BaseModel, ValidationError

from agents.policies import PolicyError
from agents.training import TRACKING
from api import evaluation_key, policy_file, price_file, settings
from api.settings import Settings, WrongSettings
from api.store.database import Database
from tools.clock import clock_from
from tools.costs.units import Resource
from tools.errors import PortError
from tools.registry.evaluations import KEY

_LIMIT_S = 5.0


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    needed: bool
    """Whether the service cannot start, or take anything in, without it."""
    detail: str


class _Ready(BaseModel):
    """What is read of the service's answer."""

    chores: dict[str, str]


async def examine() -> list[Finding]:
    try:
        found = settings.read()
    except WrongSettings as error:
        return [Finding(variable, ok=False, needed=True, detail=what) for variable, what in error.faults]
    asked = await asyncio.gather(
        _ask("database", True, lambda: _database(found), "check OPPEN_DATABASE_URL, and that the server runs"),
        _ask("registry", False, lambda: _registry(found), "check OPPEN_MLFLOW_URI"),
        _ask("prediction store", False, lambda: _predictions(found), "check OPPEN_PREDICTIONS_URL"),
        *([_ask("lake", False, lambda: _lake(found), "check OPPEN_LAKE and OPPEN_LAKE_PASSWORD")] if found.lake else []),
        _ask(
            "gateway", False, lambda: _get(f"{found.gateway_url}/v2/health/ready"), "start it: python -m gateway --model NAME"
        ),
        _ask("metrics system", False, lambda: _prometheus(found), "check OPPEN_PROMETHEUS_URL"),
        _ask("OpenCost", False, lambda: _opencost(found), "check OPPEN_OPENCOST_URL and OPPEN_OPENCOST_TOKEN"),
        _ask("feature store", False, lambda: _features(found), "see docs/features.md"),
        _ask("channels", False, lambda: _channels(found), "check OPPEN_CHANNELS"),
        _ask(
            "service",
            False,
            lambda: service(f"http://{found.host}:{found.port}"),
            "start it (oppen serve), or read its log",
        ),
    )
    return [
        _names(),
        _home(found.home),
        _policies(found),
        _prices(found),
        _clock(found),
        _senders(found),
        _signing(found),
        *asked,
    ]


async def _ask(name: str, needed: bool, question: Callable[[], Awaitable[str]], advice: str) -> Finding:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return Finding(name, ok=True, needed=needed, detail=await question())
    except TimeoutError:
        reason = f"no answer within {_LIMIT_S:.0f} s"
    except httpx.HTTPStatusError as error:
        reason = f"{error.request.url.host} answers {error.response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = f"no answer ({type(error).__name__})"
    except OSError as error:
        reason = f"{error.filename} cannot be used ({error.strerror})"
    except (PortError, ValueError) as error:
        reason = str(error)
    return Finding(name, ok=False, needed=needed, detail=f"{reason}; {advice}")


async def _database(found: Settings) -> str:
    database = Database(found.database)
    try:
        await database.ping()
    finally:
        await database.close()
    return f"SQLite, {Path(found.database.removeprefix('sqlite:///'))}" if found.on_sqlite else "PostgreSQL answers"


async def _registry(found: Settings) -> str:
    if found.mlflow.startswith("http"):
        return await _get(f"{found.mlflow.rstrip('/')}/health")
    return _file(Path(found.mlflow.removeprefix("sqlite:///")))


def _file(path: Path) -> str:
    return f"MLflow, {path}" if path.exists() else f"MLflow, {path}: it is made at the first start"


async def _predictions(found: Settings) -> str:
    if not found.predictions.startswith("chdb:"):
        url = httpx.URL(found.predictions)
        scheme = "https" if url.scheme in ("clickhouses", "https") else "http"
        return await _get(f"{scheme}://{url.host}:{url.port or (8443 if scheme == 'https' else 8123)}/ping")
    if importlib.util.find_spec("chdb") is None:
        raise ValueError("the embedded engine (chdb) is not installed")
    return f"the embedded engine, {found.predictions.removeprefix('chdb://')}"


async def _lake(found: Settings) -> str:
    from api.container import open_histories

    histories = open_histories(found)
    assert histories is not None
    return f"{len(await histories.tables()):,} tables"


async def _prometheus(found: Settings) -> str:
    if not found.prometheus_url:
        return "none (OPPEN_PROMETHEUS_URL): investigations do without, and say so"
    return await _get(f"{found.prometheus_url}/-/healthy")


async def _opencost(found: Settings) -> str:
    if found.opencost_url is None:
        return "none (OPPEN_OPENCOST_URL): costs are held against nobody else's"
    from tools.costs.opencost import OpenCost

    url = found.opencost_url.get_secret_value()
    reader = OpenCost(url, found.opencost_token.get_secret_value() if found.opencost_token else None)
    try:
        await reader.ping()
    finally:
        await reader.close()
    return f"{httpx.URL(url).host} answers, reckoning in {found.opencost_currency or price_file.load(found.prices).currency}"


async def _features(found: Settings) -> str:
    if found.features is None:
        return "none (OPPEN_FEATURES)"
    if importlib.util.find_spec("feast") is None:
        raise ValueError("Feast is not installed: install oppen[features]")
    from pipelines.features import definitions
    from tools.clickhouse.connection import without_password

    views = await asyncio.to_thread(definitions, found.feature_definitions)
    computed = f"from the lake {without_password(found.lake)}" if found.lake else "by somebody else (OPPEN_LAKE names no lake)"
    return f"{len(views)} views in {found.features.absolute()}, computed {computed}"


async def _channels(found: Settings) -> str:
    if not found.channels:
        return f"none (OPPEN_CHANNELS): messages go to {found.home / 'outbox.jsonl'}"
    if (channel := policy_file.load(found.policies).notify_channel) not in found.channels:
        raise ValueError(f"none of them is {channel!r}, which the policies' notify_channel names: nobody would be told")
    from apprise import Apprise

    for name, urls in sorted(found.channels.items()):
        for place, url in enumerate(urls):
            if Apprise.instantiate(url.get_secret_value()) is None:
                raise ValueError(f"address {place} of channel {name} is none that Apprise understands")
    return ", ".join(sorted(found.channels))


async def service(url: str) -> str:
    """That it answers and its background chores get done. Raises ValueError and httpx.HTTPError."""
    async with httpx.AsyncClient(timeout=_LIMIT_S) as client:
        response = await client.get(f"{url}/readyz")
    response.raise_for_status()
    try:
        chores = _Ready.model_validate_json(response.content).chores
    except ValidationError as error:
        raise ValueError(f"what answers at {url} is not the service") from error
    failing = [f"{name} is {state}" for name, state in chores.items() if state != "ok"]
    if failing:
        raise ValueError(f"in the background, {', '.join(failing)}")
    return f"{url} answers, and gets its background chores done"


async def _get(url: str) -> str:
    async with httpx.AsyncClient(timeout=_LIMIT_S) as client:
        response = await client.get(url)
    response.raise_for_status()
    return f"{response.url.scheme}://{response.url.host}:{response.url.port or ''} answers".replace(": answers", " answers")


def _names() -> Finding:
    unknown = settings.unknown()
    if unknown:
        return Finding(
            "settings", ok=False, needed=False, detail=f"there is no setting {', '.join(unknown)}: a slip of the pen?"
        )
    return Finding("settings", ok=True, needed=True, detail="every OPPEN_* is one that is read")


def _home(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("state folder", ok=False, needed=True, detail=f"{error}; set OPPEN_HOME to a folder that can be written")
    return Finding("state folder", ok=True, needed=True, detail=f"{home.absolute()} can be written")


def _policies(found: Settings) -> Finding:
    try:
        version = policy_file.load(found.policies).version
    except PolicyError as error:
        return Finding("policies", ok=False, needed=True, detail=f"{error}; see `oppen policies check FILE`")
    return Finding("policies", ok=True, needed=True, detail=f"{found.policies or 'the defaults'}, version {version}")


def _prices(found: Settings) -> Finding:
    try:
        book = price_file.load(found.prices)
    except PortError as error:
        return Finding("prices", ok=False, needed=True, detail=f"{error}; see infra/prices/default.yaml, or unset OPPEN_PRICES")
    told = f"{price_file.source(found.prices)}: {len(book.prices)} in {book.currency}"
    missing = sorted({each.value for each in Resource} - {each.resource.value for each in book.prices})
    if missing:
        advice = f"{told}; none of {', '.join(missing)}: what is used of these is on no bill, which then says so"
        return Finding("prices", ok=False, needed=False, detail=advice)
    return Finding("prices", ok=True, needed=True, detail=told)


def _clock(found: Settings) -> Finding:
    try:
        clock_from(found.clock)
    except (ValueError, OSError) as error:
        return Finding("clock", ok=False, needed=True, detail=f"{error}; unset OPPEN_CLOCK")
    return Finding("clock", ok=True, needed=True, detail=found.clock.partition(":")[0])


def _senders(found: Settings) -> Finding:
    if not found.senders:
        advice = 'nobody may post alerts; set OPPEN_SENDERS, e.g. {"alertmanager": {"bearer": "a long secret"}}'
        return Finding("alert sources", ok=False, needed=False, detail=advice)
    return Finding("alert sources", ok=True, needed=False, detail=", ".join(sorted(found.senders)))


def _signing(found: Settings) -> Finding:
    """The key of evaluations, which the service believes them by and their jobs sign them with."""
    name = "evaluation key"
    if found.jobs != "local":
        # Without the key itself there are no settings, and this is not reached.
        secret = found.jobs_cluster.secret if found.jobs_cluster is not None else None
        if secret is None:
            advice = "OPPEN_JOBS_CLUSTER names no secret, so no job can be evaluated, nor train: name the Secret that holds"
            return Finding(name, ok=False, needed=False, detail=f"{advice} {TRACKING} and {KEY}")
        unseen = "which nothing here has the right to look into"
        return Finding(
            name, ok=True, needed=False, detail=f"given; the jobs' Secret {secret!r}, {unseen}, has to hold the same"
        )
    if found.evaluation_key is not None:
        return Finding(name, ok=True, needed=False, detail=f"given ({KEY})")
    file = found.home.absolute() / evaluation_key.FILE
    try:
        made = file.read_text().strip() if file.exists() else None
    except OSError as error:
        return Finding(name, ok=False, needed=True, detail=f"{file} cannot be read ({error.strerror}); set {KEY}")
    if made is None:
        return Finding(name, ok=True, needed=False, detail=f"{file} is made at the first start")
    if len(made) < evaluation_key.LEAST:
        advice = f"{file} holds no key: put it back from a copy, or remove it, and every candidate is evaluated anew"
        return Finding(name, ok=False, needed=False, detail=advice)
    return Finding(name, ok=True, needed=False, detail=f"{file}")
