"""An experiment that pays, as a rollout: the INT8 version is tried on traffic as any other version is."""

from datetime import datetime, timedelta
from decimal import Decimal

from agents.actions import Action, NoAction, StartRollout
from agents.cost.case import CostCase
from agents.cost.inefficiency import Saving
from agents.cost.optimization import Optimization, Trial
from agents.cost.quantization_rules import QuantizationRules
from agents.cost.savings import returned
from agents.evidence import Cause, Evidence, Finding, Hypothesis, Recommendation
from agents.narrative import plain
from agents.policies import Policies
from agents.promotion_rules import MOST_STAGES, Judging, Rollouts, Stage
from agents.wording import money

_SCORE = 0.9
_PLACES = Decimal("0.000001")


def expecting(optimization: Optimization, trial: Trial, case: CostCase) -> Optimization:
    """By what was measured, in place of what was guessed before: of what serving the version costs a day."""
    if case.serving is None or case.currency is None:
        return optimization
    low, high = ((case.serving.per_day * Decimal(repr(part))).quantize(_PLACES) for part in (trial.low, trial.high))
    expected = Saving(low=low, high=high, currency=case.currency)
    inefficiency = optimization.inefficiency.model_copy(update={"expected": expected})
    return optimization.model_copy(update={"inefficiency": inefficiency})


def roll_out(
    optimization: Optimization,
    trial: Trial,
    case: CostCase,
    slow_ms: float | None,
    policies: Policies,
    now: datetime,
    *,
    mirrors: bool,
) -> Recommendation:
    """`slow_ms`: the champion's p99 lately; `mirrors`: what moves the traffic can copy requests to a shadow."""
    finding = _finding(optimization, trial, case, now)
    action, reason = _action(optimization, trial, case, slow_ms, policies, now, mirrors=mirrors)
    return Recommendation(finding=finding, action=action, reason=reason)


def _finding(optimization: Optimization, trial: Trial, case: CostCase, now: datetime) -> Finding:
    evidence = tuple(
        Evidence(
            id=f"trial.{each.name}"[:200],
            statement=f"{each.name.capitalize()}: {each.after:g}{f' {each.unit}' if each.unit else ''}"
            + (f", the original's {each.before:g}." if each.before is not None else "."),
            source="jobs",
            query=f"quantization({case.model}, {case.champion})",
            value=each.after,
            unit=each.unit,
            limit=each.before,
        )
        for each in trial.figures
        if each.after is not None
    )
    leading = Hypothesis(
        cause=Cause.CANDIDATE_CHEAPER, score=_SCORE, reason=trial.reason, supporting=tuple(each.id for each in evidence)
    )
    return Finding(
        cause=Cause.CANDIDATE_CHEAPER,
        summary=trial.reason,
        hypotheses=(leading,),
        evidence=evidence,
        missing=case.missing,
        model=case.model,
        version=optimization.version,
        previous_version=case.champion,
        # The job that has measured it is the platform's own, and made the very files that it measured.
        examined=(optimization.version,) if optimization.version is not None else (),
        assessed_at=now,
    )


def _action(
    optimization: Optimization,
    trial: Trial,
    case: CostCase,
    slow_ms: float | None,
    policies: Policies,
    now: datetime,
    *,
    mirrors: bool,
) -> tuple[Action, str]:
    model, version, made_of = case.model, optimization.version, optimization.ordered
    if model is None or version is None or made_of is None:
        raise ValueError("an experiment that pays has made a version")
    if case.champion != made_of.version:
        now_ = case.champion or "none"
        why = f"version {now_} is champion of {model} by now, and version {version} was made of {made_of.version}"
        return NoAction(reason=plain(f"Looked at {now:%Y-%m-%d %H:%M} UTC: {why}", 2_000)), why
    if (late := _too_late(optimization, trial, policies.optimizations_of(model).longest_payback)) is not None:
        return NoAction(reason=plain(f"Looked at {now:%Y-%m-%d %H:%M} UTC: {late}. {trial.reason}", 2_000)), late
    rules = policies.rollouts_of(model)
    limit = None
    if rules.guardrails.latency is not None:
        limit = slow_ms or policies.slo_of(model).max_latency_p99_ms
    quantization, judging = policies.quantization_of(model), rules.judging_of(case.answers)
    stages = _stages(rules, judging, quantization, mirrors=mirrors)
    rollout = StartRollout(
        model=model,
        from_version=made_of.version,
        version=version,
        stages=stages,
        slow_ms=limit,
        judging=judging,
        weighed=quantization.margins if stages[0].weight == 0 else None,
    )
    return rollout, trial.reason


def _stages(rules: Rollouts, judging: Judging, quantization: QuantizationRules, *, mirrors: bool) -> tuple[Stage, ...]:
    """Those of any rollout, behind a shadow: whether it pays on live traffic is known before anybody is given its answers."""
    shadowed = mirrors and quantization.shadow and judging.guardrails.judged_at(0)
    if rules.stages[0].weight == 0 or not shadowed or len(rules.stages) == MOST_STAGES:
        return rules.stages
    # It is looked at within its time.
    hold = max(quantization.shadow, rules.look_every)
    return (Stage(weight=0, hold=hold, mirror=quantization.mirror), *rules.stages)


def _too_late(optimization: Optimization, trial: Trial, longest: timedelta) -> str | None:
    """Why it is not worth it, although it pays by itself: what the experiment has cost is earned back too late."""
    expected = optimization.inefficiency.expected
    if trial.cost is None or trial.currency != expected.currency:
        return None
    found = returned(trial.cost, (expected.low + expected.high) / 2, expected.currency)
    days = found.payback_days
    if days is not None and days <= Decimal(repr(longest / timedelta(days=1))):
        return None
    when = f"in {days} days" if days is not None else "never"
    return f"the experiment has cost {money(trial.cost, expected.currency)}, which is earned back {when}"
