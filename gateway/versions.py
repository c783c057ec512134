"""One version of a model in memory: fetched, loaded, warmed, serving, and let go of when nobody needs it."""

import asyncio
import gc
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from gateway.batching import Batcher, BatchLimits
from gateway.compute import Workers
from gateway.features import FeatureEncoder, Rows
from gateway.metrics import Metrics
from gateway.refusals import NotReady, Unservable
from tools.errors import PermanentError
from tools.inference.costs import Cost
from tools.inference.engines import PLATFORMS, Engine, load, read_spec, warm
from tools.inference.outputs import Outputs
from tools.registry.port import ModelFiles, RegistryReader
from tools.registry.serving_spec import ServingSpec

log = structlog.get_logger()

State = Literal["loading", "ready", "unloading", "failed"]


@dataclass(frozen=True, slots=True)
class Loader:
    """Where versions come from, and under which limits they are served."""

    registry: RegistryReader
    cache: Path
    allow_pickle: Collection[str]
    limits: BatchLimits
    metrics: Metrics


class Version:
    """Made in the state `loading`; `load` brings it to `ready` or `failed`."""

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        self.state: State = "loading"
        self.detail = ""
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def load(self, loader: Loader, workers: Workers) -> None:
        """Raises Unservable (the version is then `failed`) or the registry's TemporaryError."""
        try:
            files = await loader.registry.fetch(self.model, self.version, loader.cache)
            # In a thread, where reading and building let the loop run on.
            spec, engine, cost = await asyncio.to_thread(_build, files, loader.allow_pickle, loader.limits.rows)
        except PermanentError as error:
            self.state, self.detail = "failed", str(error)
            raise Unservable(str(error)) from error
        self.metrics = loader.metrics.of(self.model, self.version)
        self.spec = spec
        self.platform = PLATFORMS[files.format]
        self.encoder = FeatureEncoder(spec)
        self.engine = engine
        self.batcher = Batcher(engine, spec, workers, loader.limits, cost, self.metrics.rows)
        self.state = "ready"
        # Tens of thousands of objects that live as long as the version: the collector need not look at them again and again.
        gc.freeze()
        log.info("version.ready", model=self.model, version=self.version, format=files.format)

    def require_ready(self) -> None:
        if self.state != "ready":
            raise NotReady(f"{self.model} {self.version} is {self.state}{': ' if self.detail else ''}{self.detail}")

    async def infer(self, rows: Rows) -> Outputs:
        """Raises Overloaded or Failed."""
        self.begin()
        try:
            return await self.batcher.infer(rows)
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


def _build(files: ModelFiles, allow_pickle: Collection[str], batch_rows: int) -> tuple[ServingSpec, Engine, Cost]:
    spec = read_spec(files)
    engine = load(files, allow_pickle=allow_pickle)
    cost = warm(engine, spec, sorted({1, 2, 3, batch_rows}), f"{files.model} {files.version}")
    return spec, engine, cost
