"""The backends of the registry's port. Starting one on MLflow takes seconds, so each is opened once for all tests."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import pytest
import pytest_asyncio
from sqlalchemy import create_engine

from tests.mlflow import Outside
from tests.twins.clock import SteppedClock
from tests.twins.registry import TwinRegistry
from tools.registry.evaluations import artifact, signed_artifact
from tools.registry.history import METADATA
from tools.registry.mlflow import open_registry
from tools.registry.port import Alias, ArtifactFormat, Registry
from tools.registry.quantizations import quantized_artifact
from tools.registry.serving_spec import FILE

MODEL_FILES: dict[ArtifactFormat, str] = {
    "pt2": "data/model.pt2",
    "onnx": "model.onnx",
    "pickle": "data/model.pth",
    "unknown": "model.ubj",
}


class World(Protocol):
    """What goes on around a registry without the platform."""

    def publish(
        self,
        model: str,
        *,
        format: ArtifactFormat = "pt2",
        tags: dict[str, str] | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> str: ...

    def move_externally(self, model: str, alias: Alias, version: str | None) -> None: ...

    def evaluate(self, model: str, version: str, champion: str, text: str) -> None: ...

    def boast(self, model: str, version: str, champion: str, text: str) -> None: ...

    def quantize(self, model: str, version: str, text: str) -> None: ...

    def spoil(self, model: str, version: str, name: str, content: bytes) -> None:
        """Another file in place of one of a version's."""
        ...


@dataclass
class MlflowWorld:
    outside: Outside
    folder: Path
    history_url: str

    def publish(
        self,
        model: str,
        *,
        format: ArtifactFormat = "pt2",
        tags: dict[str, str] | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> str:
        root = self.files(format)
        for name, content in (beside or {}).items():
            path = root / name if name == FILE else root / "extra_files" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        published = self.outside.publish(model, root, tags=tags)
        shutil.rmtree(root / "extra_files", ignore_errors=True)
        return published

    def move_externally(self, model: str, alias: Alias, version: str | None) -> None:
        self.outside.point(model, alias, version)

    def evaluate(self, model: str, version: str, champion: str, text: str) -> None:
        self.outside.leave(model, version, signed_artifact(champion), text)

    def boast(self, model: str, version: str, champion: str, text: str) -> None:
        self.outside.leave(model, version, artifact(champion), text)

    def quantize(self, model: str, version: str, text: str) -> None:
        self.outside.leave(model, version, quantized_artifact(version), text)

    def spoil(self, model: str, version: str, name: str, content: bytes) -> None:
        place = next(path for path in MODEL_FILES.values() if PurePosixPath(path).name == name)
        self.outside.leave(model, version, f"model/{place}", content.decode())

    def files(self, format: ArtifactFormat) -> Path:
        root = self.folder / format
        file = root / MODEL_FILES[format]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"a {format} model")
        (root / FILE).write_text("{}")
        return root


@dataclass
class Backend:
    registry: Registry
    world: World
    clock: SteppedClock


@pytest.fixture
def twin_backend() -> Backend:
    clock = SteppedClock()
    twin = TwinRegistry(clock)
    return Backend(twin, twin, clock)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded_backend(
    mlflow_template: Path, mlflow_process: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Backend]:
    folder = tmp_path_factory.mktemp("embedded")
    shutil.copyfile(mlflow_template, folder / "mlflow.db")
    async with _on_mlflow(f"sqlite:///{folder}/mlflow.db", mlflow_process, folder) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_backend(
    mlflow_server: str, mlflow_process: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Backend]:
    async with _on_mlflow(mlflow_server, mlflow_process, tmp_path_factory.mktemp("server")) as opened:
        yield opened


@contextlib.asynccontextmanager
async def _on_mlflow(uri: str, process: ProcessPoolExecutor, folder: Path) -> AsyncIterator[Backend]:
    history_url = f"sqlite:///{folder}/oppen.db"
    database = create_engine(history_url)
    METADATA.create_all(database)
    database.dispose()
    clock = SteppedClock()
    async with open_registry(uri, history_url, clock, TwinRegistry.key) as registry:
        yield Backend(registry, MlflowWorld(Outside(process, uri), folder / "files", history_url), clock)
