"""A candidate's evaluation as a job of the platform's own: what is submitted for it, and what is made of how it ended."""

import json
from datetime import datetime, timedelta
from typing import Any

from agents.actions import Retrain
from agents.evaluation_job import EvaluationJob
from agents.policies import Training
from agents.training import TRACKING, failure_of, held_out_of, standing_of
from agents.verification import Status
from tools.jobs.port import MIB, JobSpec, JobState, Phase, Resources, job_name
from tools.registry.evaluations import KEY, Evaluation
from tools.values import Frozen, Instant, LeftOut, Window

CONFIG = "evaluation.json"
TRAFFIC = "recent.parquet.base64"
"""Recent labelled traffic, among the job's files: what the training might write is not asked for it."""
_PREFIX = "evaluation/"
_NAMES = job_name("evaluation").rpartition("-")[0]


class Examination(Frozen):
    """Of a candidate beside the champion of that moment."""

    model: str
    candidate: str
    champion: str
    job: str
    """Its name."""
    submitted: bool = True
    """Whether there has been such a job: in mode observe it is not begun yet."""
    begun_at: Instant
    ended: bool = False
    unproven: str = ""
    """Why there is no evaluation."""

    def beside(self, model: str, candidate: str, champion: str) -> bool:
        return (self.model, self.candidate, self.champion) == (model, candidate, champion)


def key_of(run_id: str, candidate: str, champion: str) -> str:
    """Another champion is another evaluation."""
    return f"{_PREFIX}{run_id}/{candidate}-beside-{champion}"


def stands(found: Evaluation, rules: EvaluationJob, now: datetime) -> bool:
    """Whether it is young enough to be gone by."""
    return now - found.of < rules.good_for


def is_evaluation(name: str) -> bool:
    """Of a job, by its name: what is no training has no part in their budget."""
    return name.startswith(f"{_NAMES}-")


def windows(
    rules: EvaluationJob, training: Retrain | None, label_delay: timedelta, now: datetime
) -> tuple[Window | None, Window | None]:
    """Held out, and recent; None: there is none. `training`: what has made the candidate, in this run."""
    held_out = None
    if rules.held_out:
        held_out = (
            held_out_of(training, rules.held_out)
            if training is not None
            else Window(start=now - rules.held_out, end=now - label_delay)
            if rules.held_out > label_delay
            else None
        )
    end = now - label_delay
    recent = Window(start=end - rules.recent, end=end) if rules.recent else None
    return held_out, recent


def spec_of(
    examination: Examination,
    run_id: str,
    rules: EvaluationJob,
    training: Training,
    *,
    held_out: Window | None,
    recent: Window | None,
    left_out: tuple[LeftOut, ...],
    traffic: str,
    least_group: int,
) -> JobSpec:
    """`traffic`: labelled rows as Parquet in base64, empty without. `least_group`: rows that a group needs.

    Raises ValueError when policy names no command."""
    if rules.command is None:
        raise ValueError(f"models.{examination.model}.evaluation.command: nothing evaluates this model's candidates")
    memory = rules.memory_mib * MIB
    asked: dict[str, Any] = {
        "model": examination.model,
        "candidate": examination.candidate,
        "champion": examination.champion,
        "source": rules.source,
        "label": rules.label,
        "time": rules.time,
        "most_rows": rules.most_rows,
        "groups": list(rules.groups),
        "least_group": least_group,
        "held_out": held_out.model_dump(mode="json") if held_out is not None else None,
        "recent": recent.model_dump(mode="json") if recent is not None and traffic else None,
        "left_out": [each.model_dump(mode="json") for each in left_out],
        "asked_at": examination.begun_at.isoformat(),
        "load_seconds": rules.load.total_seconds(),
        "memory_bytes": memory,
    }
    environment = training.environment if rules.environment is None else rules.environment
    return JobSpec(
        model=examination.model,
        team=training.team,
        run_id=run_id,
        image=rules.image,
        command=rules.command,
        environment={**environment, "OPPEN_MODEL": examination.model},
        secrets=rules.secrets | {TRACKING, KEY},
        config={CONFIG: json.dumps(asked, indent=1), **({TRAFFIC: traffic} if traffic else {})},
        resources=Resources(cpu=rules.cpu, memory_bytes=memory),
        deadline=rules.deadline,
        retries=rules.retries,
    )


class Looked(Frozen):
    """One look at an evaluation job."""

    status: Status
    reason: str


def follow(job: JobState) -> Looked:
    """It holds when the job has ended well; whether it left an evaluation is seen in the registry."""
    if not job.final:
        return Looked(status=Status.WAITING, reason=standing_of(job, "evaluation"))
    if job.phase is Phase.FAILED:
        return Looked(status=Status.FAILED, reason=f"its evaluation failed: {failure_of(job)}")
    return Looked(status=Status.HOLDS, reason="it has been evaluated")
