"""What was measured of a rollout so far: minute by minute, version beside version."""

import itertools
from typing import Self

from pydantic import Field, model_validator

from tools.predictions.port import Count, Values
from tools.values import Frozen, Instant, Window

__all__ = ["Count", "Counts", "Discordant", "Period", "Progress", "Values"]


class Counts(Frozen):
    """One version in one period. None: not measured."""

    predictions: Count = 0
    failed: Count | None = None
    slow: Count | None = None
    """Slower than a limit that was fixed before the rollout started."""
    labelled: Count | None = None
    """Answered predictions of this period that have their label by now."""
    wrong: Count | None = None
    loss: Values | None = None
    """Absolute errors of the labelled, of a model that answers with numbers."""
    metric: Values | None = None
    cost: Values | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, of in (("failed", self.predictions), ("slow", self.predictions), ("labelled", self.predictions)):
            if (getattr(self, name) or 0) > of:
                raise ValueError(f"{name}: there cannot be more than predictions")
        if (self.wrong or 0) > (self.labelled or 0):
            raise ValueError("wrong: there cannot be more than labelled")
        return self


class Discordant(Frozen):
    """Labelled requests that both versions answered (a shadow), and those where only one was wrong."""

    count: Count
    only_canary_wrong: Count
    only_control_wrong: Count


class Period(Frozen):
    """Some minute of the rollout, both versions beside each other."""

    window: Window
    canary: Counts
    control: Counts
    pairs: Discordant | None = None
    """Where given, accuracy is judged by it."""


class Progress(Frozen):
    """A rollout so far."""

    started: tuple[Instant, ...] = Field(min_length=1)
    """When each stage began, the last being the present one."""
    periods: tuple[Period, ...] = ()
    """In order, about `look_every` long each; the first of a stage starts no earlier than the stage."""
    extended_until: Instant | None = None
    """By people, beyond what policy gives the present stage."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(later <= earlier for earlier, later in itertools.pairwise(self.started)):
            raise ValueError("started: stages begin one after the other")
        if any(later.window.start < earlier.window.end for earlier, later in itertools.pairwise(self.periods)):
            raise ValueError("periods: they have to be in order and may not overlap")
        return self
