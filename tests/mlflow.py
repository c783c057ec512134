"""MLflow for the tests: a migrated database to copy, a real tracking server, and the part of a training job and of a person."""

import multiprocessing
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulations.processes import Programs, free_port
from tools.registry.library import artifact_location, library
from tools.registry.port import Alias

START_LIMIT_S = 110


@pytest.fixture(scope="session")
def mlflow_process() -> Iterator[ProcessPoolExecutor]:
    """Where the tests use MLflow themselves: away from this process, whose warnings are errors."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield process


@pytest.fixture(scope="session")
def mlflow_template(mlflow_process: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once (seconds), copied by whoever wants a database of their own."""
    path = tmp_path_factory.mktemp("mlflow-template") / "mlflow.db"
    mlflow_process.submit(_migrate, f"sqlite:///{path}").result(START_LIMIT_S)
    return path


@pytest.fixture
def mlflow_uri(mlflow_template: Path, tmp_path: Path) -> str:
    """An embedded registry, empty."""
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(mlflow_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def mlflow_server(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real tracking server, one for the session."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    shutil.copyfile(mlflow_template, folder / "mlflow.db")
    port = free_port()
    arguments = ["mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with Programs() as programs:
        server = programs.start("mlflow", [*arguments, *stores], environment, folder / "log")
        server.wait_ready(f"http://127.0.0.1:{port}/health", START_LIMIT_S)
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class Outside:
    """What reaches a registry without the platform: training jobs, and people in MLflow's own pages."""

    process: ProcessPoolExecutor
    uri: str

    def publish(self, model: str, folder: Path, *, accuracy: float = 0.9, tags: dict[str, str] | None = None) -> str:
        """Register the files of `folder` as a new version, made by a run that has ended."""
        return self.process.submit(_publish, self.uri, model, folder, accuracy, tags or {}).result(START_LIMIT_S)

    def point(self, model: str, alias: Alias, version: str | None) -> None:
        self.process.submit(_point, self.uri, model, alias.value, version).result(START_LIMIT_S)

    def leave(self, model: str, version: str, path: str, text: str) -> None:
        """A file among the artifacts of the run that made the version."""
        self.process.submit(_leave, self.uri, model, version, path, text).result(START_LIMIT_S)

    def name(self, model: str, alias: str, version: str) -> None:
        """Give it an alias of people's own."""
        self.process.submit(_point, self.uri, model, alias, version).result(START_LIMIT_S)

    def tag(self, model: str, version: str, name: str, text: str) -> None:
        self.process.submit(_tag, self.uri, model, version, name, text).result(START_LIMIT_S)

    def register(self, model: str, version: str, source: str) -> str:
        """Another version of the same run: of the same files, or of those at `source`."""
        return self.process.submit(_register, self.uri, model, version, source).result(START_LIMIT_S)

    def remove(self, model: str) -> None:
        self.process.submit(_remove, self.uri, model).result(START_LIMIT_S)


def _migrate(uri: str) -> None:
    """MLflow makes and migrates a database when it is first asked for something."""
    _client(uri).search_registered_models()


def _publish(uri: str, model: str, folder: Path, accuracy: float, tags: dict[str, str]) -> str:
    client = _client(uri)
    experiment = client.get_experiment_by_name("tests")
    if experiment is None:
        experiment_id = client.create_experiment("tests", artifact_location=artifact_location(uri))
    else:
        experiment_id = experiment.experiment_id
    run = client.create_run(experiment_id)
    client.log_param(run.info.run_id, "seed", 7)
    client.log_metric(run.info.run_id, "accuracy", accuracy)
    client.log_artifacts(run.info.run_id, str(folder), "model")
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    source = f"{run.info.artifact_uri}/model"
    return str(client.create_model_version(model, source, run.info.run_id, tags=tags).version)


def _point(uri: str, model: str, alias: str, version: str | None) -> None:
    if version is None:
        _client(uri).delete_registered_model_alias(model, alias)
    else:
        _client(uri).set_registered_model_alias(model, alias, version)


def _tag(uri: str, model: str, version: str, name: str, text: str) -> None:
    _client(uri).set_model_version_tag(model, version, name, text)


def _register(uri: str, model: str, version: str, source: str) -> str:
    client = _client(uri)
    first = client.get_model_version(model, version)
    return str(client.create_model_version(model, source or first.source, first.run_id).version)


def _leave(uri: str, model: str, version: str, path: str, text: str) -> None:
    client = _client(uri)
    client.log_text(client.get_model_version(model, version).run_id, text, path)


def _remove(uri: str, model: str) -> None:
    _client(uri).delete_registered_model(model)


def _client(uri: str) -> Any:
    mlflow = library()
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def fresh_model() -> str:
    """The server outlives a test."""
    return f"flights-{uuid.uuid4().hex[:8]}"
