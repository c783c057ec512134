"""How far a rollout is, and what it waits for: for people who watch it, and nothing is decided by it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field

from agents.promotion_rules import Judging, Stage
from agents.rollouts import Choice
from agents.wording import span
from tools.values import Frozen

_OVER = frozenset({"promoted", "taken_back", "continued", "left"})


class RolloutProgress(Frozen):
    stage: int = Field(ge=1, description="That it is in, from 1.")
    stages: int = Field(description="All of them.")
    weight: float = Field(description="Share of the traffic that the challenger has in it.")
    fraction: float = Field(ge=0, le=1, description="Of the time that all stages take at least.")
    eta_seconds: float | None = Field(
        ge=0, description="To its end, at the earliest; null: it is over, or it waits for something that has no time."
    )
    waits_for: str = Field(description="Empty when it is over.")


def length(stage: Stage, rules: Judging) -> timedelta:
    """How long it takes at least. Labels that come late make a stage longer whose accuracy is compared (`rollouts.decide`)."""
    late = rules.guardrails.accuracy is not None and stage.weight < 1
    return stage.hold + (rules.label_delay if late else timedelta(0))


def progress_of(
    stages: Sequence[Stage],
    rules: Judging,
    *,
    stage: int,
    since: datetime,
    status: str,
    reason: str,
    choice: Choice | None,
    ordered: str | None,
    now: datetime,
) -> RolloutProgress:
    """`stage`: the present one, from 0; `choice`: of the latest look. Raises ValueError where there is no such stage."""
    if not 0 <= stage < len(stages):
        raise ValueError(f"stage: {stage} is none of {len(stages)} stages")
    lengths = [length(each, rules) for each in stages]
    passed = min(max(now - since, timedelta(0)), lengths[stage])
    left = lengths[stage] - passed
    total, behind = sum(lengths, timedelta(0)), sum(lengths[:stage], timedelta(0)) + passed
    fraction = behind / total if total else stage / len(stages)
    eta: timedelta | None = left + sum(lengths[stage + 1 :], timedelta(0))
    if status in _OVER:
        fraction, eta, waits_for = (1.0 if status == "promoted" else fraction), None, ""
    elif ordered == "abort":
        eta, waits_for = None, "the champion to get all traffic back, as it was ordered"
    elif status == "paused" or ordered == "pause":
        eta, waits_for = None, "a person to resume it"
    elif choice is Choice.ASK:
        eta, waits_for = None, f"a person to decide: {reason}"
    elif left:
        waits_for = f"the time of its stage: {span(left)} more"
    elif choice is Choice.EXTEND:
        waits_for = f"certainty: {reason}"
    else:
        waits_for = "its next look"
    return RolloutProgress(
        stage=stage + 1,
        stages=len(stages),
        weight=stages[stage].weight,
        fraction=round(fraction, 4),
        eta_seconds=eta.total_seconds() if eta is not None else None,
        waits_for=waits_for,
    )
