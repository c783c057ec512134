"""What can befall a model, in the words of a scenario file. Each kind says what happens, and no more."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tools.values import Duration, Frozen, Share

Amount = Annotated[float, Field(gt=0)]


class _Fault(Frozen):
    at: Duration = timedelta(hours=1)
    """From the beginning of what is watched."""
    lasts: Duration | None = None
    """None: until somebody mends it, which nobody does within a scenario."""
    ramp: Duration = timedelta(0)
    """How long it takes to reach its full strength, in a straight line."""

    def strength(self, since: timedelta) -> float:
        """From 0 to 1 at a moment, counted from the beginning of what is watched."""
        age = since - self.at
        if age < timedelta(0) or (self.lasts is not None and age >= self.lasts):
            return 0.0
        return min(1.0, age / self.ramp) if self.ramp else 1.0


class Shift(_Fault):
    """The population changes: these features move, and what follows from them stays as it was."""

    kind: Literal["shift"]
    features: dict[str, float] = Field(min_length=1)
    """By how many standard deviations."""
    widen: Amount = 1.0


class Concept(_Fault):
    """What follows from the features changes: their weight in the odds turns by this factor (-1: round; 0: none any more)."""

    kind: Literal["concept"]
    features: dict[str, float] = Field(min_length=1)


class Prior(_Fault):
    """One class becomes more frequent, and who belongs to it is as before."""

    kind: Literal["prior"]
    by: Annotated[float, Field(ge=-0.6, le=0.6)]
    """Share of the positive ones."""


class Nulls(_Fault):
    kind: Literal["nulls"]
    feature: str
    share: Share


class Unit(_Fault):
    """Somebody sends another unit."""

    kind: Literal["unit"]
    feature: str
    factor: Amount


class Stuck(_Fault):
    """A share of the requests carries one and the same value: that of the moment in which it got stuck."""

    kind: Literal["stuck"]
    feature: str
    share: Share = 1.0


class Stale(_Fault):
    """A feature pipeline stops: what it computed runs out by and by, and the default stands in for it."""

    kind: Literal["stale"]
    features: tuple[str, ...] = Field(min_length=1)
    share: Share = 1.0
    """Of the entities, when all has run out."""
    default: float = 0.0


class Category(_Fault):
    kind: Literal["category"]
    feature: str
    value: str
    share: Share


class Upstream(_Fault):
    """What serving itself depends on fails: a share of all requests, whatever the version, and the rest waits."""

    kind: Literal["upstream"]
    share: Share
    slower: Annotated[float, Field(ge=1)] = 1.0


class Starve(_Fault):
    """Somebody else on the machine takes this share of its processors."""

    kind: Literal["starve"]
    share: Annotated[float, Field(gt=0, lt=1)]


class Leak(_Fault):
    """Memory is not given back: so much of the limit an hour. Full, the process is killed, and begins anew."""

    kind: Literal["leak"]
    per_hour: Amount
    version: str | None = None
    """Only while this one serves; None: whatever serves."""


class Surge(_Fault):
    """So many times as many requests."""

    kind: Literal["surge"]
    factor: Amount


class LabelsStop(_Fault):
    """Only this share of the labels comes."""

    kind: Literal["labels_stop"]
    kept: Share = 0.0


class LabelsShuffled(_Fault):
    """A share of the labels belongs to other rows."""

    kind: Literal["labels_shuffled"]
    share: Share = 1.0


class LabelsOneClass(_Fault):
    """Every label says the same."""

    kind: Literal["labels_one_class"]
    label: Literal["yes", "no"] = "no"


Fault = Annotated[
    Shift
    | Concept
    | Prior
    | Nulls
    | Unit
    | Stuck
    | Stale
    | Category
    | Upstream
    | Starve
    | Leak
    | Surge
    | LabelsStop
    | LabelsShuffled
    | LabelsOneClass,
    Field(discriminator="kind"),
]
