"""Whether a table's batches get worse: what is planted is found and named, and one odd batch wakes nobody."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.datasets import Judgement, judge
from agents.policies import Dataset
from agents.statistics import student_tail
from tests.twins.columns_read import watching
from tests.unit.agents.tables import DAY, POLICY, START, Table
from tools.quality.statistics import ColumnStatistics


def found(judgement: Judgement) -> set[tuple[str, str]]:
    return {(each.respect, each.column) for each in judgement.degradations}


def test_batches_like_those_before_are_fine() -> None:
    judgement = Table().come(30).judged()
    assert (judgement.bad, judgement.degradations) == (False, ())
    assert judgement.summary == "The latest batches are like those before."


WORSE: dict[str, tuple[Callable[[Table], Table], tuple[str, str], str]] = {
    "rows fall": (lambda t: t.come(2, rows=0.05), ("rows", ""), "rows, and usually there are"),
    "quarantine grows": (lambda t: t.come(2, bad=0.04), ("quarantined", ""), "were quarantined, usually 0."),
    "nulls grow": (lambda t: t.come(2, nulls=0.12), ("nulls", "far"), "far has no value in"),
    "level jumps": (lambda t: t.come(2, level=16.0), ("level", "far"), "the median of far is"),
    "spread grows": (lambda t: t.come(2, spread=9.0), ("spread", "far"), "as wide as usual"),
    "value gets stuck": (lambda t: t.come(2, spread=1e-9), ("spread", "far"), "of what is usual"),
    "new values": (lambda t: t.come(2, kinds=("bus", "car", "tram")), ("new_values", "kind"), "such as 'tram'"),
    "refused": (lambda t: t.refused(2), ("refused", ""), "were refused, the last because too many bad rows"),
}


@pytest.mark.parametrize("case", WORSE)
@pytest.mark.parametrize("before", [10, 40])
def test_what_gets_worse_is_found_and_named(case: str, before: int) -> None:
    happen, respect, words = WORSE[case]
    judgement = happen(Table(seed=before).come(before)).judged()
    assert judgement.bad
    assert found(judgement) == {respect}
    assert words in judgement.degradations[0].summary


@pytest.mark.parametrize("case", WORSE)
def test_one_odd_batch_raises_nothing_and_hides_nothing(case: str) -> None:
    happen, respect, _ = WORSE[case]
    once = happen(Table().come(20))
    once.batches.pop()
    assert not once.judged().bad
    once.come(2)
    assert not once.judged().bad
    assert found(happen(once).judged()) == {respect}


def test_too_few_batches_tell_nothing() -> None:
    judgement = Table().come(5).judged()
    assert (judgement.bad, judgement.batches) == (None, 3)
    assert judge((), POLICY, START).bad is None


def test_an_explosion_of_values_is_one_of_new_ones() -> None:
    table = Table().come(20)
    words = tuple((f"w{n}", 1) for n in range(50))
    for _ in range(2):
        table.come()
        last = table.batches[-1]
        assert last.statistics is not None
        many = ColumnStatistics(name="kind", kind="categorical", rows=last.rows, distinct=last.rows, top=words)
        columns = (last.statistics.columns[0], many)
        table.batches[-1] = last.model_copy(update={"statistics": last.statistics.model_copy(update={"columns": columns})})
    assert found(table.judged()) == {("new_values", "kind")}


def test_a_change_that_stays_becomes_usual() -> None:
    assert not Table().come(40).come(45, level=16.0).judged().bad


def test_a_quiet_weekend_is_like_other_weekends_and_an_empty_one_is_not() -> None:
    table = Table(rows=1_000)
    for day in range(27):  # the first is a Monday
        table.come(rows=0.3 if day % 7 >= 5 else 1.0)
        assert not table.judged().bad
    table.batches = table.batches[:-2]
    assert found(table.come(2, rows=0.02).judged()) == {("rows", "")}


def test_a_quiet_night_is_like_other_nights() -> None:
    table = Table(rows=1_000)
    for hour in range(96):
        table.come(rows=0.2 if hour % 24 < 7 else 1.0)
    hourly = [each.model_copy(update={"at": START + n * timedelta(hours=1)}) for n, each in enumerate(table.batches)]
    for end in range(48, 96):
        assert not judge(hourly[max(0, end - 60) : end], POLICY, START + end * timedelta(hours=1)).bad


def test_false_alarms_are_rarer_than_policy_allows() -> None:
    """400 tables that only differ by chance, judged at each of their latest batches."""
    alarms = sum(bool(Table(seed, rows=300).come(8 + seed % 30 + 2).judged().bad) for seed in range(400))
    assert alarms <= 400 * POLICY.significance


def test_a_table_that_stops_coming_is_stale_by_its_own_rhythm_or_by_policy() -> None:
    table = Table().come(12)
    assert table.judged(later=timedelta(days=3)).freshness.bad is False
    stale = table.judged(later=timedelta(days=5)).freshness
    assert (stale.bad, stale.limit) == (True, timedelta(days=4))
    assert "5 days ago, and its rhythm allows 4 days" in stale.summary
    assert table.judged(Dataset(max_age=timedelta(hours=36)), later=timedelta(hours=37)).freshness.bad
    assert Table().come(4).judged(later=timedelta(days=90)).freshness.bad is None


def test_batches_of_one_delivery_are_no_rhythm() -> None:
    table = Table().come(30)
    table.batches = [each.model_copy(update={"at": START + n * timedelta(seconds=1)}) for n, each in enumerate(table.batches)]
    assert table.judged(later=timedelta(days=30)).freshness.bad is None


def test_events_that_are_old_are_stale_though_batches_come() -> None:
    table = Table().come(12)
    old = START - 3 * DAY
    table.batches = [
        each.model_copy(update={"statistics": each.statistics.model_copy(update={"newest": old})})
        for each in table.batches
        if each.statistics is not None
    ]
    stale = table.judged(Dataset(max_event_age=2 * DAY)).freshness
    assert (stale.bad, stale.newest_event) == (True, old)


@given(st.floats(-50, 50), st.floats(1, 30))
@settings(deadline=None)
def test_student_is_that_of_scipy(t: float, degrees: float) -> None:
    from scipy import stats

    assert student_tail(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-6, abs=1e-12)


def test_a_wide_table_is_gone_through_as_often_as_a_narrow_one() -> None:
    times = []
    for width in (1, 40):
        batches, columns = watching(Table().come(14).batches, width)
        assert judge(batches, POLICY, batches[-1].at).bad is False
        times.append(sum(each.times for each in columns))
    assert times[0] == times[1]


def test_who_counts_the_batches_that_are_listed_finds_those_that_are_too_few() -> None:
    assert Table().come(5).judged().summary == (
        "Too few batches: 3 accepted batches before the 2 that are judged, and 8 are needed."
    )
    alone = Table().come(2).judged(Dataset(in_a_row=1))
    assert alone.summary == "Too few batches: 1 accepted batch before the one that is judged, and 8 are needed."
