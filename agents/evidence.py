"""Measured values, and what they say about causes."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from agents.actions import Action
from tools.values import Frozen, Instant, Window


class Evidence(Frozen):
    """One measured value with all that is needed to check it again."""

    id: str
    """Stable within a finding, e.g. `accuracy.v2.now`; hypotheses refer to it."""
    statement: str
    """One sentence with the numbers in it."""
    source: Literal["registry", "serving", "predictions", "telemetry", "jobs", "alert", "costs"]
    query: str
    value: float | str | None
    unit: str = ""
    limit: float | None = None
    sample_size: int | None = None
    window: Window | None = None
    link: str = ""


class Missing(Frozen):
    """A source that could not be read. An investigation goes on without it, and says so."""

    source: str
    reason: str


class Cause(StrEnum):
    MODEL_REGRESSION = "model_regression"
    DATA_DRIFT = "data_drift"
    DATA_QUALITY = "data_quality"
    LABEL_SHIFT = "label_shift"
    CONCEPT_DRIFT = "concept_drift"
    SEASONALITY = "seasonality"
    INFRASTRUCTURE = "infrastructure"
    TRAFFIC_CHANGE = "traffic_change"
    LABELS = "labels"
    CANDIDATE_BETTER = "candidate_better"
    CANDIDATE_WORSE = "candidate_worse"
    CANDIDATE_UNPROVEN = "candidate_unproven"
    CANDIDATE_CHEAPER = "candidate_cheaper"
    """As good as the champion, within what policy allows, and cheaper to serve."""
    HEAVY_MODEL = "heavy_model"
    DUPLICATE_TRAINING = "duplicate_training"
    IDLE_CAPACITY = "idle_capacity"
    SMALL_BATCHES = "small_batches"
    FULL_PRICE = "full_price"
    STALE_ARTIFACTS = "stale_artifacts"
    PRICE_CHANGE = "price_change"
    FALSE_ALARM = "false_alarm"
    UNRESOLVED = "unresolved"


COSTS = frozenset(
    {
        Cause.HEAVY_MODEL,
        Cause.DUPLICATE_TRAINING,
        Cause.IDLE_CAPACITY,
        Cause.SMALL_BATCHES,
        Cause.FULL_PRICE,
        Cause.STALE_ARTIFACTS,
        Cause.PRICE_CHANGE,
    }
)
"""Why something costs what it does: found in the ledger, by the cost specialist."""


class Hypothesis(Frozen):
    cause: Cause
    score: float = Field(ge=0, le=1)
    """How well the evidence supports it, comparable within one finding only; not a probability."""
    reason: str
    supporting: tuple[str, ...] = ()
    """Ids of evidence for it."""
    against: tuple[str, ...] = ()


class Finding(Frozen):
    """The hypotheses in order of score. `cause` is the first one's, or `unresolved` when the evidence does not part them."""

    cause: Cause
    summary: str
    hypotheses: tuple[Hypothesis, ...]
    evidence: tuple[Evidence, ...]
    missing: tuple[Missing, ...] = ()
    model: str | None = None
    version: str | None = None
    """The version that the finding blames or speaks of."""
    previous_version: str | None = None
    """The champion before it, where there is one to go back to."""
    examined: tuple[str, ...] = ()
    """Versions that a job of the platform's own has evaluated beside the champion, on rows that they have not learnt from, and
    whose files have passed all checks that policy needs. How good they are is another matter."""
    assessed_at: Instant


class Recommendation(Frozen):
    """What a specialist wants done about its finding, before policy has looked at it."""

    finding: Finding
    action: Action
    reason: str
