"""The verdict of a candidate against the champion, from what was measured of both; pure. `pipelines` measures.

`better` needs a gain of the primary measure as large as policy asks, beyond chance, and nothing worse that policy names.
`worse` is whatever is worse beyond chance, or beyond a limit that needs no statistics (size, latency, fairness). Anything
else is `inconclusive`: too little data, too small a gain, or a measure that policy needs and nobody took.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

from agents.paired import gain, p_value
from agents.promotion_rules import Evaluations
from agents.statistics import holm
from agents.wording import counted, number, share
from tools.registry.evaluations import Compared, Facts, Fairness, Limited
from tools.values import Frozen


class Standing(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


class Weighed(Frozen):
    """One measure, and what it says."""

    name: str
    window: str = ""
    candidate: float
    champion: float
    standing: Standing
    p_value: float | None = None
    """For what `standing` says, adjusted for all that was tested; for `inconclusive`, of being worse."""
    reason: str


class Verdict(Frozen):
    standing: Standing
    reason: str
    weighed: tuple[Weighed, ...]
    """What is worse first."""


def evaluate(facts: Facts, rules: Evaluations) -> Verdict:
    guarded = [each for each in facts.compared if _named(each.name, rules) and each.rows >= rules.min_rows]
    tested = [(each, p) for each in guarded if (p := p_value(each, "worse")) is not None]
    adjusted = holm([p for _, p in tested])
    p_worse = {(each.window, each.name): p for (each, _), p in zip(tested, adjusted, strict=True)}
    weighed = [
        *(_compared(each, p_worse.get((each.window, each.name)), rules) for each in facts.compared),
        *(_limited(each, rules) for each in facts.limited if _named(each.name, rules)),
        *(_fair(each, rules) for each in facts.fairness if _named(each.name, rules)),
    ]
    order = (Standing.WORSE, Standing.BETTER, Standing.INCONCLUSIVE)
    weighed.sort(key=lambda each: order.index(each.standing))
    standing, reason = _concluded(facts, weighed, rules)
    return Verdict(standing=standing, reason=reason, weighed=tuple(weighed))


def _concluded(facts: Facts, weighed: Sequence[Weighed], rules: Evaluations) -> tuple[Standing, str]:
    if worse := [each for each in weighed if each.standing is Standing.WORSE]:
        return Standing.WORSE, f"Worse: {'; '.join(each.reason for each in worse)}."
    names = [each.name for each in facts.compared] + [each.name for each in facts.limited]
    names += [each.name for each in facts.fairness if each.smallest_group >= rules.min_rows]
    missing = [name for name in rules.needed if not any(fnmatchcase(each, name) for each in names)]
    if missing:
        return Standing.INCONCLUSIVE, f"Not measured, and policy needs it: {', '.join(missing)}."
    primary = [each for each in weighed if each.name == rules.primary and each.window]
    held_out = next((each for each in primary if each.window == "held_out"), None)
    if held_out is None and not any(each.window == "held_out" for each in facts.compared):
        return _on_traffic_alone(primary, rules)
    if held_out is None:
        return Standing.INCONCLUSIVE, f"{rules.primary} was not measured on held-out rows."
    if held_out.standing is not Standing.BETTER:
        return Standing.INCONCLUSIVE, f"Not better by enough: {held_out.reason}."
    recent = next((each for each in facts.compared if each.name == rules.primary and each.window == "recent"), None)
    if recent is not None and recent.rows >= rules.min_rows and gain(recent) < 0:
        return Standing.INCONCLUSIVE, f"Better on held-out rows, but on recent traffic {_shown(recent)}."
    unseen = "" if recent is not None and recent.rows >= rules.min_rows else "; too few recent labels to look at"
    return Standing.BETTER, f"Better, and nothing that policy names is worse: {held_out.reason}{unseen}."


def _on_traffic_alone(primary: Sequence[Weighed], rules: Evaluations) -> tuple[Standing, str]:
    """Where policy names no held-out rows, the latest traffic is all that there is to go by."""
    alone = "on recent traffic alone, no held-out rows were named"
    if not primary:
        return Standing.INCONCLUSIVE, f"{rules.primary} was not measured ({alone})."
    if primary[0].standing is not Standing.BETTER:
        return Standing.INCONCLUSIVE, f"Not better by enough ({alone}): {primary[0].reason}."
    return Standing.BETTER, f"Better, {alone}, and nothing that policy names is worse: {primary[0].reason}."


def _compared(fact: Compared, p_worse: float | None, rules: Evaluations) -> Weighed:
    def told(standing: Standing, p_value: float | None, why: str) -> Weighed:
        return Weighed(
            name=fact.name,
            window=fact.window,
            candidate=fact.candidate,
            champion=fact.champion,
            standing=standing,
            p_value=p_value,
            reason=f"{_shown(fact)}{why}",
        )

    if fact.rows < rules.min_rows:
        return told(Standing.INCONCLUSIVE, None, f": {fact.rows} rows, {rules.min_rows} are needed")
    if p_worse is not None and p_worse < rules.significance and gain(fact) < 0 and -gain(fact) >= rules.max_worse:
        return told(Standing.WORSE, p_worse, f" (p = {p_worse:.2g})")
    p_better = p_value(fact, "better")
    if p_better is None:
        return told(Standing.INCONCLUSIVE, None, ": neither discordance nor resamples to test it by")
    if gain(fact) < rules.min_gain:
        return told(Standing.INCONCLUSIVE, p_worse, f", {share(rules.min_gain)} is asked for")
    if p_better >= rules.significance:
        return told(Standing.INCONCLUSIVE, p_worse, f", which may be chance (p = {p_better:.2g})")
    return told(Standing.BETTER, p_better, f" (p = {p_better:.2g})")


def _limited(fact: Limited, rules: Evaluations) -> Weighed:
    most = rules.max_size_factor if fact.name.startswith("size") else rules.max_latency_factor
    floor = 0.0 if fact.name.startswith("size") else rules.min_latency_rise_ms
    too_much = fact.candidate > fact.champion * most and fact.candidate - fact.champion >= floor
    reason = f"{fact.name} {number(fact.candidate)}, the champion's is {number(fact.champion)}, {number(most)} times is allowed"
    return Weighed(
        name=fact.name,
        candidate=fact.candidate,
        champion=fact.champion,
        standing=Standing.WORSE if too_much else Standing.INCONCLUSIVE,
        reason=reason,
    )


def _fair(fact: Fairness, rules: Evaluations) -> Weighed:
    judged = fact.smallest_group >= rules.min_rows
    unfair = judged and fact.candidate > max(rules.max_fairness_gap, fact.champion)
    allowed = f"{share(rules.max_fairness_gap)} is allowed"
    reason = f"{fact.name} {share(fact.candidate)}, the champion's is {share(fact.champion)}, {allowed}"
    if fact.left_out_groups:
        names = ", ".join(fact.left_out)
        more = ", ..." if fact.left_out_groups > len(fact.left_out) else ""
        groups, rows = counted(fact.left_out_groups, "group"), counted(fact.left_out_rows, "row")
        reason += f", without {groups} of {rows} in all, too few to judge: {names}{more}"
    if not judged:
        reason += f" ({fact.smallest_group} rows in the smallest group: not judged)"
    return Weighed(
        name=fact.name,
        candidate=fact.candidate,
        champion=fact.champion,
        standing=Standing.WORSE if unfair else Standing.INCONCLUSIVE,
        reason=reason,
    )


def _named(name: str, rules: Evaluations) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in rules.must_hold)


def _shown(fact: Compared) -> str:
    where = "held-out rows" if fact.window == "held_out" else "recent traffic"
    relative = gain(fact)
    told = f"{relative:+.1%}" if math.isfinite(relative) else "from nothing"
    return f"{fact.name} on {where} {number(fact.candidate)}, the champion's is {number(fact.champion)} ({told})"
