"""What was measured of an A/B experiment: entities by arm, as they were first exposed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.promotion_rules import Margin
from agents.rollout_facts import Count, Values
from tools.values import Frozen, Instant

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Goal(Frozen):
    """What an experiment is decided by, or what it may not harm."""

    name: Name
    kind: Literal["share", "mean"]
    """A share of units (converted, wrong, failed), or the mean of a value per unit."""
    better: Literal["higher", "lower"]
    margin: Margin
    """The size that matters: points of a share, or a share of the control's mean. The goal is decided soonest for effects of
    about this size, and a guardrail may be worse by as much."""


class Exposed(Frozen):
    """One arm in one period: entities that were exposed for the first time in it."""

    units: Count
    hits: dict[Name, Count] = Field(default_factory=dict)
    """By goal: how many of them, for goals that are shares."""
    known: dict[Name, Count] = Field(default_factory=dict)
    """By goal: of how many it is known, where that is not all of them, such as those whose label has come."""
    values: dict[Name, Values] = Field(default_factory=dict)
    """By goal, for means: one value per unit."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if over := [name for name, known in self.known.items() if known > self.units]:
            raise ValueError(f"known.{over[0]}: there cannot be more than units")
        if over := [name for name, hits in self.hits.items() if hits > self.of(name)]:
            raise ValueError(f"hits.{over[0]}: there cannot be more than units of which it is known")
        return self

    def of(self, goal: str) -> int:
        """Of how many units the goal is known."""
        return self.known.get(goal, self.units)


class Observed(Frozen):
    goal: Goal
    guardrails: tuple[Goal, ...] = ()
    control: Name
    weights: dict[Name, Annotated[float, Field(gt=0)]]
    """Of all arms, as assigned; the same all the time."""
    started: Instant
    mixed: Count = 0
    """Units that more than one arm has answered; they are in no arm."""
    periods: tuple[dict[Name, Exposed], ...]
    """In order, by arm; such as days. Late outcomes of a period (its units' conversions) are to be in it: hand in only periods
    whose outcomes have had their time."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.control not in self.weights or len(self.weights) < 2:
            raise ValueError("weights: the control and at least one treatment are needed")
        if strange := {arm for each in self.periods for arm in each} - self.weights.keys():
            raise ValueError(f"periods: no weight is known for {', '.join(sorted(strange))}")
        return self
