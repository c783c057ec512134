"""When INT8 pays, and how that is measured. Data, as all policies are."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.promotion_rules import Level
from tools.jobs.prices import Prices
from tools.values import Duration, Frozen, Share

_MOST_ROWS = 4096
_ROUNDING = 1e-9


class Margins(Frozen):
    """By what INT8 is called worth it: on held-out rows by a job, and on the copies that a shadow got. By what a rollout weighs
    its shadow is approved with it."""

    significance: Level = 0.05
    """One-sided: so often a claim is wrong in either direction. Intervals are at 1 less twice as much."""
    min_rows: int = Field(default=200, ge=2)
    """Of a window or a slice, before anything is said of it."""
    max_accuracy_loss: Annotated[float, Field(gt=0, lt=1)] = 0.005
    """Points of the share of right answers, shown not to be exceeded: half of what counts as a gain worth a change. The same
    for AUC and for the calibration error, there only where it is exceeded beyond chance."""
    max_error_rise: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The same where a model answers with numbers, of the mean absolute error, relative to the original's."""
    max_disagreement: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Share of mirrored requests to which INT8 may answer another class, where too few of them have labels: what flips is near
    the threshold, and flips as often to what is right as to what is wrong."""
    max_p99_factor: Annotated[float, Field(ge=1)] = 1.05
    """Of the p99 at each batch size: what two measurements of one and the same model differ by on a machine with other work."""
    min_p99_rise_ms: Annotated[float, Field(ge=0)] = 0.05
    """A smaller rise is that of the clock and the caches, by whatever factor."""
    min_saving: Share = 0.1
    """Of the cost per prediction, beside the original: what a change of version is worth its risk for."""


class QuantizationRules(Margins):
    """The rows that it is measured on are those of the model's `evaluation`."""

    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = ("python", "-m", "pipelines", "quantize")
    """The platform's own. Whoever names another is believed as the platform is: it gets the key of evaluations. None: nothing
    quantises this model, and nothing proposes it."""
    image: str | None = None
    """Where containers run it; None: the installation's own."""
    cpu: Annotated[float, Field(gt=0, le=1024)] = 1.0
    """One: it measures as one worker of the gateway computes."""
    memory_mib: Annotated[int, Field(ge=16)] = 4096
    deadline: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = timedelta(hours=1)
    """Of a minute of work."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """For a node that was lost."""
    look_every: Duration = timedelta(seconds=30)
    good_for: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=7)
    """So long what was measured of the same files stands; after that it is measured anew before anything rests on it."""
    prices: Prices | None = None
    """Of the serving layer; None: those of the model's training, or else of the installation's price book."""
    seed: Annotated[int, Field(ge=0)] = 0
    calibration_rows: Annotated[int, Field(ge=10, le=10_000)] = 1_000
    """By which the ranges of activations are found; at most a quarter of the held-out rows. Ranges of so many rows differ from
    those of ten times as many by less than one of the 256 steps that INT8 has."""
    rounds: Annotated[int, Field(ge=5, le=200)] = 15
    """Of measuring, from which the interval of a saving comes: with fewer Student's factor widens it by more than a tenth."""
    calls: Annotated[int, Field(ge=20, le=2_000)] = 100
    """Of each form and batch size in a round: the fewest of which a p99 is more than the slowest call."""
    batches: Annotated[tuple[Annotated[int, Field(ge=1, le=_MOST_ROWS)], ...], Field(min_length=1, max_length=10)] = (1, 8, 32)
    """What the gateway makes of traffic: one by one, and what gathers while a batch is computed."""
    rows: Annotated[int, Field(ge=1, le=_MOST_ROWS)] = 1
    """The batch size at which a saving is reckoned, one of `batches`. A gateway that is not full computes rows one by one."""
    repeatability: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """By so much the ratio of two forms may differ from one process to the next, whatever its rounds say: where code and
    weights come to lie in memory. Intervals are so much wider; what was measured of small networks lay within 4 %."""
    min_own_saving: Share = 0.05
    """Beside the same weights in FP32 on the same runtime: what converting alone brings costs no accuracy, so INT8 has to bring
    something of its own."""
    shadow: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=7))] = timedelta(minutes=30)
    """A version in INT8 gets copies of the requests for so long before it answers any, and goes on where it pays on them too:
    held-out rows and full batches are not traffic. Long enough for some thousand requests of a busy model; one that is not
    goes on for as long as `rollouts.extend` says. 0: it does not, nor where what moves the traffic cannot copy requests, or
    `rollouts.stages` begin with a shadow of their own."""
    mirror: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    """Share of the requests, in whole percents, that it gets a copy of: all, because copies are computed when nothing else
    waits, and are dropped when much does."""

    @property
    def margins(self) -> Margins:
        return Margins.model_validate({name: getattr(self, name) for name in Margins.model_fields})

    @model_validator(mode="after")
    def _measured(self) -> Self:
        if self.rows not in self.batches:
            raise ValueError(f"rows: {self.rows} is none of the batches that are measured, {list(self.batches)}")
        if len(set(self.batches)) < len(self.batches):
            raise ValueError("batches: each size once")
        if abs(100 * self.mirror - round(100 * self.mirror)) > _ROUNDING:
            raise ValueError("mirror: requests are copied in whole percents")
        return self
