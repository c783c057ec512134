"""From a finding about a candidate to the one thing to do about it."""

from datetime import datetime
from typing import assert_never

from agents.actions import Action, NoAction, StartRollout
from agents.evidence import Cause, Finding, Recommendation
from agents.narrative import plain
from agents.policies import Policies
from agents.promotion.case import PromotionCase
from agents.telling import tell


def recommend(finding: Finding, case: PromotionCase, policies: Policies, now: datetime) -> Recommendation:
    action, reason = _action(finding, case, policies, now)
    return Recommendation(finding=finding, action=action, reason=reason)


def _action(finding: Finding, case: PromotionCase, policies: Policies, now: datetime) -> tuple[Action, str]:
    match finding.cause:
        case Cause.CANDIDATE_BETTER:
            return _roll_out(finding, case, policies, f"version {case.candidate} is better")
        case Cause.CANDIDATE_UNPROVEN if case.request is not None and case.request.kind == "promote":
            # Somebody asks for it, and others have to approve it, knowing what is not known.
            return _roll_out(finding, case, policies, f"{case.request.by} asks: {case.request.reason}")
        case Cause.CANDIDATE_UNPROVEN:
            return tell(finding, case.alerts, policies, "it is not shown that the candidate is better")
        case Cause.CANDIDATE_WORSE:
            return tell(finding, case.alerts, policies, "the candidate is worse, so nothing is promoted")
        case Cause.FALSE_ALARM:
            reason = f"Looked at {now:%Y-%m-%d %H:%M} UTC: {finding.summary}"
            return NoAction(reason=plain(reason, 2_000)), "there is nothing to promote"
        case (
            Cause.MODEL_REGRESSION
            | Cause.DATA_DRIFT
            | Cause.DATA_QUALITY
            | Cause.LABEL_SHIFT
            | Cause.CONCEPT_DRIFT
            | Cause.SEASONALITY
            | Cause.INFRASTRUCTURE
            | Cause.TRAFFIC_CHANGE
            | Cause.LABELS
            | Cause.CANDIDATE_CHEAPER
            | Cause.HEAVY_MODEL
            | Cause.DUPLICATE_TRAINING
            | Cause.IDLE_CAPACITY
            | Cause.SMALL_BATCHES
            | Cause.FULL_PRICE
            | Cause.STALE_ARTIFACTS
            | Cause.PRICE_CHANGE
            | Cause.UNRESOLVED
        ):
            return tell(finding, case.alerts, policies, "there is nothing that could be promoted")
        case unknown:
            assert_never(unknown)


def _roll_out(finding: Finding, case: PromotionCase, policies: Policies, why: str) -> tuple[Action, str]:
    if case.model is None or case.candidate is None or case.champion is None:
        return tell(finding, case.alerts, policies, "there is no champion to try it beside")
    rules = policies.rollouts_of(case.model)
    slow_ms = None
    if rules.guardrails.latency is not None:
        # The champion's own p99, so that twice as many slow answers as before stand out; without one, what was promised.
        slow_ms = case.slow_ms or policies.slo_of(case.model).max_latency_p99_ms
    rollout = StartRollout(
        model=case.model,
        from_version=case.champion,
        version=case.candidate,
        stages=rules.stages,
        slow_ms=slow_ms,
        judging=rules.judging_of(case.answers),
    )
    return rollout, why
