"""The policy tree: what is acceptable, who must agree, when nothing may change. Data, not code.

The defaults below are the documentation: each number carries its reason. An installation overrides them in YAML
(`infra/policies/`), per model where that is allowed; `Policies.version` is the hash of the whole and is written into every
judgement, so that it can be told later under which rules something was allowed.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, ValidationError, field_validator, model_validator

from agents.actions import Risk
from agents.cost.optimization_rules import Optimizations
from agents.cost.quantization_rules import QuantizationRules
from agents.cost.rules import CostSignals
from agents.drift.rules import DriftRules
from agents.evaluation_job import EvaluationJob, without_the_key
from agents.promotion_rules import Evaluations, Experiments, Rollouts
from agents.schedules import known as cron_known
from tools.faults import faults
from tools.jobs.prices import Prices
from tools.values import Duration, Frozen, Instant, Share

# A set has no order of its own, and that of strings differs from process to process: unsorted, so would the hash.
Models = Annotated[frozenset[str], PlainSerializer(sorted, when_used="json")]
Risks = Annotated[frozenset[Risk], PlainSerializer(sorted, when_used="json")]


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
    debounce: Duration = timedelta(seconds=15)
    """An alert that resolves itself within this time opens no investigation; below it, most flapping we saw had ended."""
    debounce_critical: Duration = timedelta(0)
    """Critical alerts are looked at straight away."""
    hold_escalated: Duration = timedelta(hours=4)
    """For so long an incident that was handed to people takes in what else fires about its subject, unless that is more severe
    or everything has resolved since: they know, and are not asked again at each repeat (Alertmanager's default interval)."""
    model_labels: tuple[str, ...] = ("model", "model_name", "registered_model")
    """Labels (then annotations) that name the model an alert speaks of; the first that is there counts."""
    version_labels: tuple[str, ...] = ("version", "model_version")
    """The same for its version; where it is one of the two of a rollout, it counts for or against that rollout."""
    component_labels: tuple[str, ...] = ("component", "service", "job", "instance")
    """What an alert without a model speaks of."""


class Investigation(Frozen):
    window: Duration = timedelta(hours=6)
    """How far back 'now' reaches."""
    season: Duration = timedelta(days=1)
    """'Before' is the same hours this much earlier, so that the daily rhythm cancels out."""
    min_predictions: int = Field(default=100, ge=1)
    """Below it a rate or a distribution is not compared."""
    min_labels: int = Field(default=100, ge=1)
    """Below it no accuracy is claimed: at 100 labels the standard error is already up to 5 points."""
    min_slice_labels: int = Field(default=30, ge=1)
    """The same for one slice of the traffic; all slices together are held to `significance`."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Two-sided level at which a difference of two shares counts, beside its size."""
    min_accuracy_drop: Share = 0.02
    """Smaller drops are not worth waking anyone."""
    min_mae_rise: Annotated[float, Field(gt=0)] = 0.1
    """The same for regression models: by which share the mean absolute error has to grow."""
    min_error_rise: Share = 0.01
    """Smaller rises of the error rate are noise of clients and networks."""
    min_psi: Annotated[float, Field(gt=0)] = 0.2
    """The usual reading of the population stability index: above 0.2 the population has moved."""
    usual_factor: Annotated[float, Field(ge=1)] = 1.5
    """An input that moves from one season to the next anyway (weather does) has to move this many times more than that."""
    min_null_rise: Share = 0.05
    """Rise of the share of nulls, or of values never seen before, that is a fault of the data."""
    latency_factor: Annotated[float, Field(gt=1)] = 1.5
    min_latency_rise_ms: Annotated[float, Field(ge=0)] = 25.0
    """A smaller rise nobody notices, by whatever factor."""
    volume_factor: Annotated[float, Field(gt=1)] = 2.0
    high_utilisation: Share = 0.85
    """Above it, waiting for a free worker makes up most of the latency."""
    min_score: Share = 0.4
    """A leading hypothesis below it is not supported: the finding says `unresolved`."""
    min_separation: Share = 0.15
    """Two leading hypotheses closer than this are not told apart: the finding says `unresolved`."""
    lead: Duration = timedelta(minutes=15)
    """How long before an alert its trouble began: rules fire when it has lasted. From there on errors and latency are looked at
    by themselves; in a window of hours a quarter of an hour of failing drowns."""
    patience: Duration = timedelta(hours=2)
    """While its alerts are younger than this, what is unresolved is looked at again as more comes in: right after a release
    there are too few answers of the new version, and labels come later still. People are told meanwhile. 0s: never."""
    look_again: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(minutes=20)
    """How often, until then."""


class Drift(Frozen):
    """What a model's data is compared with, and how."""

    window: Duration = timedelta(days=1)
    """How far back 'current' reaches: a whole day, so that the hours cancel out."""
    reference: Duration = timedelta(days=28)
    """How far back before `window` the reference reaches: four whole weeks, so that the days cancel out."""
    season: Duration = timedelta(days=7)
    """The same hours, so much earlier, are what tells a rhythm from a drift; a week has both days and weekends."""
    seasons: int = Field(default=3, ge=0, le=12)
    in_a_row: int = Field(default=3, ge=1, le=100)
    """So many windows have to drift one after the other before anything is raised. Where they share most of their hours, one
    counts only if the inputs also moved in as many (at most three) of its latest stretches, that share nothing: one odd hour
    retrains no model (`graphs/lasting.py`)."""
    min_gain: Share = 0.01
    """Inputs that moved without costing so much accuracy retrain nothing."""
    max_quarantine: Duration = timedelta(days=7)
    """A longer stretch is no fault but what the data is like by now; without it there would be little left to compare with."""
    longest_window: Duration = timedelta(days=92)
    """What may be asked for at once: a quarter is counted in seconds, and a typing mistake of years is not counted at all."""
    rules: DriftRules = DriftRules()

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        for name in ("window", "reference", "season"):
            if not getattr(self, name):
                raise ValueError(f"{name}: has to be longer than nothing")
        for name in ("window", "reference"):
            if getattr(self, name) > self.longest_window:
                raise ValueError(f"{name}: has to be at most as long as longest_window")
        return self


Monitor = Literal["drift", "data_quality", "skew", "performance", "freshness"]
_ALL: tuple[Monitor, ...] = ("drift", "data_quality", "skew", "performance", "freshness")


class Monitors(Frozen):
    """What is looked at without anybody asking. What a monitor raises enters as any alert does."""

    enabled: tuple[Monitor, ...] = _ALL
    every: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=1)
    """Windows end at multiples of it. What was missed while the service was away is looked at once, not once for each."""
    max_silence: Duration = timedelta(hours=6)
    """A model that had traffic and got none for so long has lost it."""
    in_a_row: int = Field(default=2, ge=1, le=100)
    """So many windows raise an alert about traffic or promises, and so many take it back; drift and quality have their own."""
    repeat: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    """What is still bad is said again, as Alertmanager does: an incident that was closed opens again then, and one that is
    open, or still in people's hands, takes it in. Not more often: inputs that moved without harm stay so for weeks."""


CostMonitor = Literal["cost", "budget"]
DatasetMonitor = Literal["dataset_quality", "dataset_freshness"]


class Dataset(Frozen):
    """What a table of raw data is watched for: batches that are worse than those before, and batches that do not come."""

    enabled: tuple[DatasetMonitor, ...] = ("dataset_quality", "dataset_freshness")
    every: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=1)
    """How often it is looked at; ends at multiples of it, as windows of models do."""
    repeat: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    """What is still bad is raised again so often, as monitors of models do."""
    model: str = ""
    """The model that it feeds, whose incidents its alerts then are; empty: they are of the component `data:TABLE`."""
    history: int = Field(default=60, ge=10, le=1_000)
    """The latest batches, among which what is usual is found: after half of them a change has become usual."""
    min_history: int = Field(default=8, ge=3)
    """Batches before the judged ones; with fewer, one odd one among them is no exception yet."""
    in_a_row: int = Field(default=2, ge=1, le=20)
    """So many batches, one after the other, have to be worse in the same way: one odd batch wakes nobody."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How often a batch like those before may be called worse, over all that is looked at in it; twice in a row far more
    seldom. Beside the sizes below."""
    min_null_rise: Share = 0.05
    """Rise of the share of nulls in a column: as for the inputs of models."""
    min_bad_rise: Share = 0.02
    """Rise of the share of quarantined rows. Schemas refuse above 5 %, and who looks wants to know before."""
    min_rows_share: Share = 0.5
    """A batch of fewer than this share of the usual rows lacks something; holidays seldom take more than half."""
    min_level_shift: Annotated[float, Field(gt=0)] = 1.0
    """Of a column of numbers, in its usual deviations within a batch: beyond it most of the values are new ones."""
    spread_factor: Annotated[float, Field(gt=1)] = 2.0
    """So many times wider, or narrower, than usual."""
    min_new_share: Share = 0.05
    """Of the rows, with values that no batch had before."""
    max_age: Duration | None = None
    """Of the newest batch. None: by the table's own rhythm, `silence_factor` says how."""
    silence_factor: Annotated[float, Field(gt=1)] = 4.0
    """So many times the usual pause between batches is silence: a daily table may rest over a long weekend."""
    max_event_age: Duration | None = None
    """Of the newest event in it; None: only the arrival of batches is watched."""


class FeatureStore(Frozen):
    """How often features are computed and brought online."""

    every: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=1)
    """At multiples of it. Windows of the reference features end at full hours: more often brings online nothing new."""
    retry: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)
    """After a run that failed: one takes seconds of a core before it can fail."""


_QUORUM = {Risk.NONE: 1, Risk.LOW: 1, Risk.MEDIUM: 1, Risk.HIGH: 2}


class Metric(Frozen):
    """A number that an investigation asks the metrics system for; `$model` in the query stands for the model's name."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    promql: Annotated[str, Field(min_length=1, max_length=2_000)]
    kind: Literal["saturation", "other"] = "other"
    """Saturation: a share of 1 of something that runs out (CPU, memory, a queue's length of its limit)."""
    unit: str = ""


class Approval(Frozen):
    expires_after: Duration = timedelta(hours=1)
    """An unanswered question grows stale: the world it was asked about has moved."""
    holds_for: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=4)
    """How long after a yes it may still be carried out, should something be away meanwhile: after that it is asked anew. Half a
    working day, as a question that is asked in the morning is about the same day."""
    quorum: dict[Risk, Annotated[int, Field(ge=1, le=10)]] = Field(default_factory=lambda: dict(_QUORUM))
    """How many people must say yes; a risk that is left out keeps its default."""
    automatic: Risks = frozenset({Risk.NONE})
    """Risks that are carried out without asking in mode `act`."""
    four_eyes: bool = True
    """Whoever asked for an action, or edited it, does not approve it."""

    @model_validator(mode="before")
    @classmethod
    def _whole_quorum(cls, given: object) -> object:
        if isinstance(given, dict) and isinstance(given.get("quorum"), dict):
            return {**given, "quorum": {**{risk.value: count for risk, count in _QUORUM.items()}, **given["quorum"]}}
        return given


class Freeze(Frozen):
    """A time in which nothing is changed; an emergency risk at or below `except_up_to` may still be asked for."""

    name: str
    start: Instant
    end: Instant
    models: Models = frozenset()
    """Empty: all."""
    except_up_to: Risk = Risk.NONE

    def holds(self, model: str, now: datetime) -> bool:
        return self.start <= now < self.end and (not self.models or model in self.models)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end: a freeze ends after it starts")
        return self


class Verification(Frozen):
    settle: Duration = timedelta(minutes=5)
    """Traffic right after a change is not judged."""
    deadline: Duration = timedelta(hours=24)
    """When the SLO is not confirmed by then, the undo is proposed. Labels of a day's traffic have come by then."""
    recheck: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(minutes=15)
    """How often it is looked at until then."""
    min_labels: int = Field(default=100, ge=1)
    min_predictions: int = Field(default=50, ge=1)
    hold: Duration = timedelta(minutes=30)
    """Operational SLOs (errors, latency) must have held this long."""


class Training(Frozen):
    """What trains a model, and when nobody has to ask for it.

    The command is run as a job: what it finds and what it leaves behind is in docs/training.md. It stands here, and in no
    action, because whoever approves or edits an action must not be able to run another one.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """None: nothing trains this model."""
    image: str | None = None
    """Where containers run it; None: the installation's own."""
    environment: dict[str, str] = Field(default_factory=dict)
    secrets: Models = frozenset()
    """Variables whose values the installation holds."""
    team: Annotated[str, Field(min_length=1, max_length=63)] = "mlops"
    """Who pays."""
    cpu: Annotated[float, Field(gt=0, le=1024)] = 1.0
    """Cores."""
    memory_mib: Annotated[int, Field(ge=16)] = 4096
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    prices: Prices | None = None
    """Of what is reserved for it; None: the installation's price book has them."""
    deadline: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=30))] = timedelta(hours=6)
    """A training that takes longer has lost its way."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """One, for a node that was lost: what fails twice by itself fails again."""
    resumes: bool = False
    """Whether the command goes on from its checkpoints where an attempt before it was ended, as `python -m pipelines retrain`
    does. Only then may it be moved to capacity that can be taken away."""
    keep: Annotated[Duration, Field(ge=timedelta(days=1), le=timedelta(days=365))] = timedelta(days=30)
    """How long a training can be asked about, and its log read, after its end. Longer than its run lives: that asks when the
    service is back, and people read the log before they approve what came of it, and when it has disappointed them."""
    window: Duration = timedelta(days=28)
    """How much of the latest data is trained on, at least what was compared: four whole weeks."""
    least_window: Duration = timedelta(days=7)
    """After a change of the concept it is the data since the change, but no less than this."""
    look_every: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(hours=1))] = timedelta(minutes=1)
    """How often a job in progress is looked at."""
    cooldown: Annotated[Duration, Field(le=timedelta(days=364))] = timedelta(hours=12)
    """After a training has begun no other begins by itself for so long: its version has to show first what it is worth. A
    training is kept a day longer than that, whatever `keep` says: one that is forgotten would hold up no other."""
    per_day: Annotated[int, Field(ge=0)] = 3
    """Trainings that begin within 24 hours, whoever asks; beyond it people are told."""
    schedule: str | None = None
    """Cron expression, UTC; None: by no clock."""
    new_predictions: Annotated[int, Field(ge=1)] | None = None
    """Labelled predictions since the champion's data ended that ask for a training; None: they do not."""
    new_batches: Annotated[int, Field(ge=1, le=500)] | None = None
    """The same of batches stored in the lake, of all tables together that feed the model (`datasets.TABLE.model`)."""

    @property
    def kept(self) -> timedelta:
        """How long a training is kept in fact."""
        return max(self.keep, self.cooldown + timedelta(days=1))

    @field_validator("secrets")
    @classmethod
    def _not_the_key(cls, names: frozenset[str]) -> frozenset[str]:
        return without_the_key(names)

    @field_validator("schedule")
    @classmethod
    def _cron(cls, text: str | None) -> str | None:
        if text is not None and not cron_known(text):
            raise ValueError("write five fields: minute, hour, day of month, month, day of week, e.g. 0 3 * * 1")
        return text


class Retention(Frozen):
    """How long what guards against doing something twice is kept. The record itself (incidents, alerts, approvals, actions,
    audit) is never dropped."""

    finished_moves: Duration = timedelta(days=7)
    """Of runs, in the engine: a run that has gone on does not take the same event again, so these serve looking back only."""
    sent_messages: Duration = timedelta(days=90)
    """Keys of what people were told; longer than any run lives, so that nothing is told twice."""


class ModelPolicy(Frozen):
    """What is particular to one model; what is not set falls back to the whole tree's."""

    slo: Slo | None = None
    drift: Drift | None = None
    monitors: Monitors | None = None
    rollouts: Rollouts | None = None
    evaluations: Evaluations | None = None
    experiments: Experiments | None = None
    optimizations: Optimizations | None = None
    training: Training = Training()
    evaluation: EvaluationJob = EvaluationJob()
    quantization: QuantizationRules = QuantizationRules()
    owners: tuple[str, ...] = ()
    """Principals who may decide about it; none: everyone with the approver's role."""
    max_workers: int = Field(default=8, ge=1)


class Policies(Frozen):
    mode: Mode = Mode.PROPOSE
    """The mode of a fresh installation; afterwards `PUT /v1/autonomy` says."""
    intake: Intake = Intake()
    investigation: Investigation = Investigation()
    drift: Drift = Drift()
    monitors: Monitors = Monitors()
    rollouts: Rollouts = Rollouts()
    evaluations: Evaluations = Evaluations()
    experiments: Experiments = Experiments()
    optimizations: Optimizations = Optimizations()
    features: FeatureStore = FeatureStore()
    cost: CostSignals = CostSignals()
    approval: Approval = Approval()
    verification: Verification = Verification()
    retention: Retention = Retention()
    freezes: tuple[Freeze, ...] = ()
    slo: Slo = Slo()
    models: dict[str, ModelPolicy] = Field(default_factory=dict)
    dataset: Dataset = Dataset()
    datasets: dict[str, Dataset] = Field(default_factory=dict)
    """By table, in place of `dataset`."""
    metrics: tuple[Metric, ...] = ()
    """None by default: which exporters run beside a model is known to its installation only."""
    notify_channel: str = "ops"
    notify_within: Duration = timedelta(minutes=15)
    """A channel that does not answer for longer is given up, and the run ends: by then somebody has looked at the page that
    lists what waits, and what was to be told is on record."""

    @property
    def version(self) -> str:
        """The same content has the same version, in whatever order it was written and in whichever process."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def slo_of(self, model: str) -> Slo:
        own = self.models.get(model)
        return own.slo if own is not None and own.slo is not None else self.slo

    def drift_of(self, model: str) -> Drift:
        return self.model(model).drift or self.drift

    def monitors_of(self, model: str) -> Monitors:
        return self.model(model).monitors or self.monitors

    def dataset_of(self, table: str) -> Dataset:
        return self.datasets.get(table, self.dataset)

    def datasets_feeding(self, model: str) -> dict[str, Dataset]:
        """By table."""
        return {table: rules for table, rules in self.datasets.items() if rules.model == model}

    def training_of(self, model: str) -> Training:
        return self.model(model).training

    def evaluation_of(self, model: str) -> EvaluationJob:
        return self.model(model).evaluation

    def quantization_of(self, model: str) -> QuantizationRules:
        return self.model(model).quantization

    def rollouts_of(self, model: str) -> Rollouts:
        return self.model(model).rollouts or self.rollouts

    def evaluations_of(self, model: str) -> Evaluations:
        return self.model(model).evaluations or self.evaluations

    def experiments_of(self, model: str) -> Experiments:
        return self.model(model).experiments or self.experiments

    def optimizations_of(self, model: str) -> Optimizations:
        return self.model(model).optimizations or self.optimizations

    def model(self, name: str) -> ModelPolicy:
        return self.models.get(name, ModelPolicy())


class PolicyError(Exception):
    """Policies that cannot be read; `errors` has the path of each bad field and what is wrong with it."""

    def __init__(self, errors: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{field}: {what}" for field, what in errors))
        self.errors = errors


def parse_policies(raw: Mapping[str, object]) -> Policies:
    """What is left out keeps its default; an unknown key is refused. Raises PolicyError."""
    try:
        return Policies.model_validate(dict(raw))
    except ValidationError as error:
        raise PolicyError(faults(error, unknown="there is no such policy")) from error
