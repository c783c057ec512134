"""From a finding to the one thing to do about it.

Only what the evidence carries is acted on: a version that is worse than the one before it is taken back, workers that are
saturated get company. Everything else needs a person, who is told what was found and where to look next.
"""

from datetime import datetime
from typing import Literal, assert_never

from agents.actions import Action, NoAction, Notify, Rollback, Scale
from agents.evidence import Cause, Finding, Recommendation
from agents.incident.observations import Observations
from agents.narrative import account, plain
from agents.policies import Policies

_GROWTH = 2
"""Saturation does not tell how much is missing: twice as many workers, and then it is measured again."""


def recommend(finding: Finding, observations: Observations, policies: Policies, now: datetime) -> Recommendation:
    action, reason = _action(finding, observations, policies, now)
    return Recommendation(finding=finding, action=action, reason=reason)


def _action(finding: Finding, observations: Observations, policies: Policies, now: datetime) -> tuple[Action, str]:
    match finding.cause:
        case Cause.MODEL_REGRESSION:
            return _roll_back(finding, observations, policies)
        case Cause.INFRASTRUCTURE | Cause.TRAFFIC_CHANGE:
            return _scale(finding, observations, policies)
        case Cause.DATA_DRIFT | Cause.DATA_QUALITY | Cause.LABELS | Cause.UNRESOLVED:
            return _tell(finding, observations, policies, "no action of the catalogue helps against this cause")
        case Cause.FALSE_ALARM:
            reason = f"Looked at {now:%Y-%m-%d %H:%M} UTC and found nothing wrong: {finding.summary}"
            return NoAction(reason=plain(reason, 2_000)), "nothing is wrong"
        case unknown:
            assert_never(unknown)


def _roll_back(finding: Finding, observations: Observations, policies: Policies) -> tuple[Action, str]:
    if finding.model is None or finding.version is None or finding.previous_version is None:
        return _tell(finding, observations, policies, "there is no version before it to go back to")
    rollback = Rollback(model=finding.model, from_version=finding.version, to_version=finding.previous_version)
    return rollback, f"version {finding.previous_version} did better than version {finding.version}"


def _scale(finding: Finding, observations: Observations, policies: Policies) -> tuple[Action, str]:
    capacity, rules = observations.capacity, policies.investigation
    if finding.model is None or capacity is None:
        return _tell(finding, observations, policies, "how busy the workers are is not known")
    if capacity.utilisation < rules.high_utilisation:
        return _tell(finding, observations, policies, "the workers are not saturated, so more of them would not help")
    if full := next(
        (each for each in observations.readings if each.kind == "saturation" and each.now >= rules.high_utilisation), None
    ):
        return _tell(finding, observations, policies, f"{full.name} is used up, so more workers would only share it")
    limit = min(capacity.limit, policies.model(finding.model).max_workers)
    if capacity.workers >= limit:
        return _tell(finding, observations, policies, f"{capacity.workers} workers are all that are allowed")
    workers = min(limit, capacity.workers * _GROWTH)
    scale = Scale(model=finding.model, from_workers=capacity.workers, workers=workers)
    return scale, f"{capacity.workers} workers are saturated, and {limit} are allowed"


def _tell(finding: Finding, observations: Observations, policies: Policies, why: str) -> tuple[Action, str]:
    names = sorted({alert.name for alert in observations.alerts})
    subject = finding.model or "An incident"
    steps = "\n".join(f"- {step}" for step in _next_steps(finding.cause))
    body = f"{account(finding)}\n\nNothing was changed: {plain(why)}.\n\nWhat to do next:\n\n{steps}"
    about = f" ({', '.join(names[:3])}{' and others' if len(names) > 3 else ''})" if names else ""
    title = plain(f"{subject}: {finding.cause.value.replace('_', ' ')}{about}", 300)
    critical = any(alert.severity == "critical" for alert in observations.alerts)
    severity: Literal["critical", "warning"] = "critical" if critical else "warning"
    return Notify(channel=policies.notify_channel, title=title, body=body[:20_000], severity=severity), why


def _next_steps(cause: Cause) -> tuple[str, ...]:
    match cause:
        case Cause.DATA_DRIFT:
            return (
                "Look at the features named above: is this a new kind of customer or season, or a fault upstream?",
                "If it is here to stay, train on recent data and compare on the slices that lost most.",
                "Until then, consider whether decisions of the model need a second look.",
            )
        case Cause.DATA_QUALITY:
            return (
                "Ask the owner of the features named above what changed where they are made, and when.",
                "Repair them there: the model takes them as they come.",
                "Predictions made meanwhile may have to be made again.",
            )
        case Cause.INFRASTRUCTURE:
            return (
                "Look at the machines and networks under the gateway since the alert began.",
                "Look for whatever else shares them.",
            )
        case Cause.TRAFFIC_CHANGE:
            return (
                "Find out who sends more or fewer requests than usual, and whether that is meant.",
                "If it is here to stay, raise the number of workers that policy and gateway allow.",
            )
        case Cause.LABELS:
            return (
                "Look at the pipeline that delivers the labels: does it run, and does it match them to the right predictions?",
                "Do not retrain or roll back on accuracy that rests on these labels.",
            )
        case Cause.MODEL_REGRESSION:
            return (
                "Find a version to go back to, or take the model out of the decision.",
                "Compare the training run of this version with what it serves on now.",
            )
        case Cause.UNRESOLVED:
            return (
                "Look at the leading hypotheses above, and at what could not be read.",
                "More labels or another hour of traffic often tell two causes apart: the incident stays on record.",
            )
        case Cause.FALSE_ALARM:
            return ("Adjust the rule that raised the alert.",)
        case unknown:
            assert_never(unknown)
