"""What a promotion makes of an evaluation: the checks of the files come before the figures."""

from datetime import UTC, datetime

import pytest

from agents.evidence import Cause, Finding
from agents.policies import Policies
from agents.promotion.assess import assess
from agents.promotion.case import PromotionCase
from agents.promotion_rules import Evaluations
from tools.registry.evaluations import CHECKS, Compared, Discordance, Evaluation, Facts, StagingCheck

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def finding(
    checks: tuple[StagingCheck, ...],
    *,
    won: int = 300,
    lost: int = 100,
    policies: Policies | None = None,
    seen_until: datetime | None = None,
    unread_end: str = "",
) -> Finding:
    rows = 6_000
    accuracy = Compared(
        name="accuracy",
        window="held_out",
        candidate=(5_000 + won - lost) / rows,
        champion=5_000 / rows,
        rows=rows,
        discordance=Discordance(only_candidate_right=won, only_champion_right=lost),
    )
    evaluation = Evaluation(
        model="flights",
        version="2",
        champion="1",
        held_out=None,
        recent=None,
        facts=Facts(compared=(accuracy,)),
        staging=checks,
        seen_until=seen_until,
        unread_end=unread_end,
        measured_at=NOW,
    )
    case = PromotionCase(alerts=(), model="flights", candidate="2", champion="1", evaluation=evaluation)
    return assess(case, policies or Policies(), NOW)


def checks(*, failed: str = "", without: str = "") -> tuple[StagingCheck, ...]:
    return tuple(
        StagingCheck(name=name, ok=name != failed, reason="it is a pickle" if name == failed else "looked at")
        for name in CHECKS
        if name != without
    )


def test_better_and_checked_is_better() -> None:
    found = finding(checks())
    assert found.cause is Cause.CANDIDATE_BETTER
    assert {f"staging.{name}" for name in CHECKS} <= {each.id for each in found.evidence}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_failed_is_worse_whatever_the_figures(name: str) -> None:
    found = finding(checks(failed=name))
    assert found.cause is Cause.CANDIDATE_WORSE
    assert f"{name}: it is a pickle" in found.summary
    assert next(each for each in found.evidence if each.id == f"staging.{name}").value == "failed"


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_nobody_made_leaves_it_unproven(name: str) -> None:
    found = finding(checks(without=name))
    assert found.cause is Cause.CANDIDATE_UNPROVEN
    assert f"{name} not checked" in found.summary


def test_policy_says_which_checks_are_needed() -> None:
    policies = Policies(evaluations=Evaluations(checks=("security",)))
    assert finding(checks(without="load"), policies=policies).cause is Cause.CANDIDATE_BETTER
    assert finding(checks(failed="load"), policies=policies).cause is Cause.CANDIDATE_WORSE


def test_worse_is_worse_with_or_without_checks() -> None:
    assert finding((), won=100, lost=300).cause is Cause.CANDIDATE_WORSE


def test_better_on_rows_that_it_has_learnt_from_proves_nothing() -> None:
    found = finding(checks(), seen_until=NOW)
    assert found.cause is Cause.CANDIDATE_UNPROVEN
    assert "has learnt from" in found.summary
    assert finding(checks(), won=100, lost=300, seen_until=NOW).cause is Cause.CANDIDATE_WORSE


def test_better_proves_nothing_where_nobody_can_tell_what_it_has_learnt_from() -> None:
    found = finding(checks(), unread_end="last week")
    assert found.cause is Cause.CANDIDATE_UNPROVEN
    assert "data.to='last week' is no time" in found.summary
    assert finding(checks(), won=100, lost=300, unread_end="last week").cause is Cause.CANDIDATE_WORSE
