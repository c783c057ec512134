"""What the platform asks of the prediction store. Every answer is a small aggregate: rows never leave the store."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from tools.tables.port import Distributions
from tools.values import Frozen, Instant, LeftOut, Window

LABEL = "oppen.label"
"""The column of a labelled sample with what came true. Not `label`: a feature may be called so."""


class VersionWindow(Frozen):
    """How one version did in one window. Rates are shares of 1; latencies are milliseconds at the gateway."""

    model: str
    version: str
    window: Window
    count: int
    errors: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    outputs: dict[str, int]
    """Predicted class -> how often (classification)."""
    mean_score: float | None
    labelled: int
    """Predictions of this window, errors apart, whose label has arrived by now. Of several labels the newest counts."""
    correct: int | None
    """Of the labelled, how many were right; None unless it is a classification."""
    labels: dict[str, int] = Field(default_factory=dict)
    """True class -> how often, over the labelled (classification); the most frequent ones, should there be hundreds."""
    mean_absolute_error: float | None
    """Over the labelled (regression)."""
    last_label_at: datetime | None

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.count if self.count else None

    @property
    def accuracy(self) -> float | None:
        return self.correct / self.labelled if self.correct is not None and self.labelled else None


class FeatureProfile(Frozen):
    """The distribution of one feature in one window. `counts` has one entry per bin or category; nulls are apart.

    A feature has the kind of its first value ever. A value of the other kind, and a number that is not finite, counts as null.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    count: int
    nulls: int
    mean: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    edges: tuple[float, ...] = ()
    """Numeric: inner bin edges, ascending; bin i is `edges[i-1] <= x < edges[i]`, so there is one bin more than edges."""
    categories: tuple[str, ...] = ()
    """Categorical: the most frequent values first; the last count is 'every other value'."""
    counts: tuple[int, ...] = ()

    @property
    def null_rate(self) -> float | None:
        return self.nulls / self.count if self.count else None


class Slice(Frozen):
    """Accuracy on the labelled predictions for which `feature` had `value`."""

    feature: str
    value: str
    labelled: int
    correct: int


class Outcome(Frozen):
    """How often a class was predicted with a score of this twentieth (0: below 0.05), and this was the label."""

    prediction: str
    twentieth: int | None
    """None: without a score between 0 and 1."""
    label: str | None
    """None: none has come yet."""
    count: int


class Volume(Frozen):
    start: datetime
    count: int
    errors: int


Count = Annotated[int, Field(ge=0)]


class Values(Frozen):
    """Of a measure in a period: enough for means and variances."""

    count: Count = 0
    total: float = 0.0
    squares: Annotated[float, Field(ge=0)] = 0.0
    """Sum of the squares."""


class Tally(Frozen):
    """What one version answered in one step of time."""

    start: Instant
    version: str
    count: int
    errors: int
    slow: int | None
    """Slower than the limit that was asked with; None: none was."""
    labelled: int
    """Answers whose label has arrived by now."""
    wrong: int | None
    """Of the labelled; None unless it is a classification."""
    loss: Values | None = None
    """Absolute errors of the labelled; None of a classification."""
    cost: Values | None = None
    """Of those whose cost is known, by processor time or by tokens, failed ones included; None where it is of none."""
    metric: Values | None = None
    """Of the answers for which the metric that was asked for has come by now; None: none was asked for."""


class Mirrored(Frozen):
    """What a shadow and the version that was served answered to the same requests in one step of time."""

    start: Instant
    shadow: Tally
    """Without `wrong`: the two are told apart below."""
    served: Tally
    labelled: Count
    """Requests that both answered with a class, whose label has arrived by now."""
    only_shadow_wrong: Count
    only_served_wrong: Count


class Copies(Frozen):
    """A shadow beside the version that was served, over the requests that both got, in one window."""

    window: Window
    shadow: str
    served: str
    requests: Count
    """That were served, and copied."""
    shadow_errors: Count
    served_errors: Count
    both: Count
    """Of the requests, how many both answered."""
    same: Count | None
    """Of these, how many with one and the same class; None unless all were answered with classes."""
    apart: Values
    """Absolute difference of the two scores, of these."""
    labelled: Count
    """Of these, answered with classes, whose label has come by now."""
    only_shadow_wrong: Count
    only_served_wrong: Count
    shadow_p50_ms: float
    """What the requests would have taken with it."""
    shadow_p99_ms: float
    served_p50_ms: float
    served_p99_ms: float
    shadow_cpu_us: Values
    """Processor time of a row, of those where it is known."""
    served_cpu_us: Values
    saved_cpu_us: Values
    """The served version's less the shadow's, request by request, where both are known."""

    @property
    def agreement(self) -> float | None:
        return self.same / self.both if self.same is not None and self.both else None


class TokenCost(Frozen):
    """What the priced calls cost, in one currency. Exact."""

    currency: str
    amount: Decimal
    calls: int
    tokens: int
    """Read and written, by these calls."""

    @property
    def per_million_tokens(self) -> Decimal | None:
        return _rounded(self.amount * 1_000_000 / self.tokens) if self.tokens else None

    @property
    def per_call(self) -> Decimal:
        return _rounded(self.amount / self.calls)


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000000001"), ROUND_HALF_UP)


class TokenUsage(Frozen):
    """What one version of a language model took in one window."""

    model: str
    version: str
    window: Window
    calls: int
    counted: int
    """Calls of which the numbers of tokens are known; a stream that broke off, or whose client left, is not among them."""
    prompt_tokens: int
    completion_tokens: int
    first_token_mean_ms: float | None
    """Of streams: from the request's body to the first token."""
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    finishes: dict[str, int]
    """Why answers ended -> how often."""
    costs: tuple[TokenCost, ...]
    """One per currency; empty where nothing has a price."""


class Exposed(Frozen):
    """Entities that were answered for the first time in one step of time, by one version, and by no other arm later.

    What is counted is of that first answer.
    """

    start: Instant
    version: str
    entities: int
    failed: int
    slow: int | None
    """Slower than the limit that was asked with; None: none was."""
    labelled: int
    """Answers with a class whose label has arrived by now."""
    wrong: int
    """Of the labelled."""
    latency_ms: Values
    values: dict[str, Values] = Field(default_factory=dict)
    """Of each measure that was asked for: what an entity's predictions were worth together; of those who brought anything."""
    positive: dict[str, int] = Field(default_factory=dict)
    """How many of them brought more than nothing."""


class Exposures(Frozen):
    steps: tuple[Exposed, ...] = ()
    """By step and version, in that order; without those in which nobody came."""
    mixed: int = 0
    """Entities that more than one of the versions has answered; they are in no step."""
    anonymous: int = 0
    """Answers to requests without an entity; they are in no step either."""


class Period(Frozen):
    """One stretch of a model's traffic."""

    window: Window
    versions: tuple[VersionWindow, ...] = ()
    """One per version that answered in it."""
    features: tuple[FeatureProfile, ...] = ()
    """Over all versions, on the bins of the first of the periods that were asked for together, so that any two compare."""
    volume: tuple[Volume, ...] = ()
    slices: dict[str, tuple[Slice, ...]] = Field(default_factory=dict)
    """Version -> accuracy by slice, for those that have labels in this period."""

    def version(self, version: str | None) -> VersionWindow | None:
        return next((each for each in self.versions if each.version == version), None)

    @property
    def count(self) -> int:
        return sum(each.count for each in self.versions)


class Sampled(Frozen):
    rows: int
    """That there are."""
    sampled: int
    """That were written."""


class Work(Frozen):
    """What the answers of one version took in one step, or of its shadow."""

    start: Instant
    version: str
    shadow: bool = False
    predictions: int
    """Failed ones too."""
    cpu_seconds: Decimal
    """Of the gateway's processor; what a runtime computes elsewhere is not in it."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Lag(Frozen):
    """What has been written by the gateway but is not in the store yet, and what had to be given up."""

    segments: int
    bytes: int
    oldest: datetime | None


class Loaded(Frozen):
    """What was in a segment."""

    records: int
    rejected: int
    """Lines that are no records; they are beside the segment, with the reasons, in a file ending in `.rejected`."""


@runtime_checkable
class PredictionReader(Protocol):
    async def ping(self) -> None: ...

    async def models(self) -> tuple[str, ...]: ...

    async def versions(self, model: str, window: Window) -> tuple[VersionWindow, ...]:
        """One entry per version that answered in the window, ordered by version; empty when none did."""
        ...

    async def volume(self, model: str, window: Window, step: timedelta) -> tuple[Volume, ...]:
        """Requests per step, empty steps included."""
        ...

    async def tallies(
        self,
        model: str,
        window: Window,
        step: timedelta,
        *,
        slow_ms: float | None = None,
        metric: str | None = None,
        cpu_hour: float = 3600.0,
        currency: str | None = None,
    ) -> tuple[Tally, ...]:
        """By step and version, in that order; a version that answered nothing in a step is left out.

        `metric`: the name under which what predictions were worth is sent. `cpu_hour`: the price of a core's hour; by default
        costs are processor seconds. `currency`: of that price; then calls of a language model cost what their tokens do in it.
        None: that is not looked at.
        """
        ...

    async def mirrored(
        self,
        model: str,
        version: str,
        beside: str,
        window: Window,
        step: timedelta,
        *,
        slow_ms: float | None = None,
        cpu_hour: float = 3600.0,
    ) -> tuple[Mirrored, ...]:
        """Of the requests that `beside` answered and `version` got a copy of: by step, those without any left out. Nothing else
        here counts what a shadow answers."""
        ...

    async def copies(self, model: str, version: str, beside: str, window: Window) -> Copies | None:
        """The same requests as `mirrored`, all together: what `version` would have answered beside what `beside` did, with or
        without labels. None where nothing was copied."""
        ...

    async def exposures(
        self,
        model: str,
        window: Window,
        step: timedelta,
        *,
        versions: Sequence[str],
        slow_ms: float | None = None,
        metrics: Sequence[str] = (),
        within: timedelta = timedelta(0),
    ) -> Exposures:
        """Entities by the step and the version that first answered them within the window; other versions are not looked at.

        `metrics`: the business's own measures, summed over an entity's predictions. Of predictions that were made, and values
        that were told, `within` so long after its first answer: once that time is over nothing changes any more.
        """
        ...

    async def feature_profiles(
        self,
        model: str,
        window: Window,
        *,
        version: str | None = None,
        like: Sequence[FeatureProfile] = (),
    ) -> tuple[FeatureProfile, ...]:
        """Profiles of all features; with `like`, on those profiles' bins and categories, so that the two compare.

        Bins end at the window's own twentieths (estimated beyond 8192 values); counts are exact. What is less than every
        value of a reference, or greater, has a bin of its own where much of the reference is its least or greatest value.
        """
        ...

    async def distributions(
        self,
        model: str,
        window: Window,
        *,
        version: str | None = None,
        label: str | None = None,
        like: Distributions | None = None,
        without: Sequence[LeftOut] = (),
    ) -> Distributions:
        """Of every feature, of answers and labels; with `like`, on its grids, so that the two compare. With `label`, of those
        answered predictions only whose label this is.

        `without`: what is passed over, as if it had never come. Where that is some features of a stretch, the answers of that
        stretch are passed over with them; its labels, which do not depend on them, are not.

        Counts, means and deviations are exact. A grid covers the middle 99.8 % of what is seen of the window: of all its rows,
        or of some 200,000 spread over it. Numbers beyond 1e100 are not finite.
        """
        ...

    async def outcomes(
        self, model: str, window: Window, *, version: str | None = None, without: Sequence[LeftOut] = ()
    ) -> tuple[Outcome, ...]:
        """Of the predicted classes, whether their label has come or not; the most frequent ones, should they be
        thousands. Empty for a
        model that answers with numbers."""
        ...

    async def sample(
        self,
        model: str,
        window: Window,
        to: Path,
        *,
        most: int,
        version: str | None = None,
        without: Sequence[LeftOut] = (),
        labelled: bool = False,
    ) -> Sampled:
        """Write some of the window's predictions to a Parquet file: all, or at most so many that stand for them, the same ones
        whenever it is asked. Columns are the features, then `prediction` and `score`, unless a feature is called so.

        The one answer with rows in it: in a file of bounded size, for people to look at, or for a candidate to be held to.
        `without`: stretches passed over, whichever features it is for. `labelled`: those answered only whose label has come,
        with the newest one in the column LABEL.
        """
        ...

    async def usage(self, model: str, window: Window) -> tuple[TokenUsage, ...]:
        """By version, of a language model; empty for any other."""
        ...

    async def works(self, model: str, window: Window, step: timedelta) -> tuple[Work, ...]:
        """By step, shadows last, and version; what answered nothing in a step is left out. Sums are exact."""
        ...

    async def stored(self) -> Mapping[str, int]:
        """By model: the bytes on disk of all that is logged of it."""
        ...

    async def slices(self, model: str, version: str, window: Window) -> tuple[Slice, ...]:
        """Accuracy by each categorical feature's most frequent values, twenty at most; empty unless it is a classification."""
        ...

    async def periods(self, model: str, windows: Sequence[Window], *, steps: int) -> tuple[Period, ...]:
        """All that the four above tell, of several windows, which may overlap; volume in so many steps.

        The same figures for a fraction of the work: few statements, each over all windows.
        """
        ...


@runtime_checkable
class PredictionStore(PredictionReader, Protocol):
    async def load(self, segment: Path) -> Loaded:
        """Load a complete segment. The same segment (by name) twice, also after a crash, is once."""
        ...

    async def close(self) -> None: ...
