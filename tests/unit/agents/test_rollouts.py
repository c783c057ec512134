"""When drift is a version's doing and no world's: who is worse than whom, on which inputs."""

import pytest

from agents.drift.case import DriftCase, Rollout
from agents.drift.performance import Performance
from agents.drift.rollouts import hand_over
from agents.evidence import Cause, Finding
from agents.policies import Policies
from agents.routing import Specialist
from tests.unit.agents.worlds import BEFORE_WINDOW, MODEL, NOW, NOW_WINDOW, Answers
from tools.predictions.port import VersionWindow

GOOD, BAD, FEW = Answers(), Answers(accuracy=0.6), Answers(count=100)


def answered(**versions: Answers) -> tuple[VersionWindow, ...]:
    return tuple(each.window(name.removeprefix("v"), NOW_WINDOW) for name, each in versions.items())


def handed(
    since: tuple[VersionWindow, ...],
    before: tuple[VersionWindow, ...] = (),
    *,
    accuracy: float = 0.85,
    cause: Cause = Cause.CONCEPT_DRIFT,
) -> str | None:
    nothing = {"interval": None, "estimate": None, "same_score_change": None, "same_score_p": None}
    case = DriftCase(
        alerts=(),
        model=MODEL,
        reference=BEFORE_WINDOW,
        current=NOW_WINDOW,
        rollout=Rollout(version="2", previous="1", at=NOW, before=before, since=since),
        before=Performance(answered=9_000, labelled=5_000, accuracy=accuracy, **nothing),
    )
    finding = Finding(cause=cause, summary="", hypotheses=(), evidence=(), assessed_at=NOW)
    found = hand_over(finding, case, Policies())
    assert found is None or found.to is Specialist.INCIDENT
    return found.reason if found is not None else None


def test_a_version_that_is_worse_than_another_in_the_same_hours_is_an_incident() -> None:
    reason = handed(answered(v2=BAD, v1=GOOD))
    assert reason is not None
    assert "60.0% of 1,200 labelled answers, while other versions were in 85.0% of 1,200 meanwhile" in reason


def test_without_others_in_the_same_hours_those_right_before_count() -> None:
    reason = handed(answered(v2=BAD), answered(v1=GOOD))
    assert reason is not None
    assert "before it, on the same day" in reason
    assert handed(answered(v2=BAD, v1=FEW), answered(v1=GOOD)) is not None


@pytest.mark.parametrize(
    ("since", "before"),
    [
        (answered(v2=GOOD, v1=GOOD), ()),
        (answered(v2=BAD, v1=BAD), answered(v1=GOOD)),
        (answered(v2=BAD), ()),
        (answered(v2=FEW, v1=GOOD), ()),
        ((), ()),
    ],
    ids=["as good", "others in the same hours are as bad", "nobody to compare with", "too few labels", "nothing"],
)
def test_otherwise_it_stays_with_the_drift_specialist(
    since: tuple[VersionWindow, ...], before: tuple[VersionWindow, ...]
) -> None:
    assert handed(since, before) is None


def test_where_others_lost_as_well_it_is_the_world() -> None:
    assert handed(answered(v2=BAD, v1=Answers(accuracy=0.75)), accuracy=0.85) is None


def test_broken_values_make_any_version_worse() -> None:
    assert handed(answered(v2=BAD, v1=GOOD), cause=Cause.DATA_QUALITY) is None
