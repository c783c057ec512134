"""What a change has saved by the ledger's hours: shown with its interval, not shown, or the other way."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.actions import Risk
from agents.cost.confirming import Consolidated, Look, confirm, confirm_consolidated, look_at
from agents.cost.inefficiency import Inefficiency, Quantization, Saving
from agents.cost.optimization import Optimization, Trial
from agents.cost.optimization_rules import Optimizations
from agents.cost.savings import LOOKS, Claim, Hour, Saved, returned, saved
from agents.verification import Status, Verification
from tools.jobs.port import JobState, Phase, Reason

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = Optimizations()


def rhythm(at: datetime) -> int:
    """Predictions in an hour: by day more than by night."""
    return 1000 + 800 * (6 <= at.hour < 22)


def hours(start: datetime, count: int, rate: float, *, noise: float = 0.02, seed: int = 1) -> list[Hour]:
    """`rate`: of 1,000 predictions; at night each is dearer, because batches are emptier."""
    drawn, found = random.Random(seed), []
    for place in range(count):
        at = start + place * HOUR
        units = rhythm(at)
        dear = rate * (1.0 if units > 1000 else 1.3) * (1 + drawn.uniform(-noise, noise))
        found.append(Hour(start=at, cost=Decimal(repr(round(dear * units / 1000, 9))), units=Decimal(units)))
    return found


def held_against(
    before: list[Hour], after: list[Hour], unit: Literal["1,000 predictions", "hour"] = "1,000 predictions"
) -> Saved:
    found = saved(before, after, currency="USD", unit=unit, least=6, level=0.05 / len(LOOKS))
    assert found is not None
    return found


def test_half_the_cost_is_shown_after_six_hours_beside_the_same_hours_of_the_week() -> None:
    found = held_against(hours(NOON - 7 * DAY, 7 * 24, 1.0), hours(NOON, 6, 0.5, seed=2))
    assert found.claim is Claim.HOLDS
    assert found.paired == 6
    # 1,800 predictions an hour, half a dollar of a thousand less.
    assert 21 < found.value < 22.2
    assert found.low < found.value < found.high
    assert "interval" in str(found)


def test_the_night_is_no_saving() -> None:
    """Without pairs by hour, six hours of the day beside a week of nights and days would look cheaper."""
    found = held_against(hours(NOON - 7 * DAY, 7 * 24, 1.0), hours(NOON, 6, 1.0, seed=3))
    assert found.claim is Claim.NOT_SHOWN
    assert abs(found.value) < 1


def test_what_costs_more_is_worse() -> None:
    assert held_against(hours(NOON - DAY, 24, 1.0), hours(NOON, 6, 1.2, seed=4)).claim is Claim.WORSE


def test_without_the_same_hours_of_a_day_before_all_hours_stand_in_with_their_spread() -> None:
    before = hours(NOON - 8 * HOUR, 8, 1.0)
    found = held_against(before, hours(NOON, 6, 0.5, seed=5))
    assert (found.claim, found.paired) == (Claim.HOLDS, 0)
    assert found.hours_before == 8


@pytest.mark.parametrize(("before", "after"), [(24, 5), (5, 24), (0, 24)])
def test_of_too_few_hours_nothing_is_said(before: int, after: int) -> None:
    pair = hours(NOON - before * HOUR, before, 1.0), hours(NOON, after, 0.5)
    assert saved(*pair, currency="USD", unit="hour", least=6, level=0.05) is None


def test_hours_without_predictions_are_none() -> None:
    idle = [Hour(start=NOON + n * HOUR, cost=Decimal(1), units=Decimal(0)) for n in range(24)]
    assert saved(hours(NOON - DAY, 24, 1.0), idle, currency="USD", unit="hour", least=6, level=0.05) is None


def test_costs_that_do_not_vary_at_all_are_no_division_by_nothing() -> None:
    same = [Hour(start=NOON + n * HOUR, cost=Decimal(1), units=Decimal(1)) for n in range(-30, 12)]
    found = held_against(same[:30], same[30:], "hour")
    assert (found.claim, found.value, found.low, found.high) == (Claim.NOT_SHOWN, 0, 0, 0)


def test_chance_alone_is_seldom_called_a_saving() -> None:
    """400 changes that change nothing, looked at once each."""
    called = 0
    for seed in range(400):
        before = hours(NOON - 7 * DAY, 7 * 24, 1.0, noise=0.1, seed=seed)
        after = hours(NOON, 12, 1.0, noise=0.1, seed=10_000 + seed)
        called += held_against(before, after).claim is not Claim.NOT_SHOWN
    # 1.7 % of them at the level of one of three looks, two-sided; five times the standard error on top.
    assert called <= 20


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 10), st.integers(6, 48), st.integers(0, 1000))
def test_the_interval_holds_the_value_and_scales_with_the_price(price: float, count: int, seed: int) -> None:
    found = held_against(hours(NOON - 7 * DAY, 100, price, seed=seed), hours(NOON, count, price / 2, seed=seed + 1))
    assert found.low <= found.value <= found.high
    assert found.claim is Claim.HOLDS
    assert float(found.before / found.after) == pytest.approx(2, rel=0.1)


def test_an_experiment_is_earned_back_or_never() -> None:
    earned = returned(Decimal(10), Decimal(4), "USD")
    assert (earned.payback_days, earned.per_month) == (Decimal("2.50"), Decimal("11.00"))
    assert returned(Decimal(10), Decimal(0), "USD").payback_days is None
    assert returned(Decimal(0), Decimal(4), "USD").per_month is None


KEPT = Verification(status=Status.HOLDS, reason="What was promised is kept.", at=NOON)


@pytest.mark.parametrize(("passed", "number"), [(5, None), (6, 0), (11, 0), (12, 1), (23, 1), (24, 2), (40, 2)])
def test_it_is_looked_at_after_a_quarter_a_half_and_the_whole_of_the_time(passed: int, number: int | None) -> None:
    found = look_at(NOON, RULES, NOON + passed * HOUR)
    assert (found.number if found is not None else None) == number


def shown(claim: Claim) -> Saved:
    rate = {Claim.HOLDS: 0.5, Claim.NOT_SHOWN: 1.0, Claim.WORSE: 1.5}[claim]
    found = held_against(hours(NOON - 7 * DAY, 7 * 24, 1.0), hours(NOON, 6, rate, seed=3))
    assert found.claim is claim
    return found


@pytest.mark.parametrize(
    ("claim", "number", "status"),
    [
        (Claim.HOLDS, 0, Status.HOLDS),
        (Claim.NOT_SHOWN, 0, Status.WAITING),
        (Claim.NOT_SHOWN, 2, Status.FAILED),
        (Claim.WORSE, 0, Status.FAILED),
    ],
)
def test_what_is_shown_stays_and_what_is_not_goes_at_the_end(claim: Claim, number: int, status: Status) -> None:
    look = Look(number=number, until=NOON + 6 * HOUR)
    assert confirm(KEPT, look, shown(claim), NOON, RULES, NOON + 7 * HOUR).status is status


def test_a_saving_does_not_outweigh_a_promise_that_is_broken() -> None:
    broken = KEPT.model_copy(update={"status": Status.FAILED, "reason": "p99 is above its limit"})
    look = Look(number=0, until=NOON + 6 * HOUR)
    found = confirm(broken, look, shown(Claim.HOLDS), NOON, RULES, NOON + 7 * HOUR)
    assert (found.status, found.reason) == (Status.FAILED, "p99 is above its limit")


def test_a_ledger_that_is_late_is_waited_for_and_then_nothing_is_shown() -> None:
    look = Look(number=2, until=NOON + DAY)
    assert confirm(KEPT, look, None, NOON, RULES, NOON + DAY + HOUR).status is Status.WAITING
    late = confirm(KEPT, look, None, NOON, RULES, NOON + DAY + 4 * HOUR)
    assert late.status is Status.FAILED
    assert "fewer than 6 hours" in late.reason


def test_what_shows_only_when_it_is_used_stays_without_a_claim() -> None:
    look = Look(number=2, until=NOON + DAY)
    found = confirm(KEPT, look, None, NOON, RULES, NOON + DAY, lenient=True)
    assert found.status is Status.HOLDS
    assert "No saving is claimed" in found.reason
    assert confirm(KEPT, look, shown(Claim.WORSE), NOON, RULES, NOON + DAY, lenient=True).status is Status.FAILED


def test_what_is_freed_and_still_held_is_said() -> None:
    look = Look(number=0, until=NOON + 6 * HOUR)
    freed = shown(Claim.HOLDS)
    found = confirm(KEPT, look, freed, NOON, RULES, NOON + 7 * HOUR, bill=shown(Claim.NOT_SHOWN), held=True)
    assert found.status is Status.HOLDS
    assert "It frees processor time worth USD" in found.reason
    assert "No money is shown to be saved" in found.reason
    assert "only fewer of them (scale_down)" in found.reason
    assert [each.name for each in found.measures if each.ok is True] == ["freed_at_least"]


def test_what_is_freed_and_billed_no_more_is_saved() -> None:
    look = Look(number=0, until=NOON + 6 * HOUR)
    found = confirm(KEPT, look, shown(Claim.HOLDS), NOON, RULES, NOON + 7 * HOUR, bill=shown(Claim.HOLDS), held=True)
    assert found.reason.startswith("It saves USD")


def test_before_the_bill_is_known_what_is_freed_is_waited_for() -> None:
    for number, status in ((0, Status.WAITING), (2, Status.HOLDS)):
        look = Look(number=number, until=NOON + DAY)
        assert confirm(KEPT, look, shown(Claim.HOLDS), NOON, RULES, NOON + DAY, held=True).status is status


@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize("held", [False, True])
def test_an_experiment_is_earned_back_only_by_money_that_is_shown_to_be_saved(claim: Claim, held: bool) -> None:
    inefficiency = Inefficiency(
        kind="quantize",
        subject="flights",
        evidence=(),
        expected=Saving(low=Decimal(0), high=Decimal(1), currency="USD"),
        risk=Risk.LOW,
        what="it is dear",
        remedy=Quantization(model="flights", version="1"),
    )
    trial = Trial(job="j", pays=True, reason="", low=0.1, high=0.2, cost=Decimal("0.5"), currency="USD")
    known = Optimization(inefficiency=inefficiency, found_at=NOON, trial=trial, held=held)
    freed = {"saved": shown(Claim.HOLDS), "bill": shown(claim)} if held else {"saved": shown(claim)}
    assert (known.model_copy(update=freed).roi is not None) is (claim is Claim.HOLDS)
    assert not held or known.model_copy(update={"saved": shown(Claim.HOLDS)}).roi is None


def job(name: str, phase: Phase, reason: Reason | None = None, hours: int | None = None) -> JobState:
    ended = NOON + hours * HOUR if hours is not None else None
    return JobState(
        name=name,
        model="flights",
        team="t",
        run_id="r",
        phase=phase,
        reason=reason,
        submitted_at=NOON,
        started_at=NOON,
        ended_at=ended,
    )


def test_cancelled_jobs_are_waited_for_until_they_have_ended() -> None:
    found = Consolidated(kept=job("a", Phase.RUNNING), cancelled=(job("b", Phase.RUNNING),), since=None, currency="USD")
    assert confirm_consolidated(found, NOON, RULES, NOON + HOUR)[0].status is Status.WAITING
    late, gained = confirm_consolidated(found, NOON, RULES, NOON + DAY)
    assert (late.status, gained) == (Status.FAILED, None)


def merged(kept: JobState, *cancelled: JobState, took: tuple[float, ...] = ()) -> tuple[Verification, Saved | None]:
    """Cancelled after two hours, at three dollars an hour each."""
    costs = {each.name: Decimal(6) for each in cancelled}
    found = Consolidated(kept=kept, cancelled=cancelled, since=Decimal(0), costs=costs, took=took, currency="USD")
    return confirm_consolidated(found, NOON + 2 * HOUR, RULES, NOON + 12 * HOUR)


def test_what_is_cancelled_would_have_taken_about_as_long_as_what_is_kept() -> None:
    verification, gained = merged(job("a", Phase.SUCCEEDED, hours=10), job("b", Phase.FAILED, Reason.CANCELLED, 2))
    assert verification.status is Status.HOLDS
    assert gained is not None
    # Eight hours more; as much shorter or longer as its data may be.
    assert (gained.claim, gained.per, gained.value) == (Claim.HOLDS, "once", 24)
    assert (gained.low, gained.high) == (3 * (8 - 2), Decimal("31.5"))
    assert "USD 24.00 in total (USD 18.00 to 31.50)" in verification.reason
    assert {each.unit for each in verification.measures if each.name.startswith("saved")} == {"USD"}


def test_trainings_on_record_that_took_another_time_widen_it() -> None:
    _, gained = merged(job("a", Phase.SUCCEEDED, hours=10), job("b", Phase.FAILED, Reason.CANCELLED, 2), took=(5, 10, 20))
    assert gained is not None
    assert (gained.low, gained.value, gained.high) == (3 * 2, 24, 3 * 23)


def test_what_had_ended_by_itself_saves_nothing() -> None:
    verification, gained = merged(job("a", Phase.SUCCEEDED, hours=10), job("b", Phase.SUCCEEDED, hours=2))
    assert (verification.status, gained) == (Status.HOLDS, None)
    assert "no saving is claimed" in verification.reason
    kept, cancelled = job("a", Phase.SUCCEEDED, hours=10), job("c", Phase.FAILED, Reason.CANCELLED, 2)
    _, both = merged(kept, job("b", Phase.FAILED, Reason.EXIT_CODE, 2), cancelled)
    assert both == merged(kept, cancelled)[1]


def test_a_kept_training_that_ended_at_once_has_saved_nothing_and_is_no_failure() -> None:
    verification, gained = merged(job("a", Phase.SUCCEEDED, hours=2), job("b", Phase.FAILED, Reason.CANCELLED, 2))
    assert verification.status is Status.HOLDS
    assert gained is not None
    assert gained.claim is Claim.NOT_SHOWN
