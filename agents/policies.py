"""The policy tree: what is acceptable, who must agree, when nothing may change. Data, not code.

The defaults below are the documentation: each number carries its reason. An installation overrides them in YAML
(`infra/policies/`), per model where that is allowed; `Policies.version` is the hash of the whole and is written into every
judgement, so that it can be told later under which rules something was allowed.
"""

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.actions import Risk
from tools.values import Frozen, Instant

Share = Annotated[float, Field(ge=0, le=1)]


class Mode(StrEnum):
    OBSERVE = "observe"
    """Look only: nothing is carried out, not even what was approved."""
    PROPOSE = "propose"
    """Ask a person for everything that changes anything."""
    ACT = "act"
    """Policy decides what is asked and what is done at once."""


class Slo(Frozen):
    """What a model owes its users. None: no promise of that kind."""

    min_accuracy: Share | None = None
    max_error_rate: Share | None = 0.01
    max_latency_p99_ms: Annotated[float, Field(gt=0)] | None = 250.0


class Intake(Frozen):
    debounce: timedelta = timedelta(seconds=15)
    """An alert that resolves itself within this time opens no investigation; below it, most flapping we saw had ended."""
    debounce_critical: timedelta = timedelta(0)
    """Critical alerts are looked at straight away."""


class Investigation(Frozen):
    window: timedelta = timedelta(hours=6)
    """How far back 'now' reaches."""
    season: timedelta = timedelta(days=1)
    """'Before' is the same hours this much earlier, so that the daily rhythm cancels out."""
    min_predictions: int = Field(default=100, ge=1)
    """Below it a rate or a distribution is not compared."""
    min_labels: int = Field(default=100, ge=1)
    """Below it no accuracy is claimed: at 100 labels the standard error is already up to 5 points."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Two-sided level at which a difference of two shares counts, beside its size."""
    min_accuracy_drop: Share = 0.02
    """Smaller drops are not worth waking anyone."""
    min_psi: Annotated[float, Field(gt=0)] = 0.2
    """The usual reading of the population stability index: above 0.2 the population has moved."""
    min_null_rise: Share = 0.05
    latency_factor: Annotated[float, Field(gt=1)] = 1.5
    volume_factor: Annotated[float, Field(gt=1)] = 2.0
    min_separation: Share = 0.15
    """Two leading hypotheses closer than this are not told apart: the finding says `unresolved`."""


class Approval(Frozen):
    expires_after: timedelta = timedelta(hours=1)
    """An unanswered question grows stale: the world it was asked about has moved."""
    quorum: dict[Risk, Annotated[int, Field(ge=1, le=10)]] = Field(
        default_factory=lambda: {Risk.NONE: 1, Risk.LOW: 1, Risk.MEDIUM: 1, Risk.HIGH: 2}
    )
    automatic: frozenset[Risk] = frozenset({Risk.NONE})
    """Risks that are carried out without asking in mode `act`."""
    four_eyes: bool = True
    """Whoever asked for an action, or edited it, does not approve it."""


class Freeze(Frozen):
    """A time in which nothing is changed; an emergency risk at or below `except_up_to` may still be asked for."""

    name: str
    start: Instant
    end: Instant
    models: frozenset[str] = frozenset()
    """Empty: all."""
    except_up_to: Risk = Risk.NONE

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end: a freeze ends after it starts")
        return self


class Verification(Frozen):
    settle: timedelta = timedelta(minutes=5)
    """Traffic right after a change is not judged."""
    deadline: timedelta = timedelta(hours=24)
    """When the SLO is not confirmed by then, the undo is proposed. Labels of a day's traffic have come by then."""
    recheck: timedelta = timedelta(minutes=15)
    """How often it is looked at until then."""
    min_labels: int = Field(default=100, ge=1)
    min_predictions: int = Field(default=50, ge=1)
    hold: timedelta = timedelta(minutes=30)
    """Operational SLOs (errors, latency) must have held this long."""


class ModelPolicy(Frozen):
    """What is particular to one model; what is not set falls back to the whole tree's."""

    slo: Slo | None = None
    allow_pickle: bool = False
    owners: tuple[str, ...] = ()
    max_workers: int = Field(default=8, ge=1)


class Policies(Frozen):
    mode: Mode = Mode.PROPOSE
    """The mode of a fresh installation; afterwards `PUT /v1/autonomy` says."""
    intake: Intake = Intake()
    investigation: Investigation = Investigation()
    approval: Approval = Approval()
    verification: Verification = Verification()
    freezes: tuple[Freeze, ...] = ()
    slo: Slo = Slo()
    models: dict[str, ModelPolicy] = Field(default_factory=dict)
    notify_channel: str = "ops"

    @property
    def version(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def slo_of(self, model: str) -> Slo:
        own = self.models.get(model)
        return own.slo if own is not None and own.slo is not None else self.slo

    def model(self, name: str) -> ModelPolicy:
        return self.models.get(name, ModelPolicy())
