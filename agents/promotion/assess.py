"""Whether a candidate is better than the champion, from what the platform's own evaluation measured."""

from collections.abc import Iterator
from datetime import datetime

from agents.evaluation import Standing, Weighed, evaluate
from agents.evidence import Cause, Evidence, Finding, Hypothesis
from agents.examination import stands
from agents.policies import Policies
from agents.promotion.case import PromotionCase
from agents.promotion_rules import Evaluations
from agents.wording import span
from tools.registry.evaluations import Evaluation, StagingCheck

_CAUSES = {
    Standing.BETTER: Cause.CANDIDATE_BETTER,
    Standing.WORSE: Cause.CANDIDATE_WORSE,
    Standing.INCONCLUSIVE: Cause.CANDIDATE_UNPROVEN,
}
_MOST = 12
"""Measures that are told one by one, what is worse first; all of them lie with the candidate's run."""
_LEADING = 0.9
"""A verdict is reached by rules, not weighed: one stands."""


def assess(case: PromotionCase, policies: Policies, now: datetime) -> Finding:
    if case.model is None or case.candidate is None:
        return _finding(case, Cause.UNRESOLVED, "Nothing says which version of which model is to be promoted.", (), now)
    if case.champion is None:
        unread = ", ".join(sorted({each.source for each in case.missing}))
        lacking = f" Not read: {unread}." if unread else ""
        return _finding(case, Cause.UNRESOLVED, f"{case.model} has no champion to hold a candidate against.{lacking}", (), now)
    if case.candidate == case.champion:
        return _finding(case, Cause.FALSE_ALARM, f"Version {case.candidate} of {case.model} is champion already.", (), now)
    beside = f"version {case.candidate} beside champion {case.champion}"
    rules = policies.evaluations_of(case.model)
    claimed = tuple(_claims(case.claim, rules)) if case.claim is not None else ()
    if case.evaluation is None:
        said = f"No evaluation of {beside} by a job of the platform's own is on record"
        said += f": {case.unproven}." if case.unproven else "."
        if case.claim is not None:
            said += f" Its training claims: {claimed[0].statement if claimed else 'nothing that policy asks for.'}"
        return _finding(case, Cause.CANDIDATE_UNPROVEN, said, claimed, now)
    staging = tuple(_checked(each, case.evaluation) for each in case.evaluation.staging)
    if failed := [f"{each.name}: {each.reason}" for each in case.evaluation.staging if not each.ok]:
        said = f"The files of version {case.candidate} have failed a check, so they may not serve. {'; '.join(failed)}."
        return _finding(case, Cause.CANDIDATE_WORSE, said, staging, now)
    verdict = evaluate(case.evaluation.facts, rules)
    evidence = (*(_evidence(each, case.evaluation) for each in verdict.weighed[:_MOST]), *staging, *claimed)
    untried = [name for name in rules.checks if name not in {each.name for each in case.evaluation.staging}]
    if untried and verdict.standing is not Standing.WORSE:
        said = f"Of {beside}: {', '.join(untried)} not checked, and policy needs it. {verdict.reason}"
        return _finding(case, Cause.CANDIDATE_UNPROVEN, said, evidence, now)
    if case.evaluation.seen_until is not None and verdict.standing is Standing.BETTER:
        until = f"{case.evaluation.seen_until:%Y-%m-%d %H:%M} UTC"
        said = f"Of {beside}: measured on rows that it has learnt from (until {until}), so it proves nothing. {verdict.reason}"
        return _finding(case, Cause.CANDIDATE_UNPROVEN, said, evidence, now)
    known = case.evaluation.seen_until is None and not case.evaluation.unread_end
    if case.evaluation.unread_end and verdict.standing is Standing.BETTER:
        unread = f"its tag data.to={case.evaluation.unread_end!r} is no time"
        said = f"Of {beside}: {unread}, so whether it has learnt from these rows is not known. {verdict.reason}"
        return _finding(case, Cause.CANDIDATE_UNPROVEN, said, evidence, now)
    fresh = stands(case.evaluation, (job := policies.evaluation_of(case.model)), now)
    if not fresh and verdict.standing is Standing.BETTER:
        old = f"evaluated {span(now - case.evaluation.of)} ago, and policy lets that stand for {span(job.good_for)}"
        said = f"Of {beside}: {old}{f': {case.unproven}' if case.unproven else ''}. {verdict.reason}"
        return _finding(case, Cause.CANDIDATE_UNPROVEN, said, evidence, now)
    found = _finding(case, _CAUSES[verdict.standing], f"Of {beside}: {verdict.reason}", evidence, now)
    believed = fresh and known and not untried
    return found.model_copy(update={"examined": (case.candidate,)}) if believed else found


def _evidence(weighed: Weighed, evaluation: Evaluation) -> Evidence:
    window = evaluation.recent if weighed.window == "recent" else evaluation.held_out
    fact = next((f for f in evaluation.facts.compared if (f.name, f.window) == (weighed.name, weighed.window)), None)
    return Evidence(
        id=f"evaluation.{weighed.window or 'both'}.{weighed.name}"[:200],
        statement=f"{weighed.standing.value.capitalize()}: {weighed.reason}.",
        source="jobs",
        query=f"evaluation({evaluation.model}, {evaluation.version}, {evaluation.champion})",
        value=weighed.candidate,
        limit=weighed.champion,
        sample_size=fact.rows if fact is not None else None,
        window=window if weighed.window else None,
    )


def _claims(claim: Evaluation, rules: Evaluations) -> Iterator[Evidence]:
    """Its primary measure only: people are to see what is claimed, not to be led by it."""
    for fact in claim.facts.compared:
        if fact.name == rules.primary:
            what = f"{fact.name} {fact.candidate:.4g}, the champion's {fact.champion:.4g}, on {fact.rows:,} rows"
            yield Evidence(
                id=f"claim.{fact.window}.{fact.name}"[:200],
                statement=f"Claimed by the training, and checked by nobody: {what}.",
                source="jobs",
                query=f"claim({claim.model}, {claim.version}, {claim.champion})",
                value=fact.candidate,
                limit=fact.champion,
                sample_size=fact.rows,
            )


def _checked(check: StagingCheck, evaluation: Evaluation) -> Evidence:
    return Evidence(
        id=f"staging.{check.name}",
        statement=f"{check.name.capitalize()} {'passed' if check.ok else 'failed'}: {check.reason}.",
        source="jobs",
        query=f"evaluation({evaluation.model}, {evaluation.version}, {evaluation.champion})",
        value="passed" if check.ok else "failed",
    )


def _finding(case: PromotionCase, cause: Cause, summary: str, evidence: tuple[Evidence, ...], now: datetime) -> Finding:
    leading = Hypothesis(cause=cause, score=_LEADING, reason=summary, supporting=tuple(each.id for each in evidence))
    return Finding(
        cause=cause,
        summary=summary,
        hypotheses=(leading,) if cause is not Cause.UNRESOLVED else (),
        evidence=evidence,
        missing=case.missing,
        model=case.model,
        version=case.candidate,
        previous_version=case.champion,
        assessed_at=now,
    )
