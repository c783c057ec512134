"""The gateway's own runtime: the model is loaded into this process and computed by its worker threads."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from gateway.runtimes.port import Estimate
from tools.inference.engines import PLATFORMS, Engine, load, read_spec, warm
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import ServingSpec


@dataclass(frozen=True, slots=True)
class InProcess:
    """`Runtime`."""

    allow_pickle: Collection[str]
    batch_rows: int

    async def place(self, files: ModelFiles, workers: int) -> "Loaded":  # noqa: ARG002  threads belong to the model
        # In a thread, where reading and building let the loop run on.
        return await asyncio.to_thread(self._build, files)

    def settle(self, model: str, main: str | None, keep: Collection[str]) -> None:
        """What no version refers to is freed by the interpreter."""

    async def close(self) -> None:
        pass

    def _build(self, files: ModelFiles) -> "Loaded":
        spec = read_spec(files)
        engine = load(files, allow_pickle=self.allow_pickle)
        cost = warm(engine, spec, sizes(self.batch_rows), f"{files.model} {files.version}")
        return Loaded(spec, PLATFORMS[files.format], engine, cost)


@dataclass(frozen=True, slots=True)
class Loaded:
    """`Placement`."""

    spec: ServingSpec
    platform: str
    engine: Engine
    cost: Estimate
    here: bool = True
    problem: str = ""

    async def scale(self, workers: int) -> None:
        pass

    async def close(self) -> None:
        pass


def sizes(batch_rows: int) -> list[int]:
    """The batches that a version is warmed with."""
    return sorted({1, 2, 3, batch_rows})
