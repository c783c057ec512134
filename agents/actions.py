"""The closed catalogue of what OPPEN can do to the world, and the state that each was decided on.

`graphs/execution.py` matches over `Action` exhaustively: a new member does not type-check until someone has decided how it
acts, how it is undone, what its risk is (`agents/risks.py`), and which runbook explains it.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from agents.cost.quantization_rules import Margins
from agents.experiment_plans import Plan
from agents.promotion_rules import MOST_STAGES, Experiments, Judging, Stage
from tools.costs.port import Pricing
from tools.leftovers import Leftover
from tools.values import Frozen, Instant, LeftOut, Window

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Rollback(Frozen):
    """Give the champion alias and all traffic of `model` back from `from_version` to `to_version`."""

    kind: Literal["rollback"] = "rollback"
    model: Name
    from_version: Name
    to_version: Name


class Scale(Frozen):
    """Let `workers` batches of `model` be computed at once, instead of `from_workers`."""

    kind: Literal["scale"] = "scale"
    model: Name
    from_workers: int = Field(ge=1, le=1024)
    workers: int = Field(ge=1, le=1024)


class Retrain(Frozen):
    """Train a successor of `version` on the model's data of a window; what serves stays as it is."""

    kind: Literal["retrain"] = "retrain"
    model: Name
    version: Name
    window_start: Instant
    window_end: Instant
    """The first moment that is not in it any more."""
    expected_gain: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Accuracy that is to be won back, as a share of 1; None where it cannot be told."""
    expected_seconds: Annotated[float, Field(ge=0)] | None = None
    """What the training of `version` took; None where that is not on record."""
    left_out: tuple[LeftOut, ...] = ()
    """Quarantined data within the window: rows of these stretches are not learnt from, whichever features it is for."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.window_end <= self.window_start:
            raise ValueError("window_end: a window ends after it starts")
        return self


class QuarantineData(Frozen):
    """Keep the data of `model` from a window, and neither learn from it nor compare with it until it is released."""

    kind: Literal["quarantine_data"] = "quarantine_data"
    model: Name
    window_start: Instant
    window_end: Instant
    """The first moment that is not in it any more."""
    features: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    """Only these, and the answers that were made from them; empty: all of it."""

    @property
    def window(self) -> Window:
        return Window(start=self.window_start, end=self.window_end)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.window_end <= self.window_start:
            raise ValueError("window_end: a window ends after it starts")
        return self


class ReleaseData(Frozen):
    """Let the data of a quarantine be learnt from and compared with again."""

    kind: Literal["release_data"] = "release_data"
    model: Name
    quarantine: Name
    """Its id."""
    window_start: Instant
    window_end: Instant
    features: Annotated[tuple[Name, ...], Field(max_length=100)] = ()

    @property
    def window(self) -> Window:
        return Window(start=self.window_start, end=self.window_end)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.window_end <= self.window_start:
            raise ValueError("window_end: a window ends after it starts")
        return self


_ROUNDING = 1e-9


class StartRollout(Frozen):
    """Give `version` more and more of the traffic of champion `from_version`, stage by stage.

    Approving it approves the stages, by what the canary is judged, that it is taken back as soon as it fails, and that it
    becomes champion once it has held through all of them.
    """

    kind: Literal["start_rollout"] = "start_rollout"
    model: Name
    from_version: Name
    version: Name
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=MOST_STAGES)]
    slow_ms: Annotated[float, Field(gt=0)] | None = None
    """An answer that takes longer counts as slow; None: it is not looked at how long they take."""
    judging: Judging | None = None
    """Guardrails, levels and rules for labels of policy when it was proposed: each look judges by them. None: it was proposed
    before they were kept with it, and each look judges by the policy of its day."""
    weighed: Margins | None = None
    """Where it is a shadow first, it also has to pay as INT8 of `from_version` on the requests that it got copies of, by these.
    None: it is no such version, or no shadow."""

    @model_validator(mode="after")
    def _growing(self) -> Self:
        weights = [stage.weight for stage in self.stages]
        if weights != sorted(set(weights)) or weights[-1] != 1:
            raise ValueError("stages: each gives the challenger more traffic than the one before, and the last one all of it")
        mirrored = [stage.mirror for stage in self.stages]
        if any(abs(100 * part - round(100 * part)) > _ROUNDING for part in (*weights, *mirrored)):
            raise ValueError("stages: traffic is given in whole percents")
        return self


class AbortRollout(Frozen):
    """End the rollout of `version`: champion `to_version` has all the traffic again."""

    kind: Literal["abort_rollout"] = "abort_rollout"
    model: Name
    version: Name
    to_version: Name
    blind: bool = False
    """The registry does not answer: who is champion is not looked at, and no alias is touched. `to_version` is the one that the
    rollout began beside, which still serves."""


class Promote(Frozen):
    """Make `version` champion in place of `from_version`, with all the traffic."""

    kind: Literal["promote"] = "promote"
    model: Name
    from_version: Name
    version: Name
    beside: Annotated[tuple[Name, ...], Field(max_length=10)] = ()
    """The other treatments of the experiment that it has won: their shares end with it."""


class StartExperiment(Frozen):
    """Split the entities of `model` over champion `from_version`, the control, and other versions, each staying with its arm.

    Approving it approves the arms, by what it is judged, and that the control has all the traffic again however it ends; that
    a winner becomes champion is asked by itself.
    """

    kind: Literal["start_experiment"] = "start_experiment"
    model: Name
    from_version: Name
    plan: Plan
    rules: Experiments
    """Of policy when it was proposed: each look judges by them."""

    @property
    def weights(self) -> dict[str, int]:
        return self.plan.weights(self.from_version)

    @property
    def versions(self) -> tuple[str, ...]:
        """Of the treatments."""
        return tuple(each.version for each in self.plan.treatments)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.from_version in self.versions:
            raise ValueError("plan.treatments: the champion is the control already")
        return self


class StopExperiment(Frozen):
    """End the experiment: champion `to_version`, the control, has all the traffic again."""

    kind: Literal["stop_experiment"] = "stop_experiment"
    model: Name
    versions: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10)]
    """Of its treatments."""
    to_version: Name
    blind: bool = False
    """The registry does not answer: who is champion is not looked at. `to_version` is the control, which still serves."""


class Quantize(Frozen):
    """Find out what `version` of `model` is worth in INT8: a job makes it and measures it beside the original.

    Approving it approves the experiment. That the INT8 version gets traffic is asked by itself, where it pays.
    """

    kind: Literal["quantize"] = "quantize"
    model: Name
    version: Name


class ConsolidateTraining(Frozen):
    """Of trainings of `model` that are the same twice, let `kept` go on and cancel the others. All are names of jobs."""

    kind: Literal["consolidate_training"] = "consolidate_training"
    model: Name
    kept: Name
    cancelled: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.kept in self.cancelled:
            raise ValueError("cancelled: not the one that is kept")
        if len(set(self.cancelled)) < len(self.cancelled):
            raise ValueError("cancelled: each job once")
        return self


class SetBatching(Frozen):
    """Compute up to `rows` of `model` together, and let a batch that is not full wait up to `wait_ms` for more."""

    kind: Literal["set_batching"] = "set_batching"
    model: Name
    from_rows: int = Field(ge=1, le=4096)
    from_wait_ms: float = Field(ge=0, le=1000)
    rows: int = Field(ge=1, le=4096)
    wait_ms: float = Field(ge=0, le=1000)


class MoveToSpot(Frozen):
    """Buy the trainings of `model` as `pricing` from now on: spot, or standard again."""

    kind: Literal["move_to_spot"] = "move_to_spot"
    model: Name
    from_pricing: Pricing = Pricing.STANDARD
    pricing: Pricing = Pricing.SPOT


class ExpireArtifacts(Frozen):
    """Discard exactly these files of `model`: of versions, and what jobs have left. What is another thing by now stays."""

    kind: Literal["expire_artifacts"] = "expire_artifacts"
    model: Name
    items: Annotated[tuple[Leftover, ...], Field(min_length=1, max_length=500)]


class RestoreArtifacts(Frozen):
    """Put back what was discarded, as far as it is still put aside."""

    kind: Literal["restore_artifacts"] = "restore_artifacts"
    model: Name
    items: Annotated[tuple[Leftover, ...], Field(min_length=1, max_length=500)]


class Notify(Frozen):
    """Tell the people on `channel`; changes nothing else."""

    kind: Literal["notify"] = "notify"
    channel: Name
    title: Annotated[str, Field(min_length=1, max_length=300)]
    body: Annotated[str, Field(max_length=20_000)]
    severity: Literal["info", "warning", "critical"] = "warning"


class NoAction(Frozen):
    """Do nothing, on purpose and on record."""

    kind: Literal["no_action"] = "no_action"
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


Catalogue = (
    Rollback
    | Scale
    | Retrain
    | StartRollout
    | AbortRollout
    | Promote
    | StartExperiment
    | StopExperiment
    | QuarantineData
    | ReleaseData
    | Quantize
    | ConsolidateTraining
    | SetBatching
    | MoveToSpot
    | ExpireArtifacts
    | RestoreArtifacts
    | Notify
    | NoAction
)
Action = Annotated[Catalogue, Field(discriminator="kind")]
ACTION: TypeAdapter[Catalogue] = TypeAdapter(Action)


CHANGES_NOTHING = (Notify, NoAction)
"""What leaves the serving of models as it is, and so is allowed in every mode."""


OPTIMIZES = (Quantize, ConsolidateTraining, SetBatching, MoveToSpot, ExpireArtifacts, RestoreArtifacts)
"""What is done to save money: verified by the ledger, and part of nothing else."""


class Risk(StrEnum):
    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """For comparing: as strings, `high` would come before `low`."""
        return tuple(Risk).index(self)


class WorldState(Frozen):
    """What was true of the subject when an action was decided; it is part of the fingerprint, so an approval binds to it."""

    champion: str | None = None
    route_generation: int | None = None
    weights: dict[str, int] = Field(default_factory=dict)
    workers: int | None = None
    quarantined: tuple[str, ...] | None = None
    """Ids of the quarantines in force that overlap the window; None: it is not about data."""
    mirrors: bool | None = None
    """Whether what moves the traffic can copy requests to a shadow; None: none is asked for."""
    running: tuple[str, ...] | None = None
    """Which of the jobs that it is about have not ended, by name; None: it is about none."""
    batching: dict[str, float] | None = None
    """`rows`, `wait_ms` and `generation` in force; None: it is not about batches."""
    buying: Pricing | None = None
    """How trainings are bought; None: it is not about that."""
    artifacts: tuple[str, ...] | None = None
    """What it is about and is there as it was listed, as `kind:name:seen`; None: it is about no files."""
    protected: tuple[str, ...] | None = None
    """Versions that carry an alias, have traffic, or were champion before; None: it is about no files."""
