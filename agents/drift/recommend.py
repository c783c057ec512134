"""From a finding about drift to the one thing to do about it.

Data that moves is no reason to train by itself: what counts is whether the answers suffer, or may without anybody seeing it.
"""

from datetime import datetime
from typing import assert_never

from agents.actions import Action, NoAction, QuarantineData, Retrain
from agents.drift.case import DriftCase
from agents.evidence import Cause, Finding, Recommendation
from agents.narrative import plain
from agents.policies import Policies
from agents.telling import tell
from tools.values import Window


def recommend(finding: Finding, case: DriftCase, policies: Policies, now: datetime) -> Recommendation:
    action, reason = _action(finding, case, policies, now)
    return Recommendation(finding=finding, action=action, reason=reason)


def _action(finding: Finding, case: DriftCase, policies: Policies, now: datetime) -> tuple[Action, str]:
    match finding.cause:
        case Cause.DATA_DRIFT | Cause.LABEL_SHIFT | Cause.CONCEPT_DRIFT:
            return _retrain(finding, case, policies, now)
        case Cause.SEASONALITY:
            return _nothing(finding, now, "it is a rhythm that was there in earlier seasons")
        case Cause.FALSE_ALARM:
            return _nothing(finding, now, "nothing moved")
        case Cause.DATA_QUALITY:
            return _quarantine(finding, case, policies)
        case Cause.UNRESOLVED | Cause.LABELS | Cause.MODEL_REGRESSION | Cause.INFRASTRUCTURE | Cause.TRAFFIC_CHANGE:
            return tell(finding, case.alerts, policies, "the cause is not known")
        case unknown:
            assert_never(unknown)


def _nothing(finding: Finding, now: datetime, why: str) -> tuple[Action, str]:
    reason = f"Looked at {now:%Y-%m-%d %H:%M} UTC: {why}. {finding.summary}"
    return NoAction(reason=plain(reason, 2_000)), why


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


def _retrain(finding: Finding, case: DriftCase, policies: Policies, now: datetime) -> tuple[Action, str]:
    if finding.model is None or finding.version is None:
        return tell(finding, case.alerts, policies, "the model has no champion that could be trained anew")
    skewed = case.measured is not None and case.measured.cause in ("none", "undetermined")
    lost, how = (None, "") if skewed else _lost(case)
    if lost is not None and lost < policies.drift_of(finding.model).min_gain and finding.cause is Cause.DATA_DRIFT:
        return _nothing(finding, now, f"its answers are as right as they were ({how})")
    # After a change of the concept older data teaches what is not so any more.
    start = case.current.start if finding.cause is Cause.CONCEPT_DRIFT else case.reference.start
    run, window = case.training, Window(start=start, end=case.current.end)
    retrain = Retrain(
        model=finding.model,
        version=finding.version,
        window_start=window.start,
        window_end=window.end,
        left_out=tuple(each for each in case.left_out if each.window.overlaps(window)),
        expected_gain=round(lost, 4) if lost is not None else None,
        expected_seconds=(run.ended_at - run.started_at).total_seconds()
        if run is not None and run.ended_at is not None
        else None,
    )
    if skewed:
        return retrain, "it is asked about other inputs than it was trained on, and has been all along"
    return retrain, how if lost is not None else "whether the answers suffer cannot be told yet, and it may go unseen"


def _lost(case: DriftCase) -> tuple[float | None, str]:
    """Accuracy that went since the reference, measured where labels have come, else estimated; and how, in words."""
    before, now = case.before, case.measured.performance if case.measured is not None else None
    if before is None or now is None or before.accuracy is None:
        return None, ""
    if now.accuracy is not None and now.interval is not None and now.interval[1] - now.interval[0] <= _NARROW:
        return before.accuracy - now.accuracy, f"accuracy {now.accuracy:.1%}, it was {before.accuracy:.1%}"
    if now.estimate is not None:
        return before.accuracy - now.estimate, f"estimated accuracy {now.estimate:.1%}, measured before {before.accuracy:.1%}"
    return None, ""


_NARROW = 0.1
"""An interval wider than ten points says too little to act on."""
