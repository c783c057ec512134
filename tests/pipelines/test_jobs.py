"""Trainings as the platform runs them: real jobs on this machine, a real registry, and versions found by the job's tag.

In turn: the example of docs/training.md makes version 1 from a Parquet file; the reference training, killed twice on its way,
makes version 2; the platform's own evaluation holds it beside version 1; and somebody claims something of version 1.
"""

import asyncio
import base64
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from agents.evaluation_job import EvaluationJob
from agents.examination import Examination
from agents.examination import spec_of as evaluation_spec
from agents.policies import Training
from agents.training import CONFIG, JOB_TAG, TRACKING
from pipelines.flights import CATEGORICAL, CLASSES, NUMERIC, Flights
from pipelines.recipe import Recipe
from pipelines.reference_rows import labelled
from pipelines.training import encode, train
from tests.pipelines.windows import window
from tests.twins.clock import SteppedClock
from tools.inference.engines import load, read_spec
from tools.jobs.local import LocalJobs
from tools.jobs.port import MIB, JobSpec, JobState, Phase, Resources, Usage, job_name
from tools.predictions.port import LABEL
from tools.registry.evaluations import CHECKS, KEY
from tools.registry.mlflow import open_registry
from tools.registry.port import ModelFiles, ModelVersion, TrainingRun
from tools.registry.signing import digest
from tools.values import Window

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/train_from_parquet.py"
DYING = Path(__file__).with_name("dying_retraining.py")
WHOLE = window("2013-01-01", "2013-01-22")
HELD_OUT = Window(start=WHOLE.end - timedelta(days=7), end=WHOLE.end)
RECENT = Window(start=WHOLE.end - timedelta(days=1), end=WHOLE.end)
TRAINED = Window(start=WHOLE.start, end=HELD_OUT.start)
SECRET = "what only evaluation jobs get"
LOST = window("2013-01-05", "2013-01-06")
"""A day in quarantine."""
RESOURCES = Resources(cpu=1, memory_bytes=4096 * MIB)
PRICES = {"currency": "EUR", "cpu_hour": "0.036", "memory_gib_hour": "0.0045", "gpu_hour": "0"}


class Trained:
    """What came of the three jobs, and what the registry holds afterwards."""

    def __init__(self, year: Flights, home: Path) -> None:
        self._year, self._home, self._uri = year, home, f"sqlite:///{home}/mlflow.db"
        _as_parquet(year.departing(WHOLE), home / "flights.parquet")
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._jobs = LocalJobs(self._home / "jobs", secrets={TRACKING: self._uri, KEY: SECRET})
        data = {"TRAINING_DATA": str(self._home / "flights.parquet"), "LABEL": "label", "TIME": "departed"}
        self.example = await self._job("example", (sys.executable, str(EXAMPLE)), TRAINED, environment=data)
        self.retrained = await self._job("retrained", (sys.executable, str(DYING)), WHOLE, retries=2)
        evaluating = [
            sys.executable, "-m", "pipelines", "evaluate", "--model=flights", "--candidate=1", "--champion=2", "--json",
            f"--data={data['TRAINING_DATA']}", "--label=label", "--groups=origin", "--time=departed", "--recent=1d",
        ]  # fmt: skip
        self.claimed = await self._job("claimed", tuple(evaluating), WHOLE)
        self.evaluated = await self._evaluation("2", "1")
        async with open_registry(self._uri, f"sqlite:///{self._home}/oppen.db", SteppedClock(), SECRET) as reader:
            self.versions: tuple[ModelVersion, ...] = await reader.versions("flights")
            self.runs: list[TrainingRun | None] = [await reader.training_run("flights", each) for each in ("1", "2")]
            self.files: list[ModelFiles] = [await reader.fetch("flights", each, self._home / "files") for each in ("1", "2")]
            self.evaluation = await reader.evaluation("flights", "2", "1")
            self.claim = await reader.claim("flights", "1", "2")
            self.of_the_claimed = await reader.evaluation("flights", "1", "2")
        self.usage: Usage = await self._jobs.usage(self.retrained[0].name)

    async def _job(
        self, key: str, command: tuple[str, ...], window: Window, environment: dict[str, str] | None = None, retries: int = 0
    ) -> tuple[JobState, list[str]]:
        asked: dict[str, Any] = {
            "model": "flights",
            "champion": "1",
            "window_start": window.start.isoformat(),
            "window_end": window.end.isoformat(),
            "held_out_start": min(window.end, HELD_OUT.start).isoformat(),
            "left_out": [{"window": LOST.model_dump(mode="json"), "features": ["temp"]}],
            "resources": RESOURCES.model_dump(mode="json"),
            "prices": PRICES,
        }
        spec = JobSpec(
            model="flights",
            team="airports",
            run_id="run-1",
            command=command,
            environment={"PYTHONPATH": str(ROOT), **(environment or {})},
            secrets=frozenset({TRACKING}),
            config={CONFIG: json.dumps(asked)},
            resources=RESOURCES,
            deadline=timedelta(seconds=200),
            retries=retries,
        )
        return await self._ended(key, spec)

    async def _evaluation(self, candidate: str, champion: str) -> tuple[JobState, list[str]]:
        """As the platform submits it, with yesterday's traffic."""
        examination = Examination(
            model="flights", candidate=candidate, champion=champion, job=job_name("evaluated"), begun_at=WHOLE.end
        )
        spec = evaluation_spec(
            examination,
            "run-1",
            EvaluationJob(source="flights", groups=("origin",), load="1s", environment={"PYTHONPATH": str(ROOT)}),
            Training(),
            held_out=HELD_OUT,
            recent=RECENT,
            left_out=(),
            traffic=_traffic(self._year.departing(RECENT), self._home / "traffic.parquet"),
            least_group=200,
        )
        return await self._ended("evaluated", spec)

    async def _ended(self, key: str, spec: JobSpec) -> tuple[JobState, list[str]]:
        name = (await self._jobs.submit(key, spec)).name
        state = [each async for each in self._jobs.watch(name)][-1]
        return state, [line async for line in self._jobs.logs(name)]


@pytest.fixture(scope="module")
def trained(year: Flights, mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("jobs")
    (home / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    return Trained(year, home)


def kept(year: Flights) -> Flights:
    day = year.departed.astype("datetime64[D]")
    return year.rows(day != np.datetime64("2013-01-05"))


def _as_parquet(flights: Flights, path: Path) -> None:
    columns: dict[str, Any] = {
        name: pa.array(column, mask=np.isnan(column)) for name, column in zip(NUMERIC, flights.numeric.T, strict=True)
    }
    for place, (name, names) in enumerate(zip(CATEGORICAL, flights.names, strict=True)):
        columns[name] = pa.array(np.array(names)[flights.codes[:, place]])
    columns["departed"] = pa.array(flights.departed.astype("datetime64[us]"))
    columns["label"] = pa.array(np.array(CLASSES)[flights.late.astype(int)])
    pq.write_table(pa.table(columns), path)


def _traffic(flights: Flights, path: Path) -> str:
    """As the prediction store samples it."""
    rows = labelled(flights)
    pq.write_table(rows.table.append_column(LABEL, pa.array(rows.labels)), path)
    return base64.b64encode(path.read_bytes()).decode()


def test_each_job_ends_well_and_its_version_is_found_by_its_tag(trained: Trained) -> None:
    for state, lines in (trained.example, trained.retrained, trained.claimed, trained.evaluated):
        assert (state.phase, state.exit_code) == (Phase.SUCCEEDED, 0), "\n".join(lines)
    made = {each.version: (each.tags[JOB_TAG], each.format) for each in trained.versions}
    assert made == {"1": (job_name("example"), "pt2"), "2": (job_name("retrained"), "pt2")}


def test_a_job_that_was_killed_twice_registers_once(trained: Trained) -> None:
    state, lines = trained.retrained
    assert state.attempts == 3
    assert len(trained.versions) == 2
    assert not any("epoch 1 of" in line for line in lines), "its last attempt found the version"
    run = trained.runs[1]
    assert run is not None
    assert run.status == "FINISHED"


def test_the_model_of_a_killed_job_is_that_of_one_that_was_left_alone(trained: Trained, year: Flights) -> None:
    alone = train(kept(year), TRAINED, Recipe(seed=7))
    day = year.departing(window("2013-01-20", "2013-01-21"))
    spec = read_spec(trained.files[1])
    assert spec == alone.spec
    rows = (day.numeric, encode(day, spec))
    with torch.inference_mode():
        wanted = alone.network(*map(torch.from_numpy, rows)).numpy()
    np.testing.assert_allclose(load(trained.files[1], allow_pickle=())(*rows), wanted, rtol=1e-5, atol=1e-5)
    run = trained.runs[1]
    assert run is not None
    for name in ("accuracy", "auc", "log_loss", "best_epoch", "rows"):
        assert run.metrics[name] == alone.metrics[name]
    assert run.metrics["epoch_loss"] == alone.epochs[-1].loss


def test_the_run_says_what_made_the_version_and_what_it_cost(trained: Trained) -> None:
    run = trained.runs[1]
    assert run is not None
    assert (run.params["seed"], run.params["patience"], run.params["class_weights"]) == ("7", "2", "none")
    assert run.tags["data.to"] == TRAINED.end.isoformat()
    assert run.tags["env.torch"] == torch.__version__
    assert {"env.python", "env.platform", "env.device"} <= run.tags.keys()
    assert run.tags["cost.currency"] == "EUR"
    hourly = 0.036 + 4 * 0.0045
    assert float(run.tags["cost.amount"]) == pytest.approx(run.metrics["job_seconds"] * hourly / 3600, abs=1e-6)
    # Of what the platform measured it lacks what a killed attempt did after it had last spoken.
    assert 0.5 * trained.usage.wall_seconds < run.metrics["job_seconds"] <= trained.usage.wall_seconds + 1


def test_the_platforms_evaluation_is_signed_and_bound_to_the_files(trained: Trained) -> None:
    found = trained.evaluation
    assert found is not None
    assert (found.job, found.artefact) == (job_name("evaluated"), digest(trained.files[1].folder))
    assert found.champion_artefact == digest(trained.files[0].folder)
    assert found.seen_until is None
    assert [(check.name, check.ok) for check in found.staging] == [(name, True) for name in CHECKS]
    accuracy = {fact.window: fact for fact in found.facts.compared if fact.name == "accuracy"}
    assert accuracy["held_out"].candidate > 0.8
    assert accuracy["held_out"].rows > 5_000
    assert 500 < accuracy["recent"].rows < 1_000
    assert (found.held_out, found.recent) == (HELD_OUT, RECENT)
    assert {fact.name for fact in found.facts.fairness} >= {"equalized_odds_difference:origin"}
    names = {fact.name for fact in found.facts.compared}
    assert {"accuracy", "auc", "log_loss", "calibration_error", "group:origin=JFK"} <= names
    assert {"latency_p99_ms@32", "size_bytes"} <= {fact.name for fact in found.facts.limited}


def test_no_job_gets_to_see_the_key_that_is_not_its(trained: Trained) -> None:
    assert not any(SECRET in line for _, lines in (trained.evaluated, trained.retrained) for line in lines)
    assert [path for path in (trained._home / "jobs").rglob("*.json") if SECRET in path.read_text()] == []


def test_what_anybody_measures_of_a_version_is_a_claim(trained: Trained) -> None:
    found = trained.claim
    assert found is not None
    assert (found.job, trained.of_the_claimed) == ("", None)
    assert [check.ok for check in found.staging] == [True] * len(CHECKS)
    assert found.seen_until == TRAINED.end, "version 1 has learnt from the first two weeks of it"
    assert found.recent is not None
    assert found.recent.length <= timedelta(days=1, seconds=1)
    said = json.loads(trained.claimed[1][-1])
    assert (said["version"], said["champion"], said["ok"]) == ("1", "2", True)


def test_a_card_is_made_of_the_platforms_evaluation(trained: Trained) -> None:
    (card,) = (trained._home / "artifacts").glob("*/artifacts/model-card.md")
    text = card.read_text()
    assert "version 2" in text.splitlines()[0]
    for part in (
        job_name("evaluated"),
        digest(trained.files[1].folder),
        "## How it was made",
        "git.commit",
        "accuracy",
        "slice:carrier",
        "latency\\_p99\\_ms",
        "## Limits",
    ):
        assert part in text, part
