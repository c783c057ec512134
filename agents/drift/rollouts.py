"""Whether what looks like drift is a bad rollout: it came with a version, and other versions on the same inputs hold."""

from collections.abc import Sequence

from agents.drift.case import DriftCase
from agents.evidence import Cause, Finding
from agents.policies import Investigation, Policies
from agents.routing import HandOver, Specialist
from agents.statistics import two_proportions
from agents.wording import moment, share
from tools.predictions.port import VersionWindow

Tally = tuple[int, int]
"""Right, of so many labelled."""


def hand_over(finding: Finding, case: DriftCase, policies: Policies) -> HandOver | None:
    """To the incident specialist, who weighs versions against each other and may take one back. None: it stays here.

    Broken values stay here too: they would make any version answer worse.
    """
    if case.rollout is None or finding.cause is Cause.DATA_QUALITY:
        return None
    reason = _bad_rollout(case, policies.investigation)
    return HandOver(to=Specialist.INCIDENT, reason=reason) if reason is not None else None


def _bad_rollout(case: DriftCase, rules: Investigation) -> str | None:
    rollout = case.rollout
    assert rollout is not None
    right, labelled = _tally(rollout.since, rollout.version)
    together, earlier = _tally_of_others(rollout.since, rollout.version), _tally_of_others(rollout.before, rollout.version)
    # The same hours are the same inputs; without others in them, the hours right before the change are the nearest there is.
    others, when = (together, "meanwhile") if together[1] >= rules.min_labels else (earlier, "before it, on the same day")
    if min(labelled, others[1]) < rules.min_labels or not _worse((right, labelled), others, rules):
        return None
    if case.before is not None and case.before.accuracy is not None:
        reference = (round(case.before.accuracy * case.before.labelled), case.before.labelled)
        if _worse(others, reference, rules):
            return None  # what others met as well is the world's doing
    return (
        f"it came with version {rollout.version}, champion since {moment(rollout.at)}: right in {share(right / labelled)} of "
        f"{labelled:,} labelled answers, while other versions were in {share(others[0] / others[1])} of {others[1]:,} {when}"
    )


def _tally(windows: Sequence[VersionWindow], version: str) -> Tally:
    return _summed([each for each in windows if each.version == version])


def _tally_of_others(windows: Sequence[VersionWindow], version: str) -> Tally:
    return _summed([each for each in windows if each.version != version])


def _summed(windows: Sequence[VersionWindow]) -> Tally:
    classified = [each for each in windows if each.correct is not None]
    return sum(each.correct or 0 for each in classified), sum(each.labelled for each in classified)


def _worse(now: Tally, before: Tally, rules: Investigation) -> bool:
    if not now[1] or not before[1]:
        return False
    drop = before[0] / before[1] - now[0] / now[1]
    return drop >= rules.min_accuracy_drop and two_proportions(*now, *before) < rules.significance
