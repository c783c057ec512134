"""What a candidate has to show before it may serve, and how sure one has to be. Data, as all policies are."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.wording import span
from tools.registry.evaluations import CHECKS, CheckName
from tools.values import Duration, Frozen, Share

MOST_STAGES = 20
_ROUNDING = 1e-9

Level = Annotated[float, Field(gt=0, lt=0.5)]
Margin = Annotated[float, Field(gt=0, lt=1)]
Guard = Literal["errors", "accuracy", "loss", "latency", "metric", "cost"]
LABELLED: tuple[Guard, ...] = ("accuracy", "loss", "metric")
"""What is known of an answer only later, if ever."""


class Stage(Frozen):
    weight: Share
    """Share of the traffic that the canary answers; 0: a shadow, whose answers are discarded; 1: nothing is left to compare
    with."""
    hold: Duration = timedelta(0)
    """At least so long; at the end it has to have shown that it is not worse."""
    mirror: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    """Of a shadow: share of the requests, in whole percents, that it gets a copy of."""


def as_careful(stages: Sequence[Stage], rules: Sequence[Stage], given: float = 0.0) -> bool:
    """Whether `stages` take every step of `rules`, none further or shorter, beyond the share that is `given` already."""
    lower = given if given > 0 else -1.0
    for rule in (each for each in rules if each.weight > lower):
        own = [each.hold for each in stages if lower < each.weight <= rule.weight]
        if not own or sum(own, timedelta(0)) < rule.hold:
            return False
        lower = rule.weight
    return True


class Metric(Frozen):
    """A measure of the business's own, of each prediction, sent as feedback under this name."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    better: Literal["higher", "lower"] = "higher"
    margin: Margin
    """As a share of the control's mean."""


class Guardrails(Frozen):
    """By how much the canary may be worse at most and still be called not worse; from there on, beyond chance, it is rolled
    back.

    None: not looked at. What is looked at has to be measured: a guardrail without values never lets a stage pass.
    """

    errors: Margin | None = 0.005
    """Points of the share of failed requests: half of what the SLO allows altogether."""
    accuracy: Margin | None = 0.01
    """Points of the share of wrong answers among labelled ones. Set null for a model that gets no labels, or each rollout
    asks; its loss is not looked at then either."""
    loss: Margin = 0.05
    """In place of accuracy where a model answers with numbers: of the mean absolute error of labelled answers, as a share of
    the control's. A twentieth of an error is seldom worth an outage, and far more than a rounding."""
    answers: Literal["classes", "numbers"] = "classes"
    """Which of the two it is: taken from the candidate's `serving.json` when its rollout is proposed."""
    latency: Margin | None = 0.01
    """Points of the share of answers slower than a limit that is fixed before the rollout starts: where that is the control's
    p99, twice as many slow answers as before."""
    metric: Metric | None = None
    """None by default: which one there is is known to the installation."""
    cost: Margin | None = None
    """Of the cost per prediction, as a share of the control's. None: a budget, rather than a rollout, usually decides about
    it."""

    @property
    def judged(self) -> dict[Guard, float]:
        classes = self.answers == "classes"
        margins: dict[Guard, float | None] = {
            "errors": self.errors,
            "accuracy": self.accuracy if classes else None,
            "loss": self.loss if not classes and self.accuracy is not None else None,
            "latency": self.latency,
            "metric": self.metric.margin if self.metric is not None else None,
            "cost": self.cost,
        }
        return {name: margin for name, margin in margins.items() if margin is not None}

    def judged_at(self, weight: float) -> dict[Guard, float]:
        """In a stage of that weight. What a shadow answers reaches nobody, so it is worth nothing to the business."""
        return {name: margin for name, margin in self.judged.items() if weight > 0 or name != "metric"}

    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, raw: object) -> object:
        """What was approved before a metric had a name has a direction of none."""
        if isinstance(raw, dict) and raw.get("metric") is None and "metric_better" in raw:
            return {name: value for name, value in raw.items() if name != "metric_better"}
        return raw

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.judged:
            raise ValueError("guardrails: at least one has to be looked at, or nothing would ever be rolled back")
        return self


class Judging(Frozen):
    """By what a canary is judged: part of what is approved with its rollout."""

    guardrails: Guardrails = Guardrails()
    wrong_rollbacks: Level = 0.05
    """At most so many of the rollouts of a canary that is no worse are rolled back, however often and long it is looked at;
    shared out evenly among the guardrails. A wrong rollback costs another rollout, not an outage."""
    wrong_passes: Level = 0.05
    """At most so many of those whose canary is worse by the margin pass a stage. Not shared out: every guardrail has to
    pass."""
    min_samples: int = Field(default=100, ge=1)
    """On either side, in the stage. The tests of shares hold below it too, but nobody believes a rollback over twenty
    requests; those of means do not hold before some hundred."""
    label_delay: Duration = timedelta(0)
    """Predictions younger than this are not asked for their labels: early labels are not like the others (chargebacks come
    soon or late, non-payment only late). The schedule of each stage is so much longer where accuracy is looked at."""
    min_coverage: Share = 0.5
    """Share of the old enough predictions that have their label, on either side; below it accuracy is not judged."""
    max_coverage_gap: Share = 0.05
    """Nor where the versions' coverage is further apart than this: then labels depend on the answer, and so would accuracy."""
    design_effect: Annotated[float, Field(ge=1)] = 1.0
    """How many predictions count as one, because those of one client are alike and a client stays with its version (Kish's
    design effect). 1 where most clients are seen once in a rollout."""
    max_mismatch: Level | None = None
    """Level at which a split of the traffic other than the weights stops the rollout. None: predictions, unlike clients, do
    not come in the shares of the weights where a client stays with its version."""


class Rollouts(Judging):
    """How a challenger gets the traffic."""

    stages: tuple[Stage, ...] = (
        Stage(weight=0.1, hold=timedelta(hours=1)),
        Stage(weight=0.5, hold=timedelta(hours=2)),
        Stage(weight=1.0),
    )
    cpu_hour: Annotated[float, Field(gt=0)] = 3600.0
    """Price of an hour of one core of the serving layer, in any currency: what a prediction costs is its processor time at this
    price. By default costs are counted in processor seconds: as long as nothing else costs anything, shares of the control's
    are the same at any price."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """ISO 4217, of `cpu_hour`. Where it is named, the cost of a language model's answer is that of its tokens in it; None: what
    tokens cost is not looked at."""
    look_every: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=1)
    """Looking often costs no certainty (`agents/sequential/`), only queries. Also the length of the periods that are
    compared."""
    extend: Duration = timedelta(hours=4)
    """A stage that is inconclusive at its end goes on for so long, then people are asked: half a working day, so that they
    are asked on the day that it began."""
    longest_pause: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=24)
    """Held for so long by a pause, people are asked whether it goes on: who paused it has had a day to say so."""

    @property
    def judging(self) -> Judging:
        return Judging.model_validate({name: getattr(self, name) for name in Judging.model_fields})

    def judging_of(self, answers: Literal["classes", "numbers"]) -> Judging:
        """For a model that answers so."""
        own = self.judging
        return own.model_copy(update={"guardrails": own.guardrails.model_copy(update={"answers": answers})})

    def approved(self, stages: tuple[Stage, ...], judging: Judging | None) -> Self:
        """With what was approved in place of what policy says by now; None: the approval says nothing about it."""
        own = {name: getattr(judging, name) for name in Judging.model_fields} if judging is not None else {}
        return self.model_copy(update={"stages": stages, **own})

    @property
    def compared(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stage.weight < 1)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        weights = [stage.weight for stage in self.stages]
        if not weights or weights[-1] != 1:
            raise ValueError("stages: the last has to have the weight 1")
        if weights != sorted(set(weights)):
            raise ValueError("stages: each has to have a larger weight than the one before")
        if not self.compared:
            raise ValueError("stages: one below the weight 1 is needed, or nothing is compared")
        if len(weights) > MOST_STAGES:
            raise ValueError(f"stages: {MOST_STAGES} at most")
        parts = (*weights, *(stage.mirror for stage in self.stages))
        if any(abs(100 * part - round(100 * part)) > _ROUNDING for part in parts):
            raise ValueError("stages: traffic is given in whole percents")
        if any(not stage.hold for stage in self.compared):
            raise ValueError("stages: a stage below the weight 1 has to hold longer than nothing")
        if self.look_every > (shortest := min(stage.hold for stage in self.compared)):
            raise ValueError(f"look_every: a stage of {span(shortest)} is looked at within its time")
        if weights[0] == 0 and not self.guardrails.judged_at(0):
            raise ValueError("guardrails: a shadow, which the stages begin with, can show nothing of a business metric alone")
        return self


class Evaluations(Frozen):
    """What a candidate has to show against the champion before it is registered as challenger."""

    primary: str = "accuracy"
    """The measure in which it has to be better."""
    min_gain: Share = 0.01
    """Relative improvement of `primary`; a smaller one is not worth the risk of a change."""
    significance: Level = 0.05
    """For the gain, one-sided; and for all claims of something worse together (Holm)."""
    min_rows: int = Field(default=200, ge=2)
    """Of a window, a slice or a group; below it nothing is claimed of it. At 200 a share has a standard error of up to 3.5
    points."""
    must_hold: tuple[str, ...] = ("*",)
    """Measures, slices and groups that may not be significantly worse, as shell patterns, such as `slice:country=*`."""
    max_worse: Share = 0.0
    """Significantly worse counts from this size on, relative to the champion: none by default."""
    max_latency_factor: Annotated[float, Field(ge=1)] = 1.2
    """Of p50 and p99 over the champion's, at the same batch size: the noise of a quiet machine is below it."""
    min_latency_rise_ms: Annotated[float, Field(ge=0)] = 1.0
    """A smaller rise nobody notices, by whatever factor: it is the processor's time of one call, beside which a request spends
    some milliseconds elsewhere."""
    max_size_factor: Annotated[float, Field(ge=1)] = 2.0
    """Of the artefact: what is loaded beside the champion during a rollout has to fit."""
    max_fairness_gap: Share = 0.1
    """Largest difference between groups (fairlearn's demographic parity or equalized odds difference) of the candidate; the
    four-fifths rule of the US EEOC comes close to it at usual rates. A candidate that narrows a wider gap of the champion
    passes."""
    needed: tuple[str, ...] = ()
    """Measures without which the verdict is inconclusive, e.g. `latency_p99_ms`."""
    checks: tuple[CheckName, ...] = CHECKS
    """Checks of its files without which a candidate is unproven, whatever its figures; one that failed makes it worse in any
    case."""


class Experiments(Frozen):
    """How an A/B experiment is decided. Units are entities, assigned by the gateway's routing law."""

    wrong_winners: Level = 0.05
    """At most so many of the experiments without a difference claim one, shared out among the treatments."""
    wrong_stops: Level = 0.05
    """The same for stopping over a guardrail, shared out among guardrails and treatments."""
    max_mismatch: Level = 0.001
    """Level of the test of the split; a mismatch makes all else worthless, and with a good assignment it does not happen."""
    min_units: int = Field(default=200, ge=1)
    """In each arm, before anything is claimed."""
    look_every: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=15)
    """Looking often costs no certainty, only queries; what harms is found so much sooner. Also the length of the periods in
    which arms are held beside each other."""
    max_mixed: Share = 0.01
    """Share of entities that two arms have answered; they are left out, and more of them are a fault in the assignment. A few
    come of requests that were on their way when the experiment began, and of calls that name a version."""
    max_coverage_gap: Share = 0.05
    """Where the arms' shares of entities with a label are further apart, nothing is claimed by labels: then these depend on the
    answer."""
    blind: Duration = timedelta(hours=4)
    """Looks that can measure nothing for so long end it: nobody would see harm."""
    longest: Duration = timedelta(days=28)
    """Without a winner by then it is inconclusive: four whole weeks."""
    shortest: Duration = timedelta(days=7)
    """No winner before: a whole week, because workdays and weekends have different customers. Harm is not waited for."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.longest < self.shortest:
            raise ValueError("longest: an experiment lasts at least as long as its shortest")
        return self
