"""From a finding about drift to the one thing to do about it.

Data that moves is no reason to train by itself: what counts is whether the answers suffer, or may without anybody seeing it.
"""

from datetime import datetime
from typing import assert_never

from agents.actions import Action, QuarantineData
from agents.drift.case import DriftCase
from agents.drift.retraining import below_promise_on_old_data, nothing, retrain
from agents.evidence import Cause, Finding, Recommendation
from agents.policies import Policies
from agents.requests import request_of
from agents.telling import tell


def recommend(finding: Finding, case: DriftCase, policies: Policies, now: datetime) -> Recommendation:
    action, reason = _action(finding, case, policies, now)
    return Recommendation(finding=finding, action=action, reason=reason)


def _action(finding: Finding, case: DriftCase, policies: Policies, now: datetime) -> tuple[Action, str]:
    request = request_of(case.alerts)
    if request is not None and request.kind == "retrain" and finding.cause is not Cause.DATA_QUALITY:
        return retrain(finding, case, policies, now, request)
    match finding.cause:
        case Cause.DATA_DRIFT | Cause.LABEL_SHIFT | Cause.CONCEPT_DRIFT:
            return retrain(finding, case, policies, now)
        case Cause.SEASONALITY:
            return nothing(finding, now, "it is a rhythm that was there in earlier seasons")
        case Cause.FALSE_ALARM if (old := below_promise_on_old_data(case, policies)) is not None:
            action, _ = retrain(finding, case, policies, now)
            return action, old
        case Cause.FALSE_ALARM:
            return nothing(finding, now, "nothing moved")
        case Cause.DATA_QUALITY:
            return _quarantine(finding, case, policies)
        case (
            Cause.UNRESOLVED
            | Cause.LABELS
            | Cause.MODEL_REGRESSION
            | Cause.INFRASTRUCTURE
            | Cause.TRAFFIC_CHANGE
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
        ):
            return tell(finding, case.alerts, policies, "the cause is not known")
        case unknown:
            assert_never(unknown)


_REPAIR = "no training repairs values that are broken where they are made"
_MOST_FEATURES = 100
"""Named one by one; of more it is all of the data."""


def _quarantine(finding: Finding, case: DriftCase, policies: Policies) -> tuple[Action, str]:
    """What is broken is kept out of what is learnt from and compared with, or it would be taken for normal by and by. What has
    been so from the first day on is no stretch of time."""
    measured = case.measured
    if case.model is None or measured is None or measured.cause != "data_quality":
        return tell(finding, case.alerts, policies, _REPAIR)
    broken = tuple(sorted(each.name for each in measured.features.features if each.faults))
    start = _not_yet(case, broken, case.broken_since or case.current.start)
    if start >= case.current.end:
        return tell(finding, case.alerts, policies, f"{_REPAIR}, and the broken ones are quarantined already")
    named = broken if len(broken) <= _MOST_FEATURES and all(len(name) <= _LONGEST_NAME for name in broken) else ()
    quarantine = QuarantineData(model=case.model, window_start=start, window_end=case.current.end, features=named)
    return quarantine, f"{_REPAIR}, and what is broken must be neither learnt from nor compared with"


_LONGEST_NAME = 200


def _not_yet(case: DriftCase, broken: tuple[str, ...], start: datetime) -> datetime:
    """From when on the broken data is not quarantined."""
    for each in sorted(case.left_out, key=lambda each: each.window.start):
        covers = not each.features or set(broken) <= set(each.features)
        if covers and each.window.start <= start < each.window.end:
            start = each.window.end
    return start
