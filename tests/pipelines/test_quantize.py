"""A version becomes INT8 by real jobs: measured, signed and left; registered as what was measured; and served by the gateway.

In turn: an experiment on a registered network, the registration of what it made, the same registration again, and one of files
that nobody has measured, which is refused.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.cost.quantization import weigh
from agents.cost.quantization_rules import QuantizationRules
from agents.evaluation_job import EvaluationJob
from agents.policies import Training
from agents.quantization_job import CONFIG, Ordered, follow, key_of, spec_of
from agents.training import JOB_TAG, TRACKING
from agents.verification import Status
from benchmarks.quantization_models import exported, task, trained
from tests.mlflow import Outside
from tests.twins.clock import SteppedClock
from tests.unit.agents.worlds import NOW
from tools.errors import PermanentError
from tools.inference.engines import load, read_spec, warm
from tools.jobs.local import LocalJobs
from tools.jobs.port import JobSpec, JobState, Phase, job_name
from tools.jobs.prices import Prices
from tools.registry.evaluations import KEY
from tools.registry.mlflow import open_registry
from tools.registry.port import ModelFiles, ModelVersion, TrainingRun
from tools.registry.quantizations import Quantization
from tools.registry.signing import digest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("quantize")]

SECRET = "what only the platform's own jobs get"
PRICES = Prices(currency="EUR", cpu_hour=Decimal("0.036"))
RULES = QuantizationRules(
    command=(sys.executable, "-m", "pipelines", "quantize"), rounds=5, calls=20, batches=(1, 8), prices=PRICES
)


@dataclass
class Done:
    """What the jobs left."""

    experiment: JobState
    measured: Quantization
    unregistered: tuple[ModelVersion, ...]
    registration: JobState
    repeated: str
    ordered: Ordered
    found: Quantization
    versions: tuple[ModelVersion, ...]
    run: TrainingRun | None
    files: ModelFiles


@pytest.fixture(scope="module")
def done(mlflow_template: Path, mlflow_process: Any, tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("quantize")
    uri = f"sqlite:///{home}/mlflow.db"
    (home / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    rows = task(4_000, seed=3)
    files = exported(trained(rows.part(0, 2_000), 96, epochs=3, seed=3), home / "network")
    outside = Outside(mlflow_process, uri)
    outside.publish("task", files.folder, tags={"data.to": "2026-01-01T00:00:00Z", JOB_TAG: "the training"})
    held_out = rows.part(2_000, 4_000)
    pq.write_table(held_out.table.append_column("label", pa.array(held_out.labels)), home / "rows.parquet")
    return asyncio.run(_done(home, uri, mlflow_process))


async def _done(home: Path, uri: str, process: Any) -> Done:
    jobs = LocalJobs(home / "jobs", secrets={TRACKING: uri, KEY: SECRET})
    evaluation = EvaluationJob(source=str(home / "rows.parquet"), label="label")

    async def submitted(run_id: str, artefact: str = "") -> tuple[Ordered, JobSpec, JobState]:
        key = key_of(run_id, "1", register=bool(artefact))
        ordered = Ordered(model="task", version="1", job=job_name(key), begun_at=NOW, artefact=artefact)
        spec = spec_of(ordered, run_id, RULES, evaluation, Training(), held_out=None, recent=None, left_out=(), traffic="")
        await jobs.submit(key, spec)
        async for state in jobs.watch(ordered.job):
            final = state
        return ordered, spec, final

    async with open_registry(uri, f"sqlite:///{home}/oppen.db", SteppedClock(), SECRET) as registry:
        _, _, experiment = await submitted("run-1")
        measured = await registry.quantization("task", "1")
        assert measured is not None, [line async for line in jobs.logs(experiment.name)]
        unregistered = await registry.versions("task")
        ordered, spec, registration = await submitted("run-1", measured.artefact)
        repeated = process.submit(_repeated, home / "repeated", ordered.job, uri, dict(spec.config)).result(60)
        found = await registry.quantization("task", "1")
        assert found is not None, [line async for line in jobs.logs(registration.name)]
        other = json.loads(spec.config[CONFIG]) | {"artefact": "0" * 64}
        with pytest.raises(PermanentError, match="measure it anew"):
            process.submit(_repeated, home / "other", ordered.job, uri, {CONFIG: json.dumps(other)}).result(60)
        return Done(
            experiment=experiment,
            measured=measured,
            unregistered=unregistered,
            registration=registration,
            repeated=repeated["produced"],
            ordered=ordered,
            found=found,
            versions=await registry.versions("task"),
            run=await registry.training_run("task", found.produced),
            files=await registry.fetch("task", found.produced, home / "served"),
        )


def _repeated(folder: Path, job: str, uri: str, config: dict[str, str]) -> dict[str, Any]:
    """What another attempt of the registration does, in MLflow's own process."""
    from pipelines.quantize import Order, quantize

    folder.mkdir()
    for name, text in config.items():
        (folder / name).write_text(text)
    return quantize(Order.read({"OPPEN_JOB": job, "OPPEN_JOB_CONFIG": str(folder), TRACKING: uri, KEY: SECRET}))


def test_an_experiment_measures_and_registers_nothing(done: Done) -> None:
    assert done.experiment.phase is Phase.SUCCEEDED
    assert [each.version for each in done.unregistered] == ["1"]
    found = done.measured
    assert (found.recipe, found.produced, found.job) == ("static", "", done.experiment.name)
    assert [batch.rows for batch in found.batches] == [1, 8]
    # A quarter of the rows at most is calibrated by, and none of these is measured on.
    assert found.calibration_rows == 500
    accuracy = next(each for each in found.facts.compared if each.name == "accuracy")
    assert accuracy.rows == 1_500
    assert accuracy.champion > 0.7
    assert abs(accuracy.candidate - accuracy.champion) < 0.02
    assert found.quantized_bytes < found.converted_bytes / 1.5


def test_a_form_that_depends_on_its_neighbours_is_not_served(done: Done) -> None:
    dynamic = next(each for each in done.measured.tried if each.recipe == "dynamic")
    assert "answers a row differently when it is computed with others" in dynamic.refused


def test_what_it_measured_is_weighed_and_priced(done: Done) -> None:
    worth = weigh(done.measured, RULES)
    assert worth.cost is not None
    assert worth.cost.quantized > 0
    assert worth.reason


def test_a_registration_makes_one_version_of_the_very_files(done: Done) -> None:
    assert done.registration.phase is Phase.SUCCEEDED
    looked = follow(done.ordered, done.registration, done.versions)
    assert (looked.status, looked.produced) == (Status.HOLDS, "2")
    assert (done.found.produced, done.repeated) == ("2", "2")
    assert [each.version for each in done.versions] == ["2", "1"]
    assert digest(done.files.folder) == done.measured.artefact
    assert done.found.model_copy(update={"produced": ""}) == done.measured


def test_its_version_says_what_it_is(done: Done) -> None:
    tags = done.versions[0].tags
    assert (tags["quantized_from"], tags["format"], tags["quantized.recipe"]) == ("1", "int8", "static")
    assert (tags["data.to"], tags[JOB_TAG]) == ("2026-01-01T00:00:00Z", done.ordered.job)
    assert float(tags["quantized.accuracy"]) > 0.7
    assert done.run is not None
    assert done.run.status == "FINISHED"
    assert done.run.metrics["bytes.quantized"] == done.measured.quantized_bytes
    assert {"cost_per_1000.1.quantized", "p99_ms.8.original"} <= done.run.metrics.keys()
    assert done.run.tags["cost.currency"] == "EUR"


def test_the_gateways_engine_takes_it(done: Done) -> None:
    assert done.files.format == "onnx"
    warm(load(done.files, allow_pickle=()), read_spec(done.files), (1, 8, 32), "task 2")
