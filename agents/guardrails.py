"""What can be said of each guardrail at one look at a rollout."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from agents.promotion_rules import Guard, Rollouts
from agents.rollout_facts import Counts, Discordant, Period, Values
from agents.sequential import allocation, means, pairs, shares
from agents.sequential.answers import ALL_TRAFFIC, LATE, Answer, Terms, of_means, of_pairs, of_shares
from agents.sequential.means import Moments
from agents.sequential.pairs import Pairs
from agents.sequential.shares import Shares
from agents.wording import counted, moment, number, share, span
from tools.values import Frozen


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


class Look:
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
            late=LATE,
            kept=ALL_TRAFFIC,
        )
        match guard:
            case "errors":
                return self._shares(guard, terms, self.periods, lambda each: (each.predictions, each.failed))
            case "latency":
                return self._shares(guard, terms, self.periods, lambda each: (each.predictions, each.slow))
            case "accuracy":
                return self._accuracy(terms)
            case "loss":
                return self._late_means(guard, terms, lambda each: each.loss, "lower")
            case "metric":
                better = rules.guardrails.metric.better if rules.guardrails.metric is not None else "higher"
                return self._late_means(guard, terms, lambda each: each.metric, better)
            case "cost":
                return self._means(guard, terms, self.here, lambda each: each.cost, "lower")

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
        if shadows := sum(stage.weight == 0 for stage in rules.stages):
            # Their part of the level is spent on pairs.
            terms = replace(terms, wrong_rollbacks=terms.wrong_rollbacks * (1 - shadows / terms.stages))
        found = self._shares("accuracy", terms, old, lambda each: (each.labelled or 0, each.wrong))
        # What is worse may have been so in an earlier stage.
        seen = _coverage(old if found.answer is Answer.WORSE else here, lambda each: each.labelled or 0)
        return self._covered(found, seen, "labels")

    def _late_means(self, guard: Guard, terms: Terms, valued_by: Callable[[Counts], Values | None], better: str) -> Judged:
        """Of what comes later than the answers, if at all: means of a part of them say something of all only where it is a part
        like any other."""
        here = [each for each in self.here if each.window.end <= self.now - self.rules.label_delay]
        found = self._means(guard, terms, here, valued_by, better)
        if found.canary is None:
            return found

        def count(counts: Counts) -> int:
            values = valued_by(counts)
            return values.count if values is not None else 0

        return self._covered(found, _coverage(here, count), "labels" if guard == "loss" else "values")

    def _covered(self, found: Judged, seen: tuple[float, float] | None, what: str) -> Judged:
        """`seen`: shares of the canary's and the control's answers of which it is known how good they were."""
        if seen is None:
            return found
        rules = self.rules
        covered = f"{what} for {share(seen[0])} of the canary's and {share(seen[1])} of the control's answers"
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
        stretch = ""
        if answers.stretch is not None:
            place, end = answers.stretch
            parts = [[sum(each[side][what] or 0 for each in known[place:end]) for what in (0, 1)] for side in (0, 1)]
            stretch = _stretch(periods[place:end], self.now, [bad / count for count, bad in parts if count])
        sizes = [sum(each[side][0] for each in known[first:]) for side in (0, 1)]
        if not all(sizes):
            if answers.last is not Answer.WORSE:
                note = self._wanting(pair[first:], sizes)
                return Judged(guard=guard, answer=Answer.INCONCLUSIVE, margin=terms.margin, note=note)
            # Late labels may show of an earlier stage what nobody knew when it passed.
            first, sizes = 0, [sum(each[side][0] for each in known) for side in (0, 1)]
        stages = [max(0, start - first) for start in starts if start >= first] if first == 0 else (0,)
        low, high = shares.interval(every.since(first), self.rules.wrong_passes, terms.margin, stages)
        bad = [sum(each[side][1] or 0 for each in known[first:]) for side in (0, 1)]
        values = [b / n for b, n in zip(bad, sizes, strict=True)]
        told = self._told(guard, answers.last, every.since(first).difference[-1], terms, sizes, values, low, high)
        return told.model_copy(update={"note": stretch}) if stretch else told

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
        told = self._told("accuracy", answers.last, answers.difference[-1], terms, [size, size], apart, low, high)
        note = f"{counted(size, 'request')} answered by both; where only one was wrong"
        if answers.stretch is not None:
            place, end = answers.stretch
            note += f"; worse for {counted(end - place, 'period')}"
        return told.model_copy(update={"note": note})

    def _told(
        self,
        guard: Guard,
        answer: Answer,
        difference: float,
        terms: Terms,
        sizes: Sequence[int],
        values: Sequence[float],
        low: float,
        high: float,
    ) -> Judged:
        least = math.ceil(terms.least * self.rules.design_effect)
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
            note=f"fewer than {least:,}" if min(sizes) < least else "",
        )

    def _means(
        self,
        guard: Guard,
        terms: Terms,
        here: Sequence[Period],
        valued_by: Callable[[Counts], Values | None],
        better: str,
    ) -> Judged:
        both = [(valued_by(each.canary), valued_by(each.control)) for each in here]
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
        told = self._told(guard, answers.last, answers.difference[-1], terms, sizes, averages, low, high)
        note = "the control's mean is 0: a margin relative to it means nothing" if not scale else ""
        return told.model_copy(update={"note": told.note or note})


_ORDER = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Canary's all and bad, control's all and bad."""


def _coverage(periods: Sequence[Period], known: Callable[[Counts], int]) -> tuple[float, float] | None:
    """Of which share of the answers it is known how good they were: canary's and control's. None where one of them answered
    nothing."""
    sides = [[each.canary for each in periods], [each.control for each in periods]]
    answered = [sum(each.predictions - (each.failed or 0) for each in counts) for counts in sides]
    if not all(answered):
        return None
    canary, control = (sum(map(known, counts)) / of for counts, of in zip(sides, answered, strict=True))
    return canary, control


def _stretch(of: Sequence[Period], now: datetime, values: Sequence[float]) -> str:
    """Of the canary and the control: what they were while the canary was worse than its mean shows."""
    begun, ended = of[0].window.start, of[-1].window.end
    when = f"in the {span(now - begun)} since {moment(begun)}" if ended == now else f"from {moment(begun)} to {moment(ended)}"
    return f"{when} {' and '.join(map(share, values))}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
