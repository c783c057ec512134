"""The INT8 experiment as a job of the platform's own: what is submitted for it, and how it ended.

The experiment comes first: it makes an INT8 version, measures it beside the original and leaves what it measured, signed, with
the original's run; nothing is registered. What it measured is weighed by `agents.cost.quantization`. Once that was approved, a
second job (`Ordered.artefact`) puts that very file into the registry, and fails rather than register another. The new version
has the job's name in its tag `oppen.job`, as a training's has, so `agents.training.made_by` finds it; a rollout brings it to
traffic as any other version.
"""

import json
from datetime import datetime
from typing import Any

from agents.cost.quantization_rules import QuantizationRules
from agents.evaluation_job import EvaluationJob
from agents.policies import Training
from agents.training import TRACKING, failure_of, made_by, standing_of
from agents.verification import Status
from tools.jobs.port import MIB, JobSpec, JobState, Phase, Resources, job_name
from tools.registry.evaluations import KEY
from tools.registry.port import ModelVersion
from tools.registry.quantizations import Quantization
from tools.values import Frozen, Instant, LeftOut, Window

CONFIG = "quantization.json"
TRAFFIC = "recent.parquet.base64"
"""Recent labelled traffic, among the job's files, as an evaluation gets it."""
_PREFIX = "quantization/"
_NAMES = job_name("quantization").rpartition("-")[0]


class Ordered(Frozen):
    """One quantisation of a version: the experiment, or after it the registration of what the experiment has measured."""

    model: str
    version: str
    """What it is made of: the one that serves."""
    job: str
    """`job_name(key_of(...))`."""
    begun_at: Instant
    artefact: str = ""
    """SHA-256 of the INT8 files that were measured and approved (`Quantization.artefact`), which are registered now. Empty:
    an experiment, which registers nothing."""

    @property
    def registers(self) -> bool:
        return bool(self.artefact)


def key_of(run_id: str, version: str, *, register: bool = False) -> str:
    """The experiment and the registration are two jobs."""
    return f"{_PREFIX}{run_id}/{version}{'/registered' if register else ''}"


def is_quantization(name: str) -> bool:
    """Of a job, by its name: what is no training has no part in their budget."""
    return name.startswith(f"{_NAMES}-")


def stands(found: Quantization, rules: QuantizationRules, now: datetime) -> bool:
    """Whether it is young enough to be gone by."""
    return now - found.asked_at < rules.good_for


def spec_of(
    ordered: Ordered,
    run_id: str,
    rules: QuantizationRules,
    evaluation: EvaluationJob,
    training: Training,
    *,
    held_out: Window | None,
    recent: Window | None,
    left_out: tuple[LeftOut, ...],
    traffic: str,
) -> JobSpec:
    """`held_out` and `recent`: as `agents.examination.windows` has them for a version that nobody has just trained. `traffic`:
    labelled rows as Parquet in base64, empty without. `evaluation`: says where labelled rows come from.

    Raises ValueError when policy names no command."""
    if rules.command is None:
        raise ValueError(f"models.{ordered.model}.quantization.command: nothing quantises this model")
    memory = rules.memory_mib * MIB
    prices = rules.prices or training.prices
    resources = Resources(cpu=rules.cpu, memory_bytes=memory)
    asked: dict[str, Any] = {
        "model": ordered.model,
        "version": ordered.version,
        "artefact": ordered.artefact,
        "source": evaluation.source,
        "label": evaluation.label,
        "time": evaluation.time,
        "most_rows": evaluation.most_rows,
        "groups": list(evaluation.groups),
        "held_out": held_out.model_dump(mode="json") if held_out is not None else None,
        "recent": recent.model_dump(mode="json") if recent is not None and traffic else None,
        "left_out": [each.model_dump(mode="json") for each in left_out],
        "asked_at": ordered.begun_at.isoformat(),
        "seed": rules.seed,
        "calibration_rows": rules.calibration_rows,
        "rounds": rules.rounds,
        "calls": rules.calls,
        "batches": list(rules.batches),
        "memory_bytes": memory,
        "resources": resources.model_dump(mode="json"),
        "prices": prices.model_dump(mode="json") if prices is not None else None,
    }
    environment = training.environment if evaluation.environment is None else evaluation.environment
    return JobSpec(
        model=ordered.model,
        team=training.team,
        run_id=run_id,
        image=rules.image,
        command=rules.command,
        environment={**environment, "OPPEN_MODEL": ordered.model},
        secrets=evaluation.secrets | {TRACKING, KEY},
        config={CONFIG: json.dumps(asked, indent=1), **({TRAFFIC: traffic} if traffic else {})},
        resources=resources,
        deadline=rules.deadline,
        retries=rules.retries,
    )


class Looked(Frozen):
    """One look at the job."""

    status: Status
    reason: str
    produced: str | None = None
    """The INT8 version that it has registered."""


def follow(ordered: Ordered, job: JobState, versions: tuple[ModelVersion, ...] = ()) -> Looked:
    """`versions`: of the model, newest first; needed of a job that registers. An experiment holds when it has ended well: what
    it measured is read from the registry (`RegistryReader.quantization`)."""
    if not job.final:
        return Looked(status=Status.WAITING, reason=standing_of(job, "quantisation"))
    if job.phase is Phase.FAILED:
        return Looked(status=Status.FAILED, reason=f"The quantisation failed: {failure_of(job)}.")
    if not ordered.registers:
        return Looked(status=Status.HOLDS, reason=f"Version {ordered.version} has been measured in INT8.")
    produced = made_by(job.name, versions)
    if produced is None:
        return Looked(status=Status.FAILED, reason=f"The quantisation ended well but registered no version of {ordered.model}.")
    return Looked(status=Status.HOLDS, reason=f"Version {produced} is {ordered.version} in INT8.", produced=produced)
