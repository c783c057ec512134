"""From observations to a finding: measure, hold every cause against it, and name the one that stands out, if one does."""

from datetime import datetime

from agents.evidence import Cause, Evidence, Finding, Hypothesis
from agents.incident.causes import CAUSES
from agents.incident.facts import Facts, measure
from agents.incident.observations import Observations
from agents.policies import Investigation, Policies
from agents.wording import counted


def assess(observations: Observations, policies: Policies, now: datetime) -> Finding:
    facts = measure(observations, policies)
    hypotheses = tuple(sorted((cause(facts) for cause in CAUSES), key=lambda each: -each.score))
    cause = _cause(hypotheses, policies.investigation)
    change = observations.last_change
    return Finding(
        cause=cause,
        summary=_summary(cause, hypotheses, facts, policies.investigation),
        hypotheses=hypotheses,
        evidence=(*facts.evidence(), *_alerts(observations)),
        missing=observations.missing,
        model=observations.model,
        version=facts.rollout.new if facts.rollout else observations.champion,
        previous_version=change.before if change is not None else None,
        assessed_at=now,
    )


def _cause(hypotheses: tuple[Hypothesis, ...], rules: Investigation) -> Cause:
    first, second = hypotheses[:2]
    if first.score < rules.min_score or first.score - second.score < rules.min_separation:
        return Cause.UNRESOLVED
    return first.cause


def _summary(cause: Cause, hypotheses: tuple[Hypothesis, ...], facts: Facts, rules: Investigation) -> str:
    first, second = hypotheses[:2]
    if cause is not Cause.UNRESOLVED:
        known = {each.id: each for each in facts.evidence()}
        strongest = next((known[each].statement for each in first.supporting if each in known), "")
        return f"{first.reason} {strongest}".strip()
    if facts.observations.model is None:
        return "The alerts name no model, so there is nothing to compare."
    unread = ", ".join(sorted({each.source for each in facts.observations.missing}))
    lacking = f" Not read: {unread}." if unread else ""
    if first.score < rules.min_score:
        return f"Nothing that was measured supports a cause well enough.{lacking} {first.reason}"
    return f"{_name(first)} and {_name(second)} explain it about equally well.{lacking} {first.reason} {second.reason}"


def _name(hypothesis: Hypothesis) -> str:
    return hypothesis.cause.value.replace("_", " ").capitalize()


def _alerts(observations: Observations) -> tuple[Evidence, ...]:
    if not observations.alerts:
        return ()
    names = ", ".join(sorted({alert.name for alert in observations.alerts})[:5])
    firing = sum(alert.status == "firing" for alert in observations.alerts)
    statement = f"{counted(len(observations.alerts), 'alert')} ({firing} firing): {names}."
    links = [alert.link for alert in observations.alerts if alert.link]
    return (
        Evidence(
            id="alerts",
            statement=statement,
            source="alert",
            query="the alerts of this incident",
            value=float(firing),
            unit="firing",
            sample_size=len(observations.alerts),
            link=links[0] if links else "",
        ),
    )
