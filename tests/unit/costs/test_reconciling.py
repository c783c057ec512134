"""Our metering beside OpenCost's: who agrees, who is missing where, and nothing that was given is lost on the way."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cost.reconciling import Reconciled, Reconciliation, Standing, reconcile, under, within
from tools.costs.allocations import IDLE, UNALLOCATED, UNMOUNTED, Allocation
from tools.costs.apportioning import total
from tools.costs.port import Amount, Dimension
from tools.values import Window

DAY = datetime(2026, 3, 2, tzinfo=UTC)
POLICY = Reconciliation()


def ours(workload: str, cost: str, day: int = 0, currency: str = "USD") -> Amount:
    at = {Dimension.WORKLOAD: workload}
    return Amount(start=DAY + timedelta(days=day), at=at, cost=Decimal(cost), currency=currency)


def theirs(workload: str, cost: str, day: int = 0, *, controller: bool = True) -> Allocation:
    start = DAY + timedelta(days=day)
    window = Window(start=start, end=start + timedelta(days=1))
    return Allocation(name=workload, window=window, controller=workload if controller else "", total_cost=Decimal(cost))


def compared(found: Reconciled) -> list[tuple[str, int, str]]:
    return [(each.workload, each.day.day, each.standing.value) for each in found.compared]


def test_each_workload_of_each_day_has_its_standing() -> None:
    found = reconcile(
        [ours("same", "10"), ours("same", "3", 1), ours("dearer", "10"), ours("ours", "2")],
        [theirs("same", "10.9"), theirs("same", "3", 1), theirs("dearer", "12"), theirs("theirs", "0.5")],
        POLICY,
        currency="USD",
    )
    assert compared(found) == [
        ("dearer", 2, "differs"),
        ("ours", 2, "missing_there"),
        ("same", 2, "matched"),
        ("theirs", 2, "missing_here"),
        ("same", 3, "matched"),
    ]
    assert [each.difference for each in found.of(Standing.DIFFERS)] == [2]


def test_what_runs_under_one_controller_is_held_against_it_as_a_whole() -> None:
    booked = [ours("gateway", "3"), ours("gateway (idle)", "4"), ours("job", "1"), ours("", "2")]
    named = under(booked, {"gateway": "oppen", "gateway (idle)": "oppen"})
    found = reconcile(named, [theirs("oppen", "7.2"), theirs("job", "1")], POLICY, currency="USD")
    assert compared(found) == [("job", 2, "matched"), ("oppen", 2, "matched")]
    assert (found.here, under(booked, {})) == (10, tuple(booked))


def test_of_other_namespaces_nothing_is_kept_but_what_is_of_none() -> None:
    each = {
        name: theirs(name, "1").model_copy(update={"namespace": namespace})
        for name, namespace in {"ours": "models", "theirs": "kube-system", IDLE: "", UNMOUNTED: UNMOUNTED}.items()
    }
    assert [kept.name for kept in within(tuple(each.values()), ["models"])] == ["ours", IDLE, UNMOUNTED]
    assert within(tuple(each.values()), []) == tuple(each.values())


@pytest.mark.parametrize(
    ("here", "there", "standing"),
    [
        ("1.00", "1.10", "matched"),
        ("9.00", "10.00", "matched"),
        ("8.99", "10.00", "differs"),
        ("10.00", "8.99", "differs"),
        ("0.01", "0.06", "matched"),
        ("0.01", "0.07", "differs"),
    ],
)
def test_what_differs_by_less_than_a_share_or_than_is_worth_a_look_matches(here: str, there: str, standing: str) -> None:
    found = reconcile([ours("a", here)], [theirs("a", there)], POLICY, currency="USD")
    assert compared(found) == [("a", 2, standing)]


def test_what_is_hardly_anything_is_not_missing() -> None:
    assert reconcile([ours("a", "0.05")], [theirs("b", "0.05")], POLICY, currency="USD").of(Standing.MISSING_HERE) == ()


def test_a_tolerance_of_one_s_own() -> None:
    strict = Reconciliation(tolerance=0, least=Decimal(0))
    assert compared(reconcile([ours("a", "1")], [theirs("a", "1.00001")], strict, currency="USD")) == [("a", 2, "differs")]


def test_idle_and_unowned_cost_are_lines_of_their_own() -> None:
    found = reconcile(
        [ours("", "0.6"), ours("a", "1")],
        [
            theirs(IDLE, "5", controller=False),
            theirs(f"cluster-one/{IDLE}", "2", controller=False),
            theirs(UNALLOCATED, "0.2", controller=False),
            theirs(UNMOUNTED, "0.1", controller=False),
            theirs("a", "1"),
        ],
        POLICY,
        currency="USD",
    )
    day = date(2026, 3, 2)
    assert (found.idle, found.unowned_here, found.unowned_there) == ({day: 7}, {day: Decimal("0.6")}, {day: Decimal("0.3")})
    assert compared(found) == [("a", 2, "matched")]


def test_pods_of_one_controller_are_one_workload_and_names_are_understood_without_properties() -> None:
    found = reconcile(
        [ours("web", "3")],
        [theirs("web", "1"), theirs("deployment:web", "1", controller=False), theirs("ns/web", "1", controller=False)],
        POLICY,
        currency="USD",
    )
    assert compared(found) == [("web", 2, "matched")]


def test_whose_workload_it_is_may_be_told_by_a_label() -> None:
    labelled = theirs("x", "1").model_copy(update={"labels": {"job": "train-1"}})
    found = reconcile([ours("train-1", "1")], [labelled], POLICY, currency="USD", workload_of=lambda each: each.labels["job"])
    assert compared(found) == [("train-1", 2, "matched")]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="currency"):
        reconcile([ours("a", "1", currency="EUR")], [], POLICY, currency="USD")
    with pytest.raises(ValueError, match="by workload"):
        reconcile([ours("a", "1").model_copy(update={"start": None})], [], POLICY, currency="USD")
    with pytest.raises(ValueError, match="by workload"):
        reconcile([ours("a", "1").model_copy(update={"at": {}})], [], POLICY, currency="USD")


costs = st.decimals(min_value=-(10**15), max_value=10**15, places=12).map(str)
names = st.sampled_from(["", "a", "b", "c"])


@given(
    st.lists(st.tuples(names, costs, st.integers(0, 2)), max_size=12),
    st.lists(st.tuples(st.sampled_from(["a", "b", "d", IDLE, UNMOUNTED]), costs, st.integers(0, 2)), max_size=12),
)
def test_nothing_that_was_given_is_lost(mine: list[tuple[str, str, int]], yours: list[tuple[str, str, int]]) -> None:
    found = reconcile(
        [ours(*each) for each in mine], [theirs(*each, controller=False) for each in yours], POLICY, currency="USD"
    )
    assert found.here == total(Decimal(cost) for _, cost, _ in mine)
    assert found.there == total(Decimal(cost) for _, cost, _ in yours)
    assert len({(each.day, each.workload) for each in found.compared}) == len(found.compared)
