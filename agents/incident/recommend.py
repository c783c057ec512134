"""From a finding to the one thing to do about it.

Only what the evidence carries is acted on: a version that is worse than the one before it is taken back, workers that are
saturated get company. Everything else needs a person, who is told what was found and where to look next.
"""

import math
from datetime import datetime
from typing import assert_never

from agents.actions import Action, NoAction, Rollback, Scale
from agents.evidence import Cause, Finding, Recommendation
from agents.incident.observations import Observations
from agents.narrative import plain
from agents.policies import Policies
from agents.requests import Request, request_of
from agents.telling import tell

_GROWTH = 2
"""At least: saturation does not tell how much is missing. How many more requests come does, where that is the cause."""


def recommend(finding: Finding, observations: Observations, policies: Policies, now: datetime) -> Recommendation:
    request = request_of(observations.alerts)
    if request is not None and request.kind == "rollback":
        action, reason = _asked_back(finding, request, observations, policies)
    else:
        action, reason = _action(finding, observations, policies, now)
    return Recommendation(finding=finding, action=action, reason=reason)


def _asked_back(finding: Finding, request: Request, observations: Observations, policies: Policies) -> tuple[Action, str]:
    """Somebody wants it, whatever the evidence says: it is shown beside the question."""
    model, champion = observations.model, observations.champion
    change = observations.last_change
    to = request.version or (change.before if change is not None else None)
    if model is None or champion is None:
        return tell(finding, observations.alerts, policies, "the model has no champion that could be rolled back")
    if to is None or to == champion:
        return tell(finding, observations.alerts, policies, "no other version has been champion: name the one to go back to")
    return Rollback(model=model, from_version=champion, to_version=to), f"{request.by} asks: {request.reason}"


def _action(finding: Finding, observations: Observations, policies: Policies, now: datetime) -> tuple[Action, str]:
    match finding.cause:
        case Cause.MODEL_REGRESSION:
            return _roll_back(finding, observations, policies)
        case Cause.INFRASTRUCTURE | Cause.TRAFFIC_CHANGE:
            return _scale(finding, observations, policies)
        case (
            Cause.DATA_DRIFT
            | Cause.DATA_QUALITY
            | Cause.LABEL_SHIFT
            | Cause.CONCEPT_DRIFT
            | Cause.SEASONALITY
            | Cause.LABELS
            | Cause.CANDIDATE_BETTER
            | Cause.CANDIDATE_WORSE
            | Cause.CANDIDATE_UNPROVEN
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
            return tell(finding, observations.alerts, policies, "no action of the catalogue helps against this cause")
        case Cause.FALSE_ALARM:
            reason = f"Looked at {now:%Y-%m-%d %H:%M} UTC and found nothing wrong: {finding.summary}"
            return NoAction(reason=plain(reason, 2_000)), "nothing is wrong"
        case unknown:
            assert_never(unknown)


def _more(finding: Finding, volume_factor: float) -> float:
    """Times as many requests as usual, where that is the cause: as many times the workers are as busy as they used to be."""
    found = next((each for each in finding.evidence if each.id == "traffic"), None)
    if finding.cause is not Cause.TRAFFIC_CHANGE or found is None or not isinstance(found.value, float) or not found.limit:
        return 1.0
    if found.value < found.limit:
        return 1.0  # fewer came
    return found.value * volume_factor / found.limit


def _roll_back(finding: Finding, observations: Observations, policies: Policies) -> tuple[Action, str]:
    if finding.model is None or finding.version is None or finding.previous_version is None:
        return tell(finding, observations.alerts, policies, "there is no version before it to go back to")
    rollback = Rollback(model=finding.model, from_version=finding.version, to_version=finding.previous_version)
    return rollback, f"version {finding.previous_version} did better than version {finding.version}"


def _scale(finding: Finding, observations: Observations, policies: Policies) -> tuple[Action, str]:
    capacity, rules = observations.capacity, policies.investigation
    if finding.model is None or capacity is None:
        return tell(finding, observations.alerts, policies, "how busy the workers are is not known")
    if capacity.utilisation < rules.high_utilisation:
        return tell(finding, observations.alerts, policies, "the workers are not saturated, so more of them would not help")
    if full := next(
        (each for each in observations.readings if each.kind == "saturation" and each.now >= rules.high_utilisation), None
    ):
        return tell(finding, observations.alerts, policies, f"{full.name} is used up, so more workers would only share it")
    limit = min(capacity.limit, policies.model(finding.model).max_workers)
    if capacity.workers >= limit:
        return tell(finding, observations.alerts, policies, f"{capacity.workers} workers are all that are allowed")
    workers = min(limit, math.ceil(capacity.workers * max(_GROWTH, _more(finding, rules.volume_factor))))
    scale = Scale(model=finding.model, from_workers=capacity.workers, workers=workers)
    return scale, f"{capacity.workers} workers are saturated, and {limit} are allowed"
