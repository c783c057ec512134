"""What is particular to the adapter on MLflow: what it costs the process that uses it, and when MLflow is away."""

import asyncio
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from simulations.processes import free_port
from tests.contract.dying_moves import move_on_mlflow_and_die
from tests.contract.registries import Backend, MlflowWorld
from tests.mlflow import fresh_model
from tools.errors import PermanentError, TemporaryError
from tools.registry.mlflow import MlflowReader, open_reader
from tools.registry.port import Alias, Registry, RegistryReader

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("mlflow")]


@pytest.fixture
def registry(embedded_backend: Backend) -> Registry:
    return embedded_backend.registry


@pytest.fixture
def world(embedded_backend: Backend) -> MlflowWorld:
    assert isinstance(embedded_backend.world, MlflowWorld)
    return embedded_backend.world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def away() -> AsyncIterator[MlflowReader]:
    """Nobody listens there."""
    async with open_reader(f"http://someone:secret@127.0.0.1:{free_port()}") as reader:
        yield reader


async def test_the_run_that_made_a_version_is_known(registry: Registry, world: MlflowWorld) -> None:
    model = fresh_model()
    version = world.outside.publish(model, world.files("pt2"), accuracy=0.93)
    run = await registry.training_run(model, version)
    assert run is not None
    assert (run.status, run.params, run.metrics) == ("FINISHED", {"seed": "7"}, {"accuracy": 0.93})
    assert run.ended_at is not None
    assert run.run_id == (await registry.version(model, version)).run_id
    assert await registry.training_run(model, version) == run


async def test_a_model_made_anew_under_its_name_is_fetched_anew(registry: Registry, world: MlflowWorld, tmp_path: Path) -> None:
    model = fresh_model()
    first = await registry.fetch(model, world.publish(model), tmp_path)
    assert (first.folder / "model.pt2").read_text() == "a pt2 model"
    world.outside.remove(model)
    second = await registry.fetch(model, world.publish(model, format="onnx"), tmp_path)
    assert (second.folder, second.format) == (first.folder, "onnx")
    assert [path.name for path in second.folder.iterdir() if path.suffix != ".json"] == ["model.onnx"]


async def test_a_process_killed_after_mlflow_has_moved_the_alias_is_finished_by_the_repetition(
    registry: Registry, world: MlflowWorld
) -> None:
    model = fresh_model()
    version = world.publish(model)
    process = multiprocessing.get_context("forkserver").Process(
        target=move_on_mlflow_and_die, args=(world.outside.uri, world.history_url, model, "before done")
    )
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL
    assert await registry.alias(model, Alias.CHAMPION) == version
    change = await registry.set_alias(
        model, Alias.CHAMPION, version, expected=None, key=model, actor="ann", reason="it is better"
    )
    assert await registry.history(model) == (change,)


async def test_a_reader_needs_no_database_of_the_platform_and_knows_no_history(tmp_path: Path) -> None:
    async with open_reader(f"sqlite:///{tmp_path}/mlflow.db") as reader:
        assert isinstance(reader, RegistryReader)
        assert not isinstance(reader, Registry)
        with pytest.raises(PermanentError, match="history"):
            await reader.history("flights")
        with pytest.raises(TemporaryError, match="no MLflow database"):
            await reader.ping()
    assert list(tmp_path.iterdir()) == [], "asking does not create what is missing"


async def test_pinging_loads_nothing_heavy(mlflow_uri: str) -> None:
    program = """
import asyncio, sys
from tools.registry.mlflow import open_reader
async def main(uri):
    async with open_reader(uri) as reader:
        await reader.ping()
asyncio.run(main(sys.argv[1]))
heavy = {"mlflow", "pandas", "torch", "alembic", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, mlflow_uri], check=True, timeout=60)


@pytest.mark.slow
async def test_a_server_that_is_away_is_a_temporary_error_that_does_not_tell_the_password(away: MlflowReader) -> None:
    with pytest.raises(TemporaryError) as pinged:
        await away.ping()
    with pytest.raises(TemporaryError) as asked:
        await away.alias("flights", Alias.CHAMPION)
    assert "secret" not in f"{pinged.value}{asked.value}"


@pytest.mark.slow
async def test_while_a_server_is_away_a_copy_of_its_files_is_used(
    away: MlflowReader, server_backend: Backend, tmp_path: Path
) -> None:
    model = fresh_model()
    files = await server_backend.registry.fetch(model, server_backend.world.publish(model), tmp_path)
    assert await away.fetch(model, files.version, tmp_path) == files
    with pytest.raises(TemporaryError):
        await away.fetch(model, "2", tmp_path)
