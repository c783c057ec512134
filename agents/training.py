"""A training as a job: what is submitted for it, and what is made of how it ended."""

import json
from datetime import datetime, timedelta
from typing import Any

from agents.actions import Retrain
from agents.measures import Measure
from agents.policies import Training
from agents.proposals import Proposal
from agents.verification import Status, Verification
from tools.costs.port import Pricing
from tools.jobs.port import MIB, JobSpec, JobState, Phase, Reason, Resources, Usage
from tools.registry.port import ModelVersion
from tools.values import Frozen, Window

JOB_TAG = "oppen.job"
"""A version's tag with the name of the job that made it."""
TRACKING = "MLFLOW_TRACKING_URI"
"""Where the version is to be registered. Given to the job as a secret: an address may hold a password."""
CONFIG = "training.json"
"""The file among the job's configuration."""
_MOST_HELD_OUT = 0.25
"""Of a window: a week of four. After a change of the concept the window is short, and its end is what matters most."""


def spec_of(
    action: Retrain,
    proposal: Proposal,
    rules: Training,
    held_out: timedelta = timedelta(0),
    pricing: Pricing = Pricing.STANDARD,
) -> JobSpec:
    """`held_out`: so much of the window's end is not to be learnt from. `pricing`: as the model's trainings are bought; what
    would begin anew each time is bought as standard all the same. Raises ValueError when the policy names no command."""
    if rules.command is None:
        raise ValueError(f"models.{action.model}.training.command: nothing trains this model")
    resources = Resources(cpu=rules.cpu, memory_bytes=rules.memory_mib * MIB, gpus=rules.gpus)
    asked: dict[str, Any] = {
        "model": action.model,
        "champion": action.version,
        "window_start": action.window_start.isoformat(),
        "window_end": action.window_end.isoformat(),
        "proposal": proposal.id,
        "left_out": [each.model_dump(mode="json") for each in action.left_out],
        "reason": proposal.finding.summary,
    }
    environment = {
        **rules.environment,
        "OPPEN_MODEL": action.model,
        "OPPEN_WINDOW_START": asked["window_start"],
        "OPPEN_WINDOW_END": asked["window_end"],
    }
    if (kept := held_out_of(action, held_out)) is not None:
        asked["held_out_start"] = environment["OPPEN_HELD_OUT_START"] = kept.start.isoformat()
    return JobSpec(
        model=action.model,
        team=rules.team,
        run_id=proposal.run_id,
        image=rules.image,
        command=rules.command,
        environment=environment,
        secrets=rules.secrets | {TRACKING},
        config={CONFIG: json.dumps(asked | _price(resources, rules), indent=1)},
        resources=resources,
        deadline=rules.deadline,
        retries=rules.retries,
        keep=rules.kept,
        pricing=pricing if rules.resumes else Pricing.STANDARD,
    )


def held_out_of(action: Retrain, held_out: timedelta) -> Window | None:
    """The end of its window, which its version is held to: never more than a part of it, because the rest has to teach it."""
    length = min(held_out, (action.window_end - action.window_start) * _MOST_HELD_OUT)
    return Window(start=action.window_end - length, end=action.window_end) if length else None


def _price(resources: Resources, rules: Training) -> dict[str, Any]:
    """What the job reckons its own cost from, so that it is on record with the version."""
    if rules.prices is None:
        return {}
    return {"resources": resources.model_dump(mode="json"), "prices": rules.prices.model_dump(mode="json")}


_INTO = "consolidated into "


def consolidated(kept: str, proposal: str) -> str:
    """Why a job is cancelled beside one that does the same. `oppen` alone says so: a person's reason has a name before it."""
    return f"{_INTO}{kept}, which trains the same on the same data ({proposal})"


class Followed(Frozen):
    """One look at a training job."""

    verification: Verification
    candidate: str | None = None
    """The version that it made."""
    merged: bool = False
    """Another job makes what it would have made; which, the verification says."""


def follow(job: JobState, usage: Usage | None, versions: tuple[ModelVersion, ...], now: datetime) -> Followed:
    """`versions`: of the model, newest first."""
    measures = tuple(_measures(usage)) if usage is not None else ()
    if not job.final:
        return Followed(
            verification=Verification(status=Status.WAITING, reason=standing_of(job, "training"), measures=measures, at=now)
        )
    if job.phase is Phase.FAILED and job.reason is Reason.CANCELLED and job.detail.startswith(_INTO):
        why = f"The training was {job.detail}."
        return Followed(verification=Verification(status=Status.HOLDS, reason=why, measures=measures, at=now), merged=True)
    if job.phase is Phase.FAILED:
        why = f"The training failed: {failure_of(job)}."
        return Followed(verification=Verification(status=Status.FAILED, reason=why, measures=measures, at=now))
    made = made_by(job.name, versions)
    if made is None:
        why = f"The training ended well but registered no version of {job.model} with the tag {JOB_TAG}={job.name}."
        return Followed(verification=Verification(status=Status.FAILED, reason=why, measures=measures, at=now))
    took = f" in {_seconds(job.ended_at - job.started_at)}" if job.ended_at and job.started_at else ""
    held = f"The training has made version {made}{took}."
    return Followed(verification=Verification(status=Status.HOLDS, reason=held, measures=measures, at=now), candidate=made)


def made_by(job: str, versions: tuple[ModelVersion, ...]) -> str | None:
    """The newest version with the tag of that job."""
    return next((each.version for each in versions if each.tags.get(JOB_TAG) == job), None)


def forgotten(name: str, made: str, now: datetime) -> Followed:
    """Of a job that nobody knows any more, and the version that it has left."""
    held = f"The training has made version {made}; its job {name} has ended too long ago to be asked about."
    return Followed(verification=Verification(status=Status.HOLDS, reason=held, at=now), candidate=made)


def _measures(usage: Usage) -> list[Measure]:
    known = (
        ("wall_seconds", usage.wall_seconds, "s"),
        ("cpu_seconds", usage.cpu_seconds, "s"),
        ("gpu_seconds", usage.gpu_seconds or None, "s"),
        ("peak_memory", usage.peak_memory_bytes, "bytes"),
    )
    return [Measure(name=name, value=value, unit=unit, needed=False) for name, value, unit in known if value is not None]


def standing_of(job: JobState, what: str) -> str:
    if job.phase is Phase.PENDING:
        held = f": {job.reason.value.replace('_', ' ')}" if job.reason is not None else ""
        return f"Waiting to start{held}."
    if job.progress is None:
        return f"The {what} runs."
    eta = f", about {job.progress.eta_seconds:.0f} s to go" if job.progress.eta_seconds is not None else ""
    return f"The {what} is at {job.progress.fraction:.0%}{eta}."


def failure_of(job: JobState) -> str:
    """In words, behind a colon."""
    detail = f" ({job.detail})" if job.detail else ""
    match job.reason:
        case Reason.OUT_OF_MEMORY:
            return f"it ran out of memory{detail}: give it more by policy, or less data"
        case Reason.DEADLINE:
            return f"it was not done by its deadline{detail}"
        case Reason.CANCELLED:
            return f"it was cancelled{detail}"
        case Reason.IMAGE_PULL:
            return f"its image could not be had{detail}"
        case Reason.UNSCHEDULABLE:
            return f"no machine has what it asks for{detail}"
        case Reason.EVICTED:
            return f"its node needed the room{detail}"
        case Reason.LOST:
            return f"what ran it was lost{detail}"
        case Reason.EXIT_CODE | None:
            return f"its command ended with code {job.exit_code}{detail}"


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():,.0f} s"
