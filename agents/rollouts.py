"""What to do at one look at a canary: pure, from what was measured so far.

Version against version on the same periods. Worse, in anything that policy guards, is rolled back at the look that can tell; a
stage passes when its time is up and everything guarded is shown to be not worse; what is inconclusive then goes on for a while,
and is handed to people after that. Nothing passes without traffic, nor without values for everything that is guarded.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from agents import full_traffic
from agents.guardrails import Judged, Look
from agents.promotion_rules import LABELLED, Rollouts
from agents.rollout_facts import Progress
from agents.sequential.answers import Answer
from agents.wording import span
from tools.values import Frozen, Instant


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
    look = Look(rules, progress.started, periods, now)
    guards = rules.guardrails.judged_at(own.weight)
    delay = rules.label_delay if own.weight < 1 and any(guard in guards for guard in LABELLED) else timedelta(0)
    due = begun + own.hold + delay
    asks_at = max(due + rules.extend, progress.extended_until or due)
    if own.weight == 1:
        return _full(look, due, asks_at)
    judged = tuple(look.judge(guard, margin) for guard, margin in guards.items())
    mismatch = look.mismatch()

    def decided(choice: Choice, reason: str) -> Decision:
        return Decision(choice=choice, reason=reason, stage=stage, judged=judged, mismatch=mismatch, asks_at=asks_at, at=now)

    if worse := [each for each in judged if each.answer is Answer.WORSE]:
        return decided(Choice.ROLLBACK, f"The canary is worse, beyond chance: {'; '.join(map(str, worse))}.")
    if mismatch is not None and rules.max_mismatch is not None and mismatch <= rules.max_mismatch:
        return decided(Choice.ASK, f"The traffic is not split by the weights (p = {mismatch:.2g}), so nothing can be compared.")
    if now < due:
        return decided(Choice.HOLD, f"{span(now - begun)} of {span(due - begun)} have passed.")
    if judged and all(each.answer is Answer.NOT_WORSE for each in judged):
        last = stage + 1 == len(rules.stages)
        passed = f"In {span(now - begun)} the canary has shown to be not worse: {'; '.join(map(str, judged))}."
        return decided(Choice.COMPLETE if last else Choice.ADVANCE, passed)
    unclear = look.unclear(judged)
    if now < asks_at:
        return decided(Choice.EXTEND, f"Not clear yet: {unclear}.")
    return decided(Choice.ASK, f"Still not clear after {span(now - begun)}: {unclear}.")


def _full(look: Look, due: datetime, asks_at: datetime) -> Decision:
    """The canary has everything. What is still learnt of the stages before counts as it did, and what it does now is held
    against what the control was like then; a hold of nothing spares it neither, nor that it has to have answered by now."""
    stage, begun, rules = len(look.started) - 1, look.started[-1], look.rules
    answered = sum(each.canary.predictions for each in look.here)
    before = {each.guard: each for each in full_traffic.earlier(look)}
    judgements = [full_traffic.judge(look, guard, margin) for guard, margin in rules.guardrails.judged.items()]
    alone = {each.guard: each for each in judgements if each is not None}
    over = [each for each in before.values() if each.answer is Answer.WORSE]
    judged = tuple({**before, **alone, **{each.guard: each for each in over}}.values())

    def decided(choice: Choice, reason: str) -> Decision:
        return Decision(choice=choice, reason=reason, stage=stage, judged=judged, asks_at=asks_at, at=look.now)

    if over:
        return decided(
            Choice.ROLLBACK, f"In the stages before, the canary was worse, beyond chance: {'; '.join(map(str, over))}."
        )
    if worse := [each for each in alone.values() if each.answer is Answer.WORSE]:
        return decided(
            Choice.ROLLBACK, f"The canary is worse than the control was, beyond chance: {'; '.join(map(str, worse))}."
        )
    if look.now < due:
        return decided(Choice.HOLD, f"{span(look.now - begun)} of {span(due - begun)} have passed.")
    against = [each for each in alone.values() if full_traffic.in_the_way(each)]
    if answered < rules.min_samples:
        reason = f"{answered:,} of {rules.min_samples:,} predictions have come since it has all the traffic."
    elif against:
        reason = f"With all the traffic it is not clear that it holds: {'; '.join(map(str, against))}."
    else:
        return decided(Choice.COMPLETE, "All stages passed.")
    return decided(Choice.EXTEND if look.now < asks_at else Choice.ASK, reason)
