"""What an experiment is to be: its arms, what decides it, what it may not harm, and how long it may take.

A goal's name says what is measured of an entity. `errors`, `slow` and `wrong` are of its *first* answer in the experiment:
fixed by then, so nothing that a version does to how often somebody comes back moves the comparison. `latency_ms` is the mean of
those answers' times. Any other name is one of the business's own measures, as clients post them with `feedback`: what an entity
has brought in `outcomes_after` from its first answer on (`mean`), or whether it has brought anything (`share`).
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.experiment_facts import Goal, Name
from tools.values import Duration, Frozen

SHARES = ("errors", "slow", "wrong")
"""Goals of the kind `share`: the first answer failed, took longer than `slow_ms`, or is wrong by its label."""
MEANS = ("latency_ms",)
"""Goals of the kind `mean`."""
MEASURED = (*SHARES, *MEANS)
"""All of them are better when they are lower; what else a goal is called is a measure of the business."""
MOST_ARMS = 5
"""With the control; more treatments share one level, and none of them gets anywhere."""


class Treatment(Frozen):
    version: Name
    weight: int = Field(ge=1, le=99)
    """Percent of the entities."""


class Plan(Frozen):
    treatments: Annotated[tuple[Treatment, ...], Field(min_length=1, max_length=MOST_ARMS - 1)]
    """The control, which is the champion, has the rest."""
    goal: Goal
    guardrails: Annotated[tuple[Goal, ...], Field(max_length=10)] = ()
    slow_ms: Annotated[float, Field(gt=0)] | None = None
    """An answer that takes longer is slow; needed where `slow` is looked at."""
    outcomes_after: Duration = timedelta(0)
    """Labels of entities that were first seen more recently are not looked at: early ones are not like the others. Also how
    long an entity's values are counted."""
    shortest: Duration | None = None
    """No winner before; None: what policy says."""
    longest: Duration | None = None
    """Without a winner by then it is inconclusive; None: what policy says."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        return (self.goal, *self.guardrails)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Measures of the business that are looked at."""
        return tuple(each.name for each in self.goals if each.name not in MEASURED)

    @property
    def control_weight(self) -> int:
        return 100 - sum(each.weight for each in self.treatments)

    def weights(self, control: str) -> dict[str, int]:
        return {control: self.control_weight, **{each.version: each.weight for each in self.treatments}}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        versions = [each.version for each in self.treatments]
        if len(set(versions)) != len(versions):
            raise ValueError("treatments: a version is in one arm only")
        if self.control_weight < 1:
            raise ValueError("treatments: their weights leave nothing for the control")
        names = [each.name for each in self.goals]
        if len(set(names)) != len(names):
            raise ValueError("guardrails: each looks at something else, and not at the goal again")
        for place, goal in (("goal", self.goal), *((f"guardrails[{i}]", each) for i, each in enumerate(self.guardrails))):
            if flaw := goal_flaw(goal):
                raise ValueError(f"{place}.{flaw}")
        if self.slow_ms is None and "slow" in names:
            raise ValueError("slow_ms: say from which time on an answer is slow")
        if self.metrics and not self.outcomes_after:
            raise ValueError(f"outcomes_after: say for how long {self.metrics[0]} is counted from an entity's first answer on")
        if self.shortest is not None and self.longest is not None and self.longest < self.shortest:
            raise ValueError("longest: an experiment lasts at least as long as its shortest")
        return self


def goal_flaw(goal: Goal) -> str | None:
    """Why it cannot be measured, beginning with the field; None where it can."""
    if goal.name not in MEASURED:
        return None
    kind: Literal["share", "mean"] = "share" if goal.name in SHARES else "mean"
    if goal.kind != kind:
        return f"kind: {goal.name} is a {kind}"
    if goal.better != "lower":
        return f"better: {goal.name} is better when it is lower"
    return None
