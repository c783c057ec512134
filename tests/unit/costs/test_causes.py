"""Where an unusual cost comes from, as people are told."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from agents.cost.causes import BY, WEEKS, Origin, Training, in_parallel, origin, weeks_before
from tools.costs.port import Amount, Dimension
from tools.values import Window

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
WINDOW = Window(start=NOON, end=NOON + timedelta(hours=6))
DATA = Window(start=NOON - timedelta(days=28), end=NOON)


def amount(cost: str, quantity: str = "1", currency: str = "USD", **at: str) -> Amount:
    every = dict.fromkeys(BY, "") | {Dimension.RESOURCE: "gpu_hours"} | {Dimension(name): value for name, value in at.items()}
    return Amount(start=None, at=every, cost=Decimal(cost), currency=currency, quantity=Decimal(quantity))


def found(after: Sequence[Amount], before: Sequence[Amount], trainings: Sequence[Training] = ()) -> Origin:
    return origin(WINDOW, after, [(each, before) for each in weeks_before(WINDOW)], "USD", trainings)


def training(name: str, start: int, end: int | None, data: Window | None = DATA, model: str = "churn") -> Training:
    ends = None if end is None else NOON + timedelta(hours=end)
    return Training(name=name, model=model, start=NOON + timedelta(hours=start), end=ends, data=data)


SERVING = amount("6", "6", component="serving", part="CPU serving", model="churn", team="ml")


def test_three_trainings_at_once_on_the_same_data_are_said_so() -> None:
    jobs = [training("a", 0, 3), training("b", 1, 4), training("c", 1, None), training("d", -9, -5)]
    extra = [
        amount("4", "4", component="training", part="GPU hours", model="churn", team="ml", workload=name) for name in "abc"
    ]
    told = found([SERVING, *extra], [SERVING], jobs)
    assert told.sentences[0] == "3 training runs of churn in parallel on the same data: a, b, c."
    assert told.rise == Decimal(12)
    assert told.by_price == 0
    assert "training GPU hours (USD 12.00 more)" in " ".join(told.sentences)
    assert told.sentences[-1] == "It is usage (USD 12.00 more); prices are as they were."


def test_trainings_are_not_blamed_for_what_serving_costs() -> None:
    dear = amount("18", "18", component="serving", part="CPU serving", model="churn", team="ml")
    told = found([dear], [SERVING], [training("a", 0, 3), training("b", 1, 4)])
    assert told.together
    assert not any("in parallel" in sentence for sentence in told.sentences)


def test_a_price_that_rose_is_told_from_usage() -> None:
    told = found(
        [amount("12", "6", component="serving", model="churn")], [amount("6", "6", component="serving", model="churn")]
    )
    assert (told.by_price, told.by_usage) == (Decimal(6), Decimal(0))
    assert told.sentences[0] == "100.0% of the rise is a change of price: the same usage costs USD 6.00 more."


def test_a_price_is_seen_although_every_job_has_a_name_of_its_own() -> None:
    before, after = (
        amount(cost, "4", component="training", part="GPU hours", model="churn", workload=name)
        for cost, name in (("4", "job-1"), ("8", "job-2"))
    )
    assert found([after], [before]).by_price == Decimal(4)


def test_the_mean_of_the_weeks_before_is_compared_with() -> None:
    assert found([SERVING], [SERVING]).rise == 0
    assert found([SERVING], [SERVING]).sentences == ()
    windows = weeks_before(WINDOW)
    odd = [(windows[0], [SERVING]), (windows[1], [SERVING, SERVING, SERVING]), (windows[2], [SERVING, SERVING])]
    assert origin(WINDOW, [SERVING], odd, "USD").before == Decimal(12)


def test_another_currency_is_not_added() -> None:
    euro = amount("100", currency="EUR", component="serving")
    assert found([SERVING, euro], [SERVING]).rise == 0


def test_names_from_outside_cannot_write_lines_of_their_own() -> None:
    told = found([amount("9", team="ml\n# APPROVED\x1b[2K")], [])
    assert all(sentence.isprintable() for sentence in told.sentences)


def test_without_any_ledger_before_it_is_new() -> None:
    told = origin(WINDOW, [SERVING], [], "USD")
    assert (told.before, told.rise, told.compared_with) == (0, Decimal(6), ())


def test_weeks_before_share_nothing_with_the_window_and_keep_the_hour() -> None:
    long = Window(start=NOON, end=NOON + timedelta(days=9))
    for window in (WINDOW, long):
        before = weeks_before(window)
        assert len(before) == WEEKS
        assert not any(each.overlaps(window) for each in before)
        assert all((window.start - each.start) % timedelta(days=7) == timedelta(0) for each in before)


def test_one_after_the_other_is_not_in_parallel() -> None:
    assert in_parallel([training("a", 0, 2), training("b", 2, 4)], WINDOW) == ()
    assert in_parallel([training("a", 0, 2), training("b", 1, 4, model="eta")], WINDOW) == ()


def test_other_data_is_said_not_to_be_the_same() -> None:
    other = Window(start=DATA.start - timedelta(days=1), end=DATA.end)
    (told,) = in_parallel([training("a", 0, 2), training("b", 1, 4, data=other)], WINDOW)
    assert told.sentence == "2 training runs of churn in parallel: a, b"
    (unknown,) = in_parallel([training("a", 0, 2, data=None), training("b", 1, 4, data=None)], WINDOW)
    assert not unknown.same_data


@given(st.lists(st.tuples(st.integers(-10, 10), st.integers(1, 10)), max_size=8))
def test_all_that_are_told_to_have_run_together_did(spans: list[tuple[int, int]]) -> None:
    jobs = [training(f"j{place}", start, start + length) for place, (start, length) in enumerate(spans)]
    for each in in_parallel(jobs, WINDOW):
        for job in jobs:
            if job.name in each.names:
                assert job.end is not None
                assert job.start <= each.window.start < each.window.end <= job.end
