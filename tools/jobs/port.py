"""What the platform asks of whatever runs training jobs: each job once, by its key, and what came of it.

What a job's command finds, on every backend:

- its environment is what the spec gives and nothing else but `OPPEN_JOB` (the name), `OPPEN_JOB_CONFIG` (a folder with the
  spec's files, read-only), `OPPEN_JOB_CHECKPOINTS` (a folder that its next attempt finds again), `OPPEN_JOB_USAGE` (a file that
  it may leave `{"cpu_seconds", "peak_memory_bytes"}` in, for backends that do not measure), `CUDA_VISIBLE_DEVICES` (its GPUs,
  where no container chooses them) and a minimal `PATH`, `HOME`, `TMPDIR`, `LANG`;
- a line of its output that is a JSON object with `progress` (0 to 1), perhaps `text` and `eta_seconds`, tells its progress;
- told to stop it gets SIGTERM, and SIGKILL after the spec's `grace`.
"""

import hashlib
import json
import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field, StringConstraints, ValidationError, model_validator

from tools.costs.port import Pricing
from tools.leftovers import Discarded, Leftover
from tools.values import Frozen, Instant, Window

JOB_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label: what `job_name` makes, and what a cluster would take."""
_NAME_SLUG = 28
WINDOW = ("OPPEN_WINDOW_START", "OPPEN_WINDOW_END")
"""Variables of a job's environment that say which stretch of data it learns from, in RFC 3339."""
_OF_THE_DATA = {*WINDOW, "OPPEN_HELD_OUT_START"}
_OF_THE_RUN = {"proposal", "reason", "window_start", "window_end", "held_out_start", "prices"}
"""Of a config file that is a JSON object: who asked, for which stretch of data, at whose prices. The rest (what is left out of
the data, which version it is held against) is part of what is made."""
_CONFIG_BYTES = 900_000
"""A ConfigMap holds 1 MiB at most, names and quoting included."""

MIB = 1024 * 1024


class Phase(StrEnum):
    PENDING = "pending"
    """Accepted; nothing of it runs yet. `reason` then says what holds it up, where something does."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a job failed, or what keeps it pending. Each asks for another answer, so they are told apart."""

    OUT_OF_MEMORY = "out_of_memory"
    """It used more than `memory_bytes`: give it more, or less data."""
    EVICTED = "evicted"
    """The node needed the room: submit it again, nothing is wrong with it."""
    IMAGE_PULL = "image_pull"
    UNSCHEDULABLE = "unschedulable"
    """No machine has what it asks for."""
    DEADLINE = "deadline"
    EXIT_CODE = "exit_code"
    """The command ended with `exit_code`; 128 + n after signal n."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """What ran it died or forgot it, and no attempt is left."""


class Resources(Frozen):
    """What is reserved for a job, and what it may not exceed."""

    cpu: float = Field(gt=0, le=1024, description="cores")
    memory_bytes: int = Field(ge=16 * MIB)
    gpus: int = Field(default=0, ge=0, le=64)


VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*$", max_length=253)]


class JobSpec(Frozen):
    """One job, as it is submitted. Two specs are the same job only if every field agrees."""

    model: str = Field(min_length=1, max_length=200)
    team: str = Field(min_length=1, max_length=63, description="who pays")
    run_id: str = Field(min_length=1, max_length=100, description="the run that asked for it, for lineage")
    image: str | None = Field(default=None, max_length=500)
    """Where containers run it; None is the backend's own. A backend without containers does not look at it."""
    command: tuple[str, ...] = Field(min_length=1)
    environment: dict[VariableName, str] = Field(default_factory=dict)
    """Public: it is stored and shown. Secrets are named in `secrets`."""
    secrets: frozenset[VariableName] = frozenset()
    """Variables whose values the backend holds, and which the command gets without their being written anywhere."""
    config: dict[FileName, str] = Field(default_factory=dict)
    """Files by name."""
    resources: Resources
    deadline: timedelta
    """From its first start or its submission, whichever the backend counts from, over all attempts."""
    retries: int = Field(default=0, ge=0, le=10)
    """Further attempts after one that failed by itself, ran out of memory, or was lost."""
    grace: timedelta = timedelta(seconds=30)
    keep: timedelta = timedelta(days=1)
    """How long it can be asked about after its end."""
    pricing: Pricing = Pricing.STANDARD
    """How its capacity is bought. Spot: it may be taken away at any moment, and the next attempt begins elsewhere, so only
    for a command that goes on from its checkpoints. No part of what the job is: a repetition finds it however it was bought."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not timedelta(seconds=1) <= self.deadline <= timedelta(days=30):
            raise ValueError("deadline: between one second and 30 days")
        if not timedelta(0) < self.grace <= timedelta(hours=1):
            raise ValueError("grace: above zero, and an hour at most")
        if not timedelta(0) <= self.keep <= timedelta(days=365):
            raise ValueError("keep: between zero and 365 days")
        if not self.command[0] or any("\0" in word for word in self.command):
            raise ValueError("command: its first word is a program, and no word holds a NUL")
        if self.pricing is Pricing.COMMITTED:
            raise ValueError("pricing: standard or spot; what is committed is bought for longer than a job")
        if reserved := sorted(name for name in {*self.environment, *self.secrets} if name.startswith("OPPEN_JOB")):
            raise ValueError(f"environment: {', '.join(reserved)} is set by the backend")
        if twice := sorted(self.secrets & self.environment.keys()):
            raise ValueError(f"secrets: {', '.join(twice)} is in environment too")
        if sum(len(name) + len(text.encode()) for name, text in self.config.items()) > _CONFIG_BYTES:
            raise ValueError(f"config: more than {_CONFIG_BYTES} bytes; larger things belong into the lake or the registry")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every field but `pricing`, in one spelling."""
        said = self.model_dump(mode="json", exclude={"pricing"}) | {"secrets": sorted(self.secrets)}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def work(self) -> str:
        """What is done, on whichever stretch of data and for whoever asks: 64 bits of the SHA-256 of image, command, and the
        rest of environment and config. Two jobs of a model with the same `work` and the same `data` make the same twice."""
        environment = {name: value for name, value in self.environment.items() if name not in _OF_THE_DATA}
        config = {name: _lasting(text) for name, text in self.config.items()}
        said = {"image": self.image, "command": self.command, "environment": environment, "config": config}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def data(self) -> Window | None:
        """What it learns from, where its environment says so."""
        try:
            return Window.model_validate({"start": self.environment[WINDOW[0]], "end": self.environment[WINDOW[1]]})
        except (KeyError, ValidationError):
            return None


def _lasting(text: str) -> object:
    """Of a config file, without what each run says anew."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    return {name: value for name, value in said.items() if name not in _OF_THE_RUN} if isinstance(said, dict) else text


class Progress(Frozen):
    """As the job itself says."""

    fraction: float = Field(ge=0, le=1)
    text: str = Field(default="", max_length=300)
    eta_seconds: float | None = Field(default=None, ge=0)


class JobState(Frozen):
    name: str
    model: str
    team: str
    run_id: str
    phase: Phase
    reason: Reason | None = None
    detail: str = Field(default="", max_length=1000)
    exit_code: int | None = None
    attempts: int = Field(default=0, ge=0)
    progress: Progress | None = None
    submitted_at: Instant
    started_at: Instant | None = None
    ended_at: Instant | None = None
    work: str = ""
    """Of its spec; empty where it was submitted before that was kept."""
    data: Window | None = None
    """Of its spec: the stretch of data that it learns from, where its environment says so."""
    pricing: Pricing = Pricing.STANDARD
    """How it was bought."""
    interruptions: int = Field(default=0, ge=0)
    """Attempts that ended because their machine was taken away or lost, as far as they are still on record."""

    @property
    def final(self) -> bool:
        return self.phase in {Phase.SUCCEEDED, Phase.FAILED}


class Usage(Frozen):
    """What a job has used so far, over all attempts. None: nobody measured it there (which is not zero)."""

    wall_seconds: float = Field(ge=0)
    """While an attempt ran; waiting is not counted."""
    gpu_seconds: float = Field(ge=0)
    """GPUs held, times `wall_seconds`."""
    cpu_seconds: float | None = Field(default=None, ge=0)
    peak_memory_bytes: int | None = Field(default=None, ge=0)
    reserved: Resources | None = None
    """What it holds while it runs, whether it uses it or not: what it costs by. None: that is not known any more."""


class Buying(Frozen):
    """How the trainings of a model are bought, and how they could be."""

    pricing: Pricing
    offered: tuple[Pricing, ...]


def job_name(key: str) -> str:
    """The one job of a key, as a DNS label: readable, told apart by 64 bits of its SHA-256. Raises ValueError for no key."""
    if not key.strip():
        raise ValueError("key: it names the job, so it cannot be empty")
    slug = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:_NAME_SLUG].strip("-")
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"oppen-{slug}-{digest}" if slug else f"oppen-{digest}"


@runtime_checkable
class JobsReader(Protocol):
    """A name that no job has, or has no longer, is a PermanentError everywhere."""

    async def ping(self) -> None: ...

    async def jobs(self, *, model: str | None = None) -> tuple[JobState, ...]:
        """Newest first, without their progress."""
        ...

    async def state(self, name: str) -> JobState: ...

    def watch(self, name: str) -> AsyncGenerator[JobState]:
        """The state of now, then every state that differs, up to and with a final one. States in between may be left out."""
        ...

    def logs(self, name: str, *, tail: int | None = None, follow: bool = False) -> AsyncGenerator[str]:
        """Lines of its latest attempt, without their ends: the last `tail` of them, or as far back as they are kept.

        `follow`: and those to come, until it ends. Empty when nothing has run yet and nothing is followed.
        """
        ...

    async def usage(self, name: str) -> Usage: ...

    async def leftovers(self, model: str) -> tuple[Leftover, ...]:
        """Checkpoints and logs of its jobs that have ended, as far as the backend keeps them itself."""
        ...

    async def buying(self, model: str) -> Buying:
        """With what `pricing` a training of the model is to be submitted."""
        ...


@runtime_checkable
class Jobs(JobsReader, Protocol):
    async def submit(self, key: str, spec: JobSpec) -> JobState:
        """The job `job_name(key)`. Repeating it returns the job as it is, also after a crash in between, and also when it has
        ended; Conflict when the key stands for another spec. Once `keep` is over the key is free again."""
        ...

    async def cancel(self, name: str, *, reason: str) -> JobState:
        """Asks it to end, and returns without waiting for that. What has ended stays as it is; repeating it changes nothing."""
        ...

    async def set_buying(self, model: str, pricing: Pricing, *, expected: Pricing, key: str) -> Buying:
        """For trainings that are submitted from now on. Repeating a `key` changes nothing and returns what is so now; Conflict
        when it is not `expected`; PermanentError for what is not offered."""
        ...

    async def discard(self, item: Leftover) -> Discarded:
        """Put it aside; repeating it changes nothing. Looked at right before: Conflict for a job that has not ended, or is not
        the one that was listed; PermanentError where the backend keeps no such thing."""
        ...

    async def restore(self, item: Leftover) -> None:
        """What is there is left as it is; PermanentError for what is gone for good."""
        ...
