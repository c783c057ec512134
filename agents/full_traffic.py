"""What can be said of a canary that has all the traffic: nothing is beside it any more.

What the control was like while it was there, in the same rollout, is all that it can be held against, and that was at another
time of the day. So it counts as worse only where it is worse than the control's worst quarter of a stage by the margin at
least, beyond the chance in both; and that it is no worse is not shown again, only that nothing speaks against it.
"""

import itertools
from collections.abc import Callable, Sequence

from agents.guardrails import Judged, Look
from agents.promotion_rules import Guard
from agents.rollout_facts import Counts, Period
from agents.sequential import fixed
from agents.sequential.answers import ALL_TRAFFIC, Answer, Terms, of_limit
from agents.wording import moment, share

NOTHING_KNOWN = 0.5
"""Share of bad answers from which on a canary is taken back where nothing is known of a control, because people let it go on
without one: worse than anything that one would keep."""

_PARTS = 4
"""In so many parts each stage before is looked at, because the hours of a day differ."""

_Counted = Callable[[Counts], tuple[int, int | None]]
_COUNTED: dict[Guard, _Counted] = {
    "errors": lambda each: (each.predictions, each.failed),
    "latency": lambda each: (each.predictions, each.slow),
    "accuracy": lambda each: (each.labelled or 0, each.wrong),
}
"""Means are not held against another time's: of them, what is still learnt of the earlier stages counts."""


def earlier(look: Look) -> tuple[Judged, ...]:
    """The stages before, as they look by now: labels may have come since. Of the same tests, so of the same level."""
    if len(look.started) < 2:
        return ()
    periods = [each for each in look.periods if each.window.start < look.started[-1]]
    before = Look(look.rules, look.started[:-1], periods, look.now)
    return tuple(before.judge(guard, margin) for guard, margin in look.rules.guardrails.judged.items())


def judge(look: Look, guard: Guard, margin: float) -> Judged | None:
    """None where the guardrail cannot be judged without a control beside it."""
    counted_by = _COUNTED.get(guard)
    if counted_by is None:
        return None
    rules, late = look.rules, guard == "accuracy"
    old = [each for each in look.periods if not late or each.window.end <= look.now - rules.label_delay]
    here = [each for each in old if each.window.start >= look.started[-1]]
    level = rules.wrong_rollbacks * ALL_TRAFFIC / len(rules.guardrails.judged)
    known = [each for each in here if counted_by(each.canary)[1] is not None]
    count, bad = _sums(known, "canary", counted_by)
    limit, control, control_samples = _limit(look, old, counted_by, margin, level / 2)
    if not count:
        return Judged(guard=guard, answer=Answer.INCONCLUSIVE, margin=margin, note="nothing to judge with all the traffic")
    terms = Terms(
        margin=margin,
        wrong_rollbacks=level / 2,
        wrong_passes=rules.wrong_passes,
        least=rules.min_samples,
        late=0.5,
    )
    effect = rules.design_effect
    pairs = [counted_by(each.canary) for each in known]
    answers = of_limit([each / effect for each, _ in pairs], [(each or 0) / effect for _, each in pairs], limit, terms)
    told = Judged(
        guard=guard,
        answer=answers.last,
        canary=bad / count,
        control=control,
        canary_samples=count,
        control_samples=control_samples,
        difference=None if control is None else bad / count - control,
        margin=margin,
        note=f"with all the traffic, of the control before; worse is beyond {share(limit)}",
    )
    if answers.stretch is not None:
        place, end = answers.stretch
        of = known[place:end]
        so_many, so_bad = _sums(of, "canary", counted_by)
        when = f"{share(so_bad / so_many)} from {moment(of[0].window.start)} to {moment(of[-1].window.end)}"
        told = told.model_copy(update={"note": f"{told.note}; {when}"})
    return _covered(look, told, old, here) if late else told


def in_the_way(judged: Judged) -> bool:
    """Whether it keeps a canary from being promoted. Labels may come days later: without any, nothing speaks against it."""
    unlabelled = judged.guard == "accuracy" and judged.canary is None
    return judged.answer is not Answer.NOT_WORSE and not unlabelled


def _limit(
    look: Look, periods: Sequence[Period], counted_by: _Counted, margin: float, level: float
) -> tuple[float, float | None, int]:
    """(the share beyond which the canary is worse, the control's where it was worst, and of how many samples)."""
    found = []
    for begun, ended in itertools.pairwise(look.started):
        of = [each for each in periods if begun <= each.window.start < ended and counted_by(each.control)[1] is not None]
        edges = [round(len(of) * part / _PARTS) for part in range(_PARTS + 1)]
        found += [_sums(of[start:end], "control", counted_by) for start, end in itertools.pairwise(edges)]
    whole = (sum(count for count, _ in found), sum(bad for _, bad in found))
    large = [each for each in found if each[0] >= look.rules.min_samples]
    parts = large or ([whole] if whole[0] >= look.rules.min_samples else [])
    effect = look.rules.design_effect
    limits = [
        (fixed.highest(count / effect, bad / effect, level / len(parts)) + margin, bad / count, count) for count, bad in parts
    ]
    return max(limits, default=(NOTHING_KNOWN, None, 0))


def _covered(look: Look, told: Judged, old: Sequence[Period], here: Sequence[Period]) -> Judged:
    """Where it depends on the answer, or on the time, which of them have a label, accuracy does too."""
    before = [each.control for each in old if each.window.start < look.started[-1]]
    seen = [_coverage(each) for each in ([each.canary for each in here], before)]
    ours, theirs = seen
    if ours is None or ours < look.rules.min_coverage:
        reason = "too few labels yet"
    elif theirs is not None and abs(ours - theirs) > look.rules.max_coverage_gap:
        reason = f"labels for {share(ours)}, and for {share(theirs)} of the control's answers before: too far apart"
    else:
        return told
    # As without any.
    return Judged(guard=told.guard, answer=Answer.INCONCLUSIVE, margin=told.margin, note=reason)


def _coverage(counts: Sequence[Counts]) -> float | None:
    answered = sum(each.predictions - (each.failed or 0) for each in counts)
    return sum(each.labelled or 0 for each in counts) / answered if answered else None


def _sums(periods: Sequence[Period], side: str, counted_by: _Counted) -> tuple[int, int]:
    counts = [counted_by(getattr(each, side)) for each in periods]
    return sum(each for each, _ in counts), sum(each or 0 for _, each in counts)
