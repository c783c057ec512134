"""One version of a model in memory: fetched, loaded, warmed, serving, and let go of when nobody needs it."""

import asyncio
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

from gateway.batching import Batcher, BatchLimits
from gateway.completions.metrics import CompletionMetrics
from gateway.completions.servers import Servers, Upstream, read_completions
from gateway.compute import Workers
from gateway.features import FeatureEncoder, Rows
from gateway.metrics import Metrics
from gateway.refusals import NotReady, Refused, Unservable
from gateway.runtimes.port import Placement, Runtime
from tools.errors import PermanentError
from tools.inference.engines import Engine, warm
from tools.inference.outputs import Outputs
from tools.registry.port import RegistryReader
from tools.registry.serving_spec import CompletionsSpec
from tools.serving.port import ServedVersion

log = structlog.get_logger()

State = Literal["loading", "ready", "unloading", "failed"]


@dataclass(frozen=True, slots=True)
class Loader:
    """Where versions come from, and under which limits they are served."""

    registry: RegistryReader
    cache: Path
    limits: BatchLimits
    """Of models that have been told no others."""
    metrics: Metrics
    servers: Servers
    """Of language models."""
    completions: CompletionMetrics
    here: Runtime
    elsewhere: Mapping[str, Runtime]
    """By model; what is not in it is computed here."""

    def runtime(self, model: str) -> Runtime:
        return self.elsewhere.get(model, self.here)


class Version:
    """Made in the state `loading`; `load` brings it to `ready` or `failed`."""

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        self.state: State = "loading"
        self.detail = ""
        self.upstream: Upstream | None = None
        """Of a language model: who answers for it."""
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._placed: Placement | None = None
        self._workers: int | None = None
        """It has where it was placed; None: not known."""

    @property
    def ready(self) -> bool:
        """Whether it can answer. A version whose runtime is away stays in its state: its requests are tried, and fail."""
        return self.state == "ready" and not self._problem

    @property
    def shown(self) -> ServedVersion:
        away = self.state == "ready" and self._problem
        return ServedVersion(version=self.version, state="failed" if away else self.state, detail=away or self.detail)

    @property
    def _problem(self) -> str:
        return self._placed.problem if self._placed is not None else ""

    async def load(self, loader: Loader, workers: Workers, limits: BatchLimits) -> None:
        """Raises Unservable (the version is then `failed`), or the TemporaryError of the registry or the runtime."""
        try:
            files = await loader.registry.fetch(self.model, self.version, loader.cache)
            remote = await asyncio.to_thread(read_completions, files)
            if remote is not None:
                await self._settle(remote, loader)
                return
            self._workers = workers.workers
            placed = await loader.runtime(self.model).place(files, self._workers)
            limits = await self._affordable(placed, limits, loader.limits)
        except PermanentError as error:
            self.state, self.detail = "failed", str(error)
            raise Unservable(str(error)) from error
        self.metrics = loader.metrics.of(self.model, self.version)
        self._placed = placed
        self.spec = placed.spec
        self.platform = placed.platform
        self._encoder = FeatureEncoder(placed.spec)
        self.batcher = Batcher(placed.engine, placed.spec, workers, limits, placed.cost, self.metrics.rows, here=placed.here)
        self.state = "ready"
        # Tens of thousands of objects that live as long as the version: the collector need not look at them again and again.
        gc.freeze()
        log.info("version.ready", model=self.model, version=self.version, format=files.format)

    async def _settle(self, spec: CompletionsSpec, loader: Loader) -> None:
        upstream = loader.servers.upstream(spec, self.model, self.version)
        await upstream.settle()
        self.metrics = loader.metrics.of(self.model, self.version)
        self.completions = loader.completions.of(self.model, self.version)
        self.platform = spec.runtime
        self.upstream = upstream
        self.state = "ready"
        log.info("version.ready", model=self.model, version=self.version, server=spec.server, name=spec.served_name)

    async def leave(self) -> None:
        """After its last answer."""
        if self.upstream is not None:
            await self.upstream.leave()

    @property
    def encoder(self) -> FeatureEncoder:
        """Raises Refused for a language model, which has no features."""
        if self.upstream is not None:
            raise Refused(f"{self.model} {self.version} is a language model: it is asked at /v1/chat/completions")
        return self._encoder

    @property
    def engine(self) -> Engine:
        """What computes it, wherever that is. A language model, and what is not loaded, has none."""
        if self._placed is None:
            raise Refused(f"{self.model} {self.version} computes nothing here")
        return self._placed.engine

    @property
    def here(self) -> bool:
        """Whether its engine takes the processor time of who calls it, and of nobody else."""
        return self._placed is not None and self._placed.here

    @property
    def language(self) -> Upstream:
        """Raises Refused for any other model."""
        if self.upstream is None:
            raise Refused(
                f"model: {self.model} {self.version} is no language model: it is asked at /v2/models/{self.model}/infer"
            )
        return self.upstream

    async def limit(self, limits: BatchLimits, usual: BatchLimits) -> None:
        """From its next batch on. Raises the TemporaryError of its runtime."""
        if self._placed is not None and self.state == "ready":
            self.batcher.limit(await self._affordable(self._placed, limits, usual))

    async def try_rows(self, rows: int) -> None:
        """Whether it computes so many at once. Raises Unservable, or the TemporaryError of its runtime."""
        if self._placed is None:
            return
        try:
            await self._try(self._placed, rows)
        except PermanentError as error:
            raise Unservable(str(error)) from error

    async def _affordable(self, placed: Placement, limits: BatchLimits, usual: BatchLimits) -> BatchLimits:
        """A version that cannot compute so many rows at once computes as many as it was warmed with: to go back to a version
        must not fail because of what was agreed for another one."""
        if limits.rows <= usual.rows:
            return limits
        try:
            await self._try(placed, limits.rows)
        except PermanentError as error:
            log.warning("version.narrow", model=self.model, version=self.version, rows=usual.rows, reason=str(error))
            return replace(limits, rows=usual.rows)
        return limits

    async def _try(self, placed: Placement, rows: int) -> None:
        sizes = sorted({1, 2, rows})
        await asyncio.to_thread(warm, placed.engine, placed.spec, sizes, f"{self.model} {self.version}")

    def require_ready(self) -> None:
        if self.state != "ready":
            raise NotReady(f"{self.model} {self.version} is {self.state}{': ' if self.detail else ''}{self.detail}")

    async def scale(self, workers: int) -> None:
        """Raises TemporaryError or PermanentError where a runtime cannot; it may have done a part of it then."""
        if self._placed is not None:
            self._workers = None
            await self._placed.scale(workers)
            self._workers = workers

    async def catch_up(self, workers: int) -> None:
        """As `scale`, if it has another number."""
        if self._workers != workers:
            await self.scale(workers)

    async def close(self) -> None:
        """Nothing is in flight any more."""
        if self._placed is not None:
            await self._placed.close()

    async def infer(self, rows: Rows) -> Outputs:
        """Raises Overloaded or Failed."""
        with self.serving():
            return await self.batcher.infer(rows)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While somebody is answered the version does not leave."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """Something needs it: it is not let go of before as many have ended."""
        self.in_flight += 1
        self.idle.clear()

    def end(self) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()
