"""What an A/B experiment says so far: pure, from counts of entities. May be asked as often as one likes.

Entities are assigned by the routing law and counted once they were exposed; first of all the split has to be as it was meant
to be. A treatment that harms a guardrail is stopped at once, a winner is called after the shortest time that policy allows.
"""

import math
from datetime import datetime, timedelta
from enum import StrEnum

from agents.experiment_facts import Exposed, Goal, Observed
from agents.promotion_rules import Experiments
from agents.sequential import allocation, means, shares
from agents.sequential.answers import Answer, Terms, of_means, of_shares
from agents.sequential.capital import Side, claimed
from agents.sequential.means import Moments
from agents.sequential.shares import Shares
from agents.wording import share, span
from tools.values import Frozen, Instant


class Call(StrEnum):
    RUNNING = "running"
    MISMATCH = "mismatch"
    """The split is not as assigned: nothing that was measured means anything. Find the fault and begin anew."""
    HARMFUL = "harmful"
    """Worse in a guardrail: stop it."""
    WINNER = "winner"
    LOSER = "loser"
    """Worse than the control in the goal itself."""
    INCONCLUSIVE = "inconclusive"
    """Its time is up without a winner."""


class Effect(Frozen):
    """Treatment less control, in the goal's own direction."""

    goal: str
    treatment: float | None = None
    control: float | None = None
    difference: float | None = None
    low: float | None = None
    """Confidence sequence: holds at all looks together."""
    high: float | None = None
    units: int = 0
    control_units: int = 0

    def __str__(self) -> str:
        if self.difference is None or self.low is None or self.high is None:
            return f"{self.goal}: nothing to compare yet"
        return f"{self.goal} {self.difference:+.4g} ({self.low:+.4g} to {self.high:+.4g})"


class Arm(Frozen):
    name: str
    call: Call
    reason: str
    effect: Effect
    guardrails: tuple[Effect, ...] = ()


class Outcome(Frozen):
    call: Call
    """Of the experiment: a mismatch of the split, else the best that can be said of any arm while none is still running."""
    reason: str
    mismatch: float
    """p-value of the split."""
    leading: str = ""
    """The arm that `call` is said of; empty for a mismatch."""
    arms: tuple[Arm, ...]
    at: Instant


def judge(rules: Experiments, observed: Observed, now: datetime) -> Outcome:
    units = {arm: sum(each[arm].units for each in observed.periods if arm in each) for arm in observed.weights}
    mismatch = allocation.p_value([(units, observed.weights)])
    arms = tuple(_arm(rules, observed, name, now) for name in observed.weights if name != observed.control)
    if mismatch <= rules.max_mismatch:
        total, weight = sum(units.values()), sum(observed.weights.values())
        got = ", ".join(f"{arm} {share(units[arm] / total)} of {share(observed.weights[arm] / weight)}" for arm in units)
        reason = f"The split is not as assigned (p = {mismatch:.2g}): {got}."
        return Outcome(call=Call.MISMATCH, reason=reason, mismatch=mismatch, arms=arms, at=now)
    everybody = sum(units.values()) + observed.mixed
    if everybody >= rules.min_units and observed.mixed > rules.max_mixed * everybody:
        got = f"{observed.mixed} of {everybody} entities ({share(observed.mixed / everybody)}) were answered by two arms"
        reason = f"The assignment does not hold: {got}, where {share(rules.max_mixed)} are let pass."
        return Outcome(call=Call.MISMATCH, reason=reason, mismatch=mismatch, arms=arms, at=now)
    order = (Call.WINNER, Call.RUNNING, Call.INCONCLUSIVE, Call.LOSER, Call.HARMFUL)
    leading = min(arms, key=lambda each: (order.index(each.call), -_towards(observed.goal, each.effect)))
    return Outcome(
        call=leading.call,
        reason=f"{leading.name}: {leading.reason}",
        mismatch=mismatch,
        leading=leading.name,
        arms=arms,
        at=now,
    )


def _towards(goal: Goal, effect: Effect) -> float:
    difference = effect.difference or 0.0
    return difference if goal.better == "higher" else -difference


def _arm(rules: Experiments, observed: Observed, name: str, now: datetime) -> Arm:
    treatments = len(observed.weights) - 1
    # Either side of the goal has half of the level.
    effect, better, worse = _goal(rules, observed, observed.goal, name, rules.wrong_winners / treatments)
    stops = rules.wrong_stops / treatments / max(1, len(observed.guardrails))
    harms = [_harmed(rules, observed, each, name, stops) for each in observed.guardrails]
    effects = tuple(_goal(rules, observed, each, name, stops)[0] for each in observed.guardrails)
    lasted = now - observed.started

    def called(call: Call, reason: str) -> Arm:
        return Arm(name=name, call=call, reason=reason, effect=effect, guardrails=effects)

    if harmed := [str(shown) for harm, shown in zip(harms, effects, strict=True) if harm]:
        return called(Call.HARMFUL, f"it harms {'; '.join(harmed)}.")
    few = min(effect.units, effect.control_units) < rules.min_units
    if worse and not few:
        return called(Call.LOSER, f"it is worse than the control: {effect}.")
    if lasted >= rules.shortest and better and not few:
        return called(Call.WINNER, f"it is better than the control: {effect}.")
    if lasted < rules.longest:
        return called(Call.RUNNING, f"{span(max(lasted, timedelta(0)))} of at most {span(rules.longest)}: {effect}.")
    return called(Call.INCONCLUSIVE, f"no winner in {span(lasted)}: {effect}.")


def _goal(rules: Experiments, observed: Observed, goal: Goal, arm: str, level: float) -> tuple[Effect, bool, bool]:
    """(the effect, whether it is better, whether it is worse) than the control, at `level` for both claims together."""
    up, down = (Side.ABOVE, Side.BELOW) if goal.better == "higher" else (Side.BELOW, Side.ABOVE)
    both = _both(observed.periods, arm, observed.control)
    if goal.kind == "share":
        known = [(a, b) for a, b in both if goal.name in a.hits and goal.name in b.hits]
        counts = _shares(known, goal.name)
        units = int(counts.canary.sum()), int(counts.control.sum())
        if not all(units) or not _alike(known, goal.name, rules.max_coverage_gap):
            return Effect(goal=goal.name, units=units[0], control_units=units[1]), False, False
        low, high = shares.interval(counts, level, goal.margin)
        won, lost = (claimed(shares.log_capital(counts, 0.0, side, goal.margin), level / 2)[-1] for side in (up, down))
        values = float(counts.canary_bad.sum() / units[0]), float(counts.control_bad.sum() / units[1])
        difference = float(counts.difference[-1])
    else:
        known = [(a, b) for a, b in both if goal.name in a.values and goal.name in b.values]
        treatment, control = (_moments([each[side] for each in known], goal.name) for side in (0, 1))
        units = int(treatment.count.sum()), int(control.count.sum())
        if min(units) < max(2, rules.min_units):
            return Effect(goal=goal.name, units=units[0], control_units=units[1]), False, False
        values = float(treatment.mean[-1]), float(control.mean[-1])
        scale = goal.margin * abs(values[1]) or 1.0
        low, high = means.interval(treatment, control, level, scale)
        # What is asymptotic is looked at from `min_units` on: the latest look alone, like the interval.
        won, lost = (means.log_capital(treatment, control, 0.0, side, scale)[-1] >= -math.log(level / 2) for side in (up, down))
        difference = values[0] - values[1]
    effect = Effect(
        goal=goal.name,
        treatment=values[0],
        control=values[1],
        difference=_finite(difference),
        low=_finite(low),
        high=_finite(high),
        units=units[0],
        control_units=units[1],
    )
    return effect, bool(won), bool(lost)


def _harmed(rules: Experiments, observed: Observed, goal: Goal, arm: str, level: float) -> bool:
    """Worse beyond chance and by at least the margin: the same rule as for a canary."""
    terms = Terms(margin=goal.margin, wrong_rollbacks=level, wrong_passes=level, least=rules.min_units)
    both = _both(observed.periods, arm, observed.control)
    if goal.kind == "share":
        known = [(a, b) for a, b in both if goal.name in a.hits and goal.name in b.hits]
        counts = _shares(known, goal.name)
        if not _alike(known, goal.name, rules.max_coverage_gap):
            return False
        if goal.better == "higher":
            counts = Shares(
                counts.canary, counts.canary - counts.canary_bad, counts.control, counts.control - counts.control_bad
            )
        return of_shares(counts, terms).last is Answer.WORSE
    known = [(a, b) for a, b in both if goal.name in a.values and goal.name in b.values]
    treatment, control = (_moments([each[side] for each in known], goal.name) for side in (0, 1))
    return of_means(treatment, control, terms, better=goal.better).last is Answer.WORSE


def _both(periods: tuple[dict[str, Exposed], ...], arm: str, control: str) -> list[tuple[Exposed, Exposed]]:
    return [(each[arm], each[control]) for each in periods if arm in each and control in each]


def _alike(known: list[tuple[Exposed, Exposed]], goal: str, gap: float) -> bool:
    """Whether it is known of about the same share of either arm's units."""
    covered = [sum(each[side].of(goal) for each in known) / max(1, sum(each[side].units for each in known)) for side in (0, 1)]
    return abs(covered[0] - covered[1]) <= gap


def _shares(known: list[tuple[Exposed, Exposed]], goal: str) -> Shares:
    return Shares.of(
        [a.of(goal) for a, _ in known],
        [a.hits[goal] for a, _ in known],
        [b.of(goal) for _, b in known],
        [b.hits[goal] for _, b in known],
    )


def _moments(known: list[Exposed], goal: str) -> Moments:
    values = [each.values[goal] for each in known]
    return Moments.of([each.count for each in values], [each.total for each in values], [each.squares for each in values])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
