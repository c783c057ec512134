"""From the request for an experiment to the one thing to do about it: pure."""

from datetime import datetime

from pydantic import Field

from agents.actions import Action, StartExperiment
from agents.alerts import Alert
from agents.evidence import Cause, Evidence, Finding, Hypothesis, Missing, Recommendation
from agents.policies import Policies
from agents.promotion.assess import assess
from agents.promotion.case import PromotionCase
from agents.requests import Request
from agents.telling import tell
from tools.registry.evaluations import Evaluation
from tools.values import Frozen


class ExperimentCase(Frozen):
    alerts: tuple[Alert, ...]
    request: Request | None
    champion: str | None = None
    evaluations: dict[str, Evaluation] = Field(default_factory=dict)
    """By treatment, beside this champion, as far as somebody has measured it."""
    missing: tuple[Missing, ...] = ()


def recommend(case: ExperimentCase, policies: Policies, now: datetime) -> Recommendation:
    finding = _finding(case, policies, now)
    action, reason = _action(finding, case, policies)
    return Recommendation(finding=finding, action=action, reason=reason)


def _action(finding: Finding, case: ExperimentCase, policies: Policies) -> tuple[Action, str]:
    request, plan = case.request, case.request.plan if case.request is not None else None
    if request is None or plan is None or case.champion is None:
        return tell(finding, case.alerts, policies, "there is nothing that could be tried")
    if finding.cause is Cause.CANDIDATE_WORSE:
        return tell(finding, case.alerts, policies, "an arm is worse by its evaluation, so nothing is tried")
    if case.champion in {each.version for each in plan.treatments}:
        return tell(finding, case.alerts, policies, "an arm is champion by now, and would be its own control")
    start = StartExperiment(
        model=request.model,
        from_version=case.champion,
        plan=plan,
        rules=policies.experiments_of(request.model),
    )
    return start, f"{request.by} asks: {request.reason}"


def _finding(case: ExperimentCase, policies: Policies, now: datetime) -> Finding:
    """What is known of the arms before they are tried. One that is worse by its evaluation decides for all."""
    request = case.request
    treatments = request.plan.treatments if request is not None and request.plan is not None else ()
    found = {
        each.version: assess(
            PromotionCase(
                alerts=case.alerts,
                model=request.model if request is not None else None,
                candidate=each.version,
                champion=case.champion,
                evaluation=case.evaluations.get(each.version),
                missing=case.missing,
            ),
            policies,
            now,
        )
        for each in treatments
    }
    evidence = tuple(
        each.model_copy(update={"id": f"{version}.{each.id}"[:200]}) for version, of in found.items() for each in of.evidence
    )
    causes = {each.cause for each in found.values()}
    cause = next(
        (each for each in (Cause.UNRESOLVED, Cause.CANDIDATE_WORSE, Cause.CANDIDATE_UNPROVEN) if each in causes),
        Cause.CANDIDATE_BETTER if causes else Cause.UNRESOLVED,
    )
    summary = " ".join(each.summary for each in found.values()) or "Nothing says what is to be tried."
    return Finding(
        cause=cause,
        summary=summary,
        hypotheses=_hypotheses(cause, summary, evidence),
        evidence=evidence,
        missing=case.missing,
        model=request.model if request is not None else None,
        version=treatments[0].version if treatments else None,
        previous_version=case.champion,
        examined=tuple(version for each in found.values() for version in each.examined),
        assessed_at=now,
    )


def _hypotheses(cause: Cause, summary: str, evidence: tuple[Evidence, ...]) -> tuple[Hypothesis, ...]:
    if cause is Cause.UNRESOLVED:
        return ()
    return (Hypothesis(cause=cause, score=0.9, reason=summary, supporting=tuple(each.id for each in evidence)),)
