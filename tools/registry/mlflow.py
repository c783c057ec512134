"""The registry on MLflow 3: a database file (`sqlite:////absolute/mlflow.db`, artifacts beside it) or a tracking server by URL.

One adapter for both: MLflow's own client knows the difference. It lives in a child process (`tools.registry.tracking`); this
side awaits it, keeps the history of aliases, and imports nothing heavy. Reading the files of a model takes minutes where it is
large, so that is done in another such process, which is started when it is first needed: who asks for an alias waits for none.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import httpx

from tools.clock import Clock
from tools.errors import PermanentError, TemporaryError
from tools.leftovers import Discarded, Leftover
from tools.offload import ChildProcess
from tools.registry import discarding, signing
from tools.registry.evaluations import Evaluation
from tools.registry.history import SqlHistory
from tools.registry.library import embedded_database
from tools.registry.moves import Moves
from tools.registry.port import Alias, AliasChange, ModelFiles, ModelVersion, TrainingRun
from tools.registry.quantizations import Quantization
from tools.registry.serving_spec import ServingSpec
from tools.registry.tracking import Tracking
from tools.tables.port import Distributions

_PING_S = 2.0
_READ_S = 3600.0
"""In which the files of a model, and of those before it, are read: 100 GB at 30 MB a second. What takes longer is stuck."""


@contextlib.asynccontextmanager
async def open_reader(tracking_uri: str) -> AsyncIterator["MlflowReader"]:
    """For whoever serves models: needs no database of the platform, hence knows no history."""
    async with contextlib.AsyncExitStack() as stack:
        child, reading = _child(tracking_uri), _reading(tracking_uri)
        stack.push_async_callback(child.close)
        stack.push_async_callback(reading.close)
        yield MlflowReader(tracking_uri, child, reading)


@contextlib.asynccontextmanager
async def open_registry(
    tracking_uri: str, history_url: str, clock: Clock, evaluation_key: str = ""
) -> AsyncIterator["MlflowRegistry"]:
    """`history_url`: the platform's database, migrated; see `tools.registry.history`. `evaluation_key`: what evaluations are
    signed with; empty: none is believed."""
    async with contextlib.AsyncExitStack() as stack:
        child, reading = _child(tracking_uri, evaluation_key), _reading(tracking_uri)
        stack.push_async_callback(child.close)
        stack.push_async_callback(reading.close)
        history = SqlHistory(history_url)
        stack.push_async_callback(history.close)
        yield MlflowRegistry(tracking_uri, child, reading, Moves(MlflowAliases(child), history, clock), clock)


def _child(tracking_uri: str, evaluation_key: str = "") -> ChildProcess:
    return ChildProcess("registry", Tracking, tracking_uri, evaluation_key)


def _reading(tracking_uri: str) -> ChildProcess:
    """For the files of models: without the key, which is not needed for it."""
    return ChildProcess("registry files", Tracking, tracking_uri, close_s=0.5, answer_s=_READ_S)


class MlflowReader:
    """`RegistryReader` without history: asking for it raises PermanentError."""

    def __init__(self, tracking_uri: str, child: ChildProcess, reading: ChildProcess) -> None:
        """`reading`: where files are read."""
        self._uri = tracking_uri
        self._child = child
        self._reading = reading

    async def start(self) -> None:
        """Load MLflow now, seconds of work, instead of on the first question; returns when it is there."""
        await self._child.start()

    async def ping(self) -> None:
        database = embedded_database(self._uri)
        if database is not None:
            await asyncio.to_thread(_look, database)
            return
        try:
            async with httpx.AsyncClient(timeout=_PING_S) as client:
                response = await client.get(f"{self._uri.rstrip('/')}/health")
        except httpx.HTTPError as error:
            raise TemporaryError(f"MLflow does not answer: {type(error).__name__} {error}") from error
        if response.status_code != httpx.codes.OK:
            raise TemporaryError(f"MLflow answers {response.status_code} when asked for its health")

    async def models(self) -> tuple[str, ...]:
        return await self._child.call(Tracking.models)

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        return await self._child.call(Tracking.versions, model)

    async def version(self, model: str, version: str) -> ModelVersion:
        return await self._child.call(Tracking.version, model, version)

    async def alias(self, model: str, alias: Alias) -> str | None:
        return (await self._child.call(Tracking.carried, model)).get(alias)

    async def history(self, model: str, *, since: datetime | None = None) -> tuple[AliasChange, ...]:  # noqa: ARG002
        raise PermanentError(f"the history of {model} is in the platform's database, which is not open here")

    async def alias_at(self, model: str, alias: Alias, at: datetime) -> str | None:  # noqa: ARG002
        raise PermanentError(f"the history of {model} is in the platform's database, which is not open here")

    async def training_run(self, model: str, version: str) -> TrainingRun | None:
        return await self._child.call(Tracking.training_run, model, version)

    async def reference(self, model: str, version: str) -> Distributions | None:
        return await self._child.call(Tracking.reference, model, version)

    async def serving(self, model: str, version: str) -> ServingSpec | None:
        return await self._child.call(Tracking.serving, model, version)

    async def evaluation(self, model: str, version: str, champion: str) -> Evaluation | None:
        found = await self._child.call(Tracking.signed, model, version, champion)
        if found is not None:
            ours, theirs = [await self._reading.call(Tracking.digest, model, each) for each in (version, champion)]
            signing.bind(found, artefact=ours, champion_artefact=theirs)
        return found

    async def quantization(self, model: str, version: str) -> Quantization | None:
        found = await self._child.call(Tracking.quantization, model, version)
        if found is not None:
            original = await self._reading.call(Tracking.digest, model, version)
            produced = await self._reading.call(Tracking.digest, model, found.produced) if found.produced else None
            signing.bind_quantization(found, original=original, produced=produced)
        return found

    async def claim(self, model: str, version: str, champion: str) -> Evaluation | None:
        return await self._child.call(Tracking.claim, model, version, champion)

    async def stored(self, model: str) -> tuple[Leftover, ...]:
        return await self._reading.call(Tracking.stored, model)

    async def fetch(self, model: str, version: str, into: Path) -> ModelFiles:
        return await self._child.call(Tracking.fetch, model, version, into)


class MlflowRegistry(MlflowReader):
    """`Registry`."""

    def __init__(self, tracking_uri: str, child: ChildProcess, reading: ChildProcess, moves: Moves, clock: Clock) -> None:
        super().__init__(tracking_uri, child, reading)
        self._moves = moves
        self._clock = clock

    async def history(self, model: str, *, since: datetime | None = None) -> tuple[AliasChange, ...]:
        changes = await self._moves.changes(model)
        return tuple(change for change in changes if since is None or change.at >= since)

    async def alias_at(self, model: str, alias: Alias, at: datetime) -> str | None:
        return await self._moves.at(model, alias, at)

    async def set_alias(
        self, model: str, alias: Alias, version: str | None, *, expected: str | None, key: str, actor: str, reason: str
    ) -> AliasChange:
        return await self._moves.move(model, alias, version, expected=expected, key=key, actor=actor, reason=reason)

    async def discard(self, item: Leftover, *, protected: tuple[str, ...] = ()) -> Discarded:
        async with self._moves.alone(item.model) as changes:
            discarding.refuse_needed(item, changes, protected)
            return await self._child.call(Tracking.discard, item, self._clock.now())

    async def restore(self, model: str, version: str) -> None:
        await self._child.call(Tracking.restore, model, version)

    async def empty(self, before: datetime) -> int:
        return await self._child.call(Tracking.empty, before)


class MlflowAliases:
    """The child process, as the rules of moving see it."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child

    async def carried(self, model: str) -> Mapping[Alias, str]:
        return await self._child.call(Tracking.carried, model)

    async def put(self, model: str, alias: Alias, version: str | None, *, expected: str | None) -> str | None:
        return await self._child.call(Tracking.put, model, alias, version, expected)


def _look(database: Path) -> None:
    """Read-only, so that asking does not create what is missing."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_PING_S)
        ) as connection:
            connection.execute("SELECT 1 FROM registered_models LIMIT 1").fetchall()
    except sqlite3.Error as error:
        raise TemporaryError(f"there is no MLflow database to read at {database}: {error}") from error
