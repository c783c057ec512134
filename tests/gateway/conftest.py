import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import REGRESSION, write_onnx, write_pt2
from tests.gateway.running import Gateway, started

# pytest listens to everything, and torch then renders every step of an export: most of the time of these tests.
logging.getLogger("torch.__trace").setLevel(logging.WARNING)

Start = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture(scope="session")
def model_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`late` in three pt2 versions that differ in slope, and one ONNX; `delay`, a regression."""
    root = tmp_path_factory.mktemp("registry")
    for version, slope in (("1", 1.0), ("2", 2.0), ("3", 3.0)):
        write_pt2(root / "late" / version, slope)
    write_onnx(root / "late" / "4", 4.0)
    (root / "late" / "champion").write_text("1")
    write_pt2(root / "delay" / "1", 10.0, spec=REGRESSION)
    (root / "delay" / "champion").write_text("1")
    return root


@pytest.fixture
def registry(model_root: Path) -> FolderRegistry:
    return FolderRegistry(model_root)


@pytest.fixture
def start(registry: FolderRegistry, tmp_path: Path) -> Start:
    """Gateways on one home: `async with start(setting=...) as gateway`. They serve `late` and are ready."""

    def start(registry: FolderRegistry = registry, **settings: object) -> AbstractAsyncContextManager[Gateway]:
        return started(registry, tmp_path / "home", **{"models": ("late",), **settings})

    return start


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Gateway]:
    async with start() as gateway:
        yield gateway
