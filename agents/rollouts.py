"""What to do at one look at a canary: pure, from what was measured so far.

Version against version on the same periods. Worse, in anything that policy guards, is rolled back at the look that can tell; a
stage passes when its time is up and everything guarded is shown to be not worse; what is inconclusive then goes on for a while,
and is handed to people after that. Nothing passes without traffic, nor without values for everything that is guarded.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.promotion_rules import Guard, Rollouts
from agents.sequential import allocation, means, pairs, shares
from agents.sequential.answers import Answer, Terms, of_means, of_pairs, of_shares
from agents.sequential.means import Moments
from agents.sequential.pairs import Pairs
from agents.sequential.shares import Shares
from agents.wording import counted, number, share, span
from tools.values import Frozen, Instant, Window

Count = Annotated[int, Field(ge=0)]


class Values(Frozen):
    """Of a metric in a period: enough for means and variances."""

    count: Count
    total: float
    squares: Annotated[float, Field(ge=0)]
    """Sum of the squares."""


class Counts(Frozen):
    """One version in one period. None: not measured."""

    predictions: Count = 0
    failed: Count | None = None
    slow: Count | None = None
    """Slower than a limit that was fixed before the rollout started."""
    labelled: Count | None = None
    """Answered predictions of this period that have their label by now."""
    wrong: Count | None = None
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


class Choice(StrEnum):
    HOLD = "hold"
    """The stage's time is not up."""
    ADVANCE = "advance"
    EXTEND = "extend"
    """The time is up and it is not clear yet: look again."""
    ASK = "ask"
    """Nor is it clear after the extension, or the measurement itself is at fault: people decide."""
    ROLLBACK = "rollback"
    COMPLETE = "complete"
    """All stages passed: the challenger becomes champion."""


class Judged(Frozen):
    """One guardrail at one look. Differences are canary less control, in the direction in which more is worse."""

    guard: Guard
    answer: Answer
    canary: float | None = None
    """Share of bad ones, or mean, in this stage."""
    control: float | None = None
    canary_samples: int = 0
    control_samples: int = 0
    difference: float | None = None
    low: float | None = None
    """Confidence sequence of the difference in this stage, at 95 % if `wrong_passes` is 5 %."""
    high: float | None = None
    margin: float
    note: str = ""
    """Why nothing can be said, or how much of it is seen."""

    def __str__(self) -> str:
        if self.canary is None or self.control is None:
            return f"{self.guard}: {self.note or 'not measured'}"
        shown = share if self.guard in ("errors", "accuracy", "latency") else number
        what = {"errors": "failed", "accuracy": "wrong", "latency": "slow"}.get(self.guard, str(self.guard))
        sizes = f"{self.canary_samples:,} and {self.control_samples:,} samples"
        note = f"; {self.note}" if self.note else ""
        return f"{what} {shown(self.canary)} of the canary, {shown(self.control)} of the control ({sizes}){note}"


class Decision(Frozen):
    choice: Choice
    reason: str
    stage: int
    """That was looked at, from 0."""
    judged: tuple[Judged, ...] = ()
    mismatch: float | None = None
    """p-value of the split of the traffic, where policy asks for it; may be looked at as often as one likes."""
    asks_at: Instant | None = None
    """When people will be asked if it stays unclear."""
    at: Instant


def decide(rules: Rollouts, progress: Progress, now: datetime) -> Decision:
    """Raises ValueError where there are more stages begun than the rules have."""
    stage = len(progress.started) - 1
    if stage >= len(rules.stages):
        raise ValueError(f"started: {len(progress.started)} stages have begun, and policy has {len(rules.stages)}")
    begun, own = progress.started[-1], rules.stages[stage]
    periods = [each for each in progress.periods if each.window.end <= now]
    look = _Look(rules, progress.started, periods, now)
    delay = rules.label_delay if rules.guardrails.accuracy is not None and own.weight < 1 else timedelta(0)
    due = begun + own.hold + delay
    asks_at = max(due + rules.extend, progress.extended_until or due)
    if own.weight == 1:
        return _full(look, due, asks_at)
    judged = tuple(look.judge(guard, margin) for guard, margin in rules.guardrails.judged.items())
    mismatch = look.mismatch()

    def decided(choice: Choice, reason: str) -> Decision:
        return Decision(choice=choice, reason=reason, stage=stage, judged=judged, mismatch=mismatch, asks_at=asks_at, at=now)

    if worse := [each for each in judged if each.answer is Answer.WORSE]:
        return decided(Choice.ROLLBACK, f"The canary is worse, beyond chance: {'; '.join(map(str, worse))}.")
    if mismatch is not None and rules.max_mismatch is not None and mismatch <= rules.max_mismatch:
        return decided(Choice.ASK, f"The traffic is not split by the weights (p = {mismatch:.2g}), so nothing can be compared.")
    if now < due:
        return decided(Choice.HOLD, f"{span(now - begun)} of {span(due - begun)} have passed.")
    if all(each.answer is Answer.NOT_WORSE for each in judged):
        last = stage + 1 == len(rules.stages)
        passed = f"In {span(now - begun)} the canary has shown to be not worse: {'; '.join(map(str, judged))}."
        return decided(Choice.COMPLETE if last else Choice.ADVANCE, passed)
    unclear = look.unclear(judged)
    if now < asks_at:
        return decided(Choice.EXTEND, f"Not clear yet: {unclear}.")
    return decided(Choice.ASK, f"Still not clear after {span(now - begun)}: {unclear}.")


def _full(look: "_Look", due: datetime, asks_at: datetime) -> Decision:
    """The canary has everything: there is nothing to compare it with, only that it answers."""
    stage, begun, rules = len(look.started) - 1, look.started[-1], look.rules
    answered = sum(each.canary.predictions for each in look.here)

    def decided(choice: Choice, reason: str) -> Decision:
        return Decision(choice=choice, reason=reason, stage=stage, asks_at=asks_at, at=look.now)

    if look.now < due:
        return decided(Choice.HOLD, f"{span(look.now - begun)} of {span(due - begun)} have passed.")
    if due == begun or answered >= rules.min_samples:
        return decided(Choice.COMPLETE, "All stages passed.")
    reason = f"{answered:,} of {rules.min_samples:,} predictions have come since it has all the traffic."
    return decided(Choice.EXTEND if look.now < asks_at else Choice.ASK, reason)


class _Look:
    """What can be seen at one look, guardrail by guardrail."""

    def __init__(self, rules: Rollouts, started: Sequence[datetime], periods: Sequence[Period], now: datetime) -> None:
        self.rules = rules
        self.started = started
        self.now = now
        self.periods = [each for each in periods if each.window.start >= started[0]]
        self.here = [each for each in self.periods if each.window.start >= started[-1]]

    def judge(self, guard: Guard, margin: float) -> Judged:
        rules = self.rules
        terms = Terms(
            margin=margin,
            wrong_rollbacks=rules.wrong_rollbacks / len(rules.guardrails.judged),
            wrong_passes=rules.wrong_passes,
            least=rules.min_samples,
            stages=len(rules.compared),
        )
        match guard:
            case "errors":
                return self._shares(guard, terms, self.periods, lambda each: (each.predictions, each.failed))
            case "latency":
                return self._shares(guard, terms, self.periods, lambda each: (each.predictions, each.slow))
            case "accuracy":
                return self._accuracy(terms)
            case "metric":
                return self._means(guard, terms, lambda each: each.metric, rules.guardrails.metric_better)
            case "cost":
                return self._means(guard, terms, lambda each: each.cost, "lower")

    def mismatch(self) -> float | None:
        """A shadow is sent everything, so it is left out."""
        if self.rules.max_mismatch is None:
            return None
        phases = []
        for stage, (begun, rule) in enumerate(zip(self.started, self.rules.stages, strict=False)):
            until = self.started[stage + 1] if stage + 1 < len(self.started) else None
            own = [e for e in self.periods if e.window.start >= begun and (until is None or e.window.start < until)]
            units = {
                "canary": sum(each.canary.predictions for each in own),
                "control": sum(each.control.predictions for each in own),
            }
            if 0 < rule.weight < 1:
                phases.append((units, {"canary": rule.weight, "control": 1 - rule.weight}))
        return allocation.p_value(phases)

    def unclear(self, judged: Sequence[Judged]) -> str:
        answered = sum(each.canary.predictions for each in self.here)
        if not answered:
            return "the canary has had no traffic in this stage"
        return "; ".join(str(each) for each in judged if each.answer is not Answer.NOT_WORSE)

    def _accuracy(self, terms: Terms) -> Judged:
        rules = self.rules
        old = [each for each in self.periods if each.window.end <= self.now - rules.label_delay]
        here = [each for each in old if each.window.start >= self.started[-1]]
        if any(each.pairs is not None for each in here):
            return self._pairs(terms, [each.pairs for each in here if each.pairs is not None])
        found = self._shares("accuracy", terms, old, lambda each: (each.labelled or 0, each.wrong))
        # What is worse may have been so in an earlier stage.
        seen = _coverage(old if found.answer is Answer.WORSE else here)
        if seen is None:
            return found
        covered = f"labels for {share(seen[0])} of the canary's and {share(seen[1])} of the control's answers"
        if rules.label_delay:
            covered += f" older than {span(rules.label_delay)}"
        if min(seen) < rules.min_coverage:
            reason = f"{covered}, {share(rules.min_coverage)} are needed"
        elif abs(seen[0] - seen[1]) > rules.max_coverage_gap:
            reason = f"{covered}: too far apart to be compared"
        else:
            return found.model_copy(update={"note": found.note or covered})
        return found.model_copy(update={"answer": Answer.INCONCLUSIVE, "note": reason})

    def _shares(
        self, guard: Guard, terms: Terms, periods: Sequence[Period], counted_by: Callable[[Counts], tuple[int, int | None]]
    ) -> Judged:
        here = [each for each in periods if each.window.start >= self.started[-1]]
        canary, control = ([counted_by(getattr(each, side)) for each in periods] for side in ("canary", "control"))
        pair = list(zip(canary, control, strict=True))
        # A period in which one of them was not measured tells nothing of either.
        known = [ours if ours[0][1] is not None and ours[1][1] is not None else ((0, 0), (0, 0)) for ours in pair]
        first = len(periods) - len(here)
        every = Shares.of(*([(each[side][what] or 0) / self.rules.design_effect for each in known] for side, what in _ORDER))
        starts = [sum(each.window.start < begun for each in periods) for begun in self.started]
        answers = of_shares(every, terms, starts)
        sizes = [sum(each[side][0] for each in known[first:]) for side in (0, 1)]
        if not all(sizes):
            if answers.last is not Answer.WORSE:
                note = self._wanting(pair[first:], sizes)
                return Judged(guard=guard, answer=Answer.INCONCLUSIVE, margin=terms.margin, note=note)
            # Late labels may show of an earlier stage what nobody knew when it passed.
            first, sizes = 0, [sum(each[side][0] for each in known) for side in (0, 1)]
        low, high = shares.interval(every.since(first), self.rules.wrong_passes, terms.margin)
        bad = [sum(each[side][1] or 0 for each in known[first:]) for side in (0, 1)]
        values = [b / n for b, n in zip(bad, sizes, strict=True)]
        return _told(guard, answers.last, every.since(first).difference[-1], terms, sizes, values, low, high)

    def _wanting(self, here: Sequence[tuple[tuple[int, int | None], tuple[int, int | None]]], sizes: Sequence[int]) -> str:
        if not any(each[0][0] for each in here):
            return "nothing to judge of the canary in this stage"
        if not any(each[1][0] for each in here):
            return "nothing to judge of the control in this stage"
        return "not measured" if not any(sizes) else "never of both in one period"

    def _pairs(self, terms: Terms, found: Sequence[Discordant]) -> Judged:
        size = sum(each.count for each in found)
        if not size:
            note = "no labelled request was answered by both"
            return Judged(guard="accuracy", answer=Answer.INCONCLUSIVE, margin=terms.margin, note=note)
        effect = self.rules.design_effect
        counts = Pairs.of(
            *([getattr(each, name) / effect for each in found] for name in ("count", "only_canary_wrong", "only_control_wrong"))
        )
        low, high = pairs.interval(counts, self.rules.wrong_passes)
        # Requests that both got wrong are not told apart here: shares are those of the ones that differ.
        apart = [sum(getattr(each, f"only_{side}_wrong") for each in found) / size for side in ("canary", "control")]
        answers = of_pairs(counts, terms)
        told = _told("accuracy", answers.last, answers.difference[-1], terms, [size, size], apart, low, high)
        return told.model_copy(update={"note": f"{counted(size, 'request')} answered by both; where only one was wrong"})

    def _means(self, guard: Guard, terms: Terms, valued_by: Callable[[Counts], Values | None], better: str) -> Judged:
        both = [(valued_by(each.canary), valued_by(each.control)) for each in self.here]
        known = [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]
        sizes = [sum(each[side].count for each in known) for side in (0, 1)]
        if min(sizes, default=0) < 2:
            return Judged(guard=guard, answer=Answer.INCONCLUSIVE, margin=terms.margin, note="not measured")
        effect = self.rules.design_effect
        canary, control = (
            Moments.of(*([getattr(each[side], name) / effect for each in known] for name in ("count", "total", "squares")))
            for side in (0, 1)
        )
        averages = [float(each.mean[-1]) for each in (canary, control)]
        scale = terms.margin * abs(averages[1])
        low, high = means.interval(canary, control, self.rules.wrong_passes, scale) if scale else (-float("inf"), float("inf"))
        if better == "higher":
            low, high = -high, -low
        answers = of_means(canary, control, terms, better=better)
        told = _told(guard, answers.last, answers.difference[-1], terms, sizes, averages, low, high)
        note = "the control's mean is 0: a margin relative to it means nothing" if not scale else ""
        return told.model_copy(update={"note": told.note or note})


_ORDER = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Canary's all and bad, control's all and bad."""


def _coverage(periods: Sequence[Period]) -> tuple[float, float] | None:
    """Which share of the answers has a label: canary's and control's. None where one of them answered nothing."""
    sides = [[each.canary for each in periods], [each.control for each in periods]]
    answered = [sum(each.predictions - (each.failed or 0) for each in counts) for counts in sides]
    if not all(answered):
        return None
    canary, control = (sum(each.labelled or 0 for each in counts) / of for counts, of in zip(sides, answered, strict=True))
    return canary, control


def _told(
    guard: Guard,
    answer: Answer,
    difference: float,
    terms: Terms,
    sizes: Sequence[int],
    values: Sequence[float],
    low: float,
    high: float,
) -> Judged:
    few = min(sizes) < terms.least
    return Judged(
        guard=guard,
        answer=answer,
        canary=values[0],
        control=values[1],
        canary_samples=sizes[0],
        control_samples=sizes[1],
        difference=_finite(difference),
        low=_finite(low),
        high=_finite(high),
        margin=terms.margin,
        note=f"fewer than {terms.least}" if few else "",
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
