"""Laws of the sums: whatever is cut up adds up to what it was cut from, in any decimal context."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cost.bills import CENTS, Entry, bill
from agents.cost.changes import MOST, explain
from agents.cost.sharing import SHAREABLE, Cell, Rule, share_out
from tools.costs.apportioning import EXACT, apportion, less, rounded, total
from tools.costs.port import MONEY_PLACES, Amount, Dimension

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
C, M, R, T = Dimension.COMPONENT, Dimension.MODEL, Dimension.RESOURCE, Dimension.TEAM

money = st.decimals(min_value=-(10**18), max_value=10**18, places=MONEY_PLACES)
costs = st.decimals(min_value=0, max_value=10**24, places=MONEY_PLACES)
weights = st.lists(st.decimals(min_value=0, max_value=10**20, places=9), min_size=1, max_size=12)
words = st.sampled_from(["", "a", "b", "c"])
contexts = st.sampled_from([1, 5, 28])


@contextmanager
def digits(count: int) -> Iterator[None]:
    """Few digits in the context in force: whoever adds in it loses some."""
    with localcontext(prec=count):
        yield


def exact(amounts: list[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(amounts, Decimal(0))


@given(st.lists(money), contexts)
def test_a_total_is_exact_in_any_context(amounts: list[Decimal], count: int) -> None:
    with digits(count):
        assert total(amounts) == exact(amounts)


@given(money, weights, contexts)
def test_parts_of_a_whole_add_up_to_it_and_are_within_a_unit_of_their_share(
    whole: Decimal, weights: list[Decimal], count: int
) -> None:
    with digits(count):
        parts = apportion(whole, weights, MONEY_PLACES)
    assert exact(parts) == whole
    with localcontext(EXACT):
        of = sum(weights)
        for part, weight in zip(parts, weights, strict=True):
            share = whole * weight / of if of else whole / len(weights)
            assert abs(part - share) <= Decimal(1).scaleb(-MONEY_PLACES)


@given(costs, weights)
def test_who_weighs_more_gets_no_less_and_who_weighs_nothing_gets_nothing(whole: Decimal, weights: list[Decimal]) -> None:
    parts = apportion(whole, weights, MONEY_PLACES)
    got = [part for _, part in sorted(zip(weights, parts, strict=True))]
    with localcontext(EXACT):
        assert all(one <= other + Decimal(1).scaleb(-MONEY_PLACES) for one, other in pairwise(got))
    if any(weights):
        assert {part for weight, part in zip(weights, parts, strict=True) if not weight} <= {Decimal(0)}


def test_what_is_left_over_goes_to_who_lost_most_and_of_equals_to_the_first() -> None:
    assert apportion(Decimal("1.00"), [Decimal(1)] * 3, 2) == [Decimal("0.34"), Decimal("0.33"), Decimal("0.33")]
    assert apportion(Decimal("0.10"), [Decimal(1), Decimal(3)], 1) == [Decimal("0.0"), Decimal("0.1")]
    assert apportion(Decimal("-1.00"), [Decimal(1)] * 3, 2) == [Decimal("-0.33"), Decimal("-0.33"), Decimal("-0.34")]
    assert apportion(Decimal(5), [Decimal(0)] * 2, 0) == [3, 2]


@pytest.mark.parametrize("weights", [[], [Decimal(1), Decimal(-1)]])
def test_weights_must_weigh(weights: list[Decimal]) -> None:
    with pytest.raises(ValueError, match="weights"):
        apportion(Decimal(1), weights, 2)


def test_a_whole_with_more_decimals_than_its_parts_may_have_is_refused() -> None:
    with pytest.raises(ValueError, match="decimals"):
        apportion(Decimal("0.015"), [Decimal(1), Decimal(1)], 2)


@given(st.lists(money, min_size=1), contexts)
def test_rounded_parts_add_up_to_the_rounded_whole(parts: list[Decimal], count: int) -> None:
    whole = exact(parts).quantize(Decimal("0.01"), context=EXACT)
    with digits(count):
        found = rounded(whole, parts, 2)
    assert exact(found) == whole
    assert all(abs(less(one, other)) < Decimal("0.01") for one, other in zip(found, parts, strict=True))


def test_parts_of_another_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="add up"):
        rounded(Decimal("5.00"), [Decimal(1), Decimal(1)], 2)


# Sharing


@st.composite
def amounts(draw: st.DrawFn) -> list[Amount]:
    keys = st.tuples(st.sampled_from([NOON, NOON + timedelta(days=1)]), st.sampled_from(["USD", "EUR"]), words, words, words)
    found = draw(st.dictionaries(keys, money, max_size=15))
    return [
        Amount(start=start, at={C: component, M: model, T: team}, cost=cost, currency=currency)
        for (start, currency, component, model, team), cost in found.items()
    ]


@given(amounts(), st.sampled_from([M, T]), st.sampled_from(["proportional", "even", "none"]), contexts)
def test_sharing_out_loses_nothing_and_makes_nothing_up(found: list[Amount], over: Dimension, rule: Rule, count: int) -> None:
    with digits(count):
        cells = share_out(found, over, rule)
    assert [cell.own for cell in cells] == [each.cost for each in found]
    for step in {(each.start, each.currency) for each in found}:
        own = [cell.own for cell in cells if (cell.start, cell.currency) == step]
        assert exact([cell.cost for cell in cells if (cell.start, cell.currency) == step]) == exact(own)
        somebody = any(cell.at[over] for cell in cells if (cell.start, cell.currency) == step)
        if somebody and rule != "none":
            nobody = [cell.cost for cell in cells if (cell.start, cell.currency) == step and not cell.at[over]]
            assert not any(nobody)


def amount(cost: str, start: datetime | None = None, currency: str = "USD", **at: str) -> Amount:
    return Amount(start=start, at={Dimension(name): word for name, word in at.items()}, cost=Decimal(cost), currency=currency)


def test_idle_cost_goes_to_those_of_its_component_in_proportion() -> None:
    cells = share_out(
        [
            amount("30", component="serving", model="flights"),
            amount("10", component="serving", model="trains"),
            amount("500", component="training", model="trains"),
            amount("8", component="serving", model=""),
        ],
        M,
        "proportional",
    )
    assert [(cell.shared, cell.cost) for cell in cells] == [(6, 36), (2, 12), (0, 500), (-8, 0)]


def test_what_finds_nobody_in_its_component_is_shared_among_all_and_else_stays() -> None:
    lonely = amount("8", component="monitoring", model="")
    cells = share_out(
        [lonely, amount("1", component="training", model="a"), amount("3", component="serving", model="b")], M, "even"
    )
    assert [cell.cost for cell in cells] == [0, 5, 7]
    assert [cell.cost for cell in share_out([lonely], M, "even")] == [8]


def test_who_was_corrected_below_nothing_takes_no_part() -> None:
    cells = share_out([amount("-5", model="a"), amount("5", model="b"), amount("4", model="")], M, "proportional")
    assert [cell.shared for cell in cells] == [0, 4, -4]


@pytest.mark.parametrize("over", sorted(set(Dimension) - {*SHAREABLE}))
def test_what_is_never_nobody_s_is_not_shared_over(over: Dimension) -> None:
    with pytest.raises(ValueError, match="over"):
        share_out([], over, "even")


# Bills


def checked(entry: Entry) -> None:
    """At every level the parts are the whole, in cents and exactly; no part is further than a cent from what it is exactly."""
    assert abs(less(entry.cost, entry.exact)) < Decimal("0.01")
    assert entry.cost == entry.cost.quantize(Decimal(1).scaleb(-CENTS), context=EXACT)
    if entry.parts:
        assert exact([part.cost for part in entry.parts]) == entry.cost
        assert exact([part.exact for part in entry.parts]) == entry.exact
    for part in entry.parts:
        checked(part)


@given(amounts(), st.permutations([C, M, T]), contexts)
def test_at_every_level_the_parts_of_a_bill_are_the_whole_to_the_cent(
    found: list[Amount], by: list[Dimension], count: int
) -> None:
    one = [each for each in found if each.currency == "USD"]
    with digits(count):
        entry = bill(share_out(one, M, "proportional"), by)
    assert entry.exact == exact([each.cost for each in one])
    checked(entry)


def test_a_bill_names_the_dearest_first() -> None:
    cells = share_out([amount("1.004", model="a", team="x"), amount("2.004", model="b", team="x")], M, "none")
    entry = bill(cells, [T, M])
    assert [(part.name, part.cost) for part in entry.parts[0].parts] == [("b", Decimal("2.00")), ("a", Decimal("1.01"))]
    assert (entry.cost, entry.exact) == (Decimal("3.01"), Decimal("3.008"))


def test_a_bill_of_nothing_is_nothing() -> None:
    assert bill([], [M]) == Entry(name="", cost=Decimal("0.00"), exact=Decimal(0))


def test_a_bill_is_in_one_currency() -> None:
    with pytest.raises(ValueError, match="currency"):
        bill([Cell(start=None, at={}, own=Decimal(1), currency=each) for each in ("EUR", "USD")], [])


# Changes


@st.composite
def by_resource(draw: st.DrawFn) -> list[Amount]:
    quantities = st.decimals(min_value=-10, max_value=10**18, places=9)
    found = draw(st.dictionaries(st.tuples(words, st.sampled_from(["cpu", "gpu"])), st.tuples(money, quantities), max_size=8))
    return [
        Amount(start=None, at={M: model, R: resource}, cost=cost, currency="USD", quantity=quantity)
        for (model, resource), (cost, quantity) in found.items()
    ]


scales = st.decimals(min_value="0.001", max_value=1000, places=20)


@given(by_resource(), by_resource(), scales, contexts)
def test_price_and_usage_are_the_change_exactly(before: list[Amount], after: list[Amount], scale: Decimal, count: int) -> None:
    with digits(count):
        change = explain(before, after, [M], scale)
    assert exact([change.before, change.by_price, change.by_usage]) == change.after
    assert change.after == exact([each.cost for each in after])
    assert len(change.contributors) <= MOST
    for each in change.contributors:
        assert exact([each.by_price, each.by_usage]) == each.change == less(each.after, each.before)


def used(model: str, cost: str, quantity: str, resource: str = "cpu", currency: str = "USD") -> Amount:
    at = {M: model, R: resource}
    return Amount(start=None, at=at, cost=Decimal(cost), currency=currency, quantity=Decimal(quantity))


def test_a_dearer_price_is_told_from_more_usage() -> None:
    change = explain([used("a", "10", "10"), used("b", "10", "10")], [used("a", "20", "10"), used("b", "20", "20")], [M])
    assert (change.by_price, change.by_usage) == (10, 10)
    assert {each.at[M]: (each.by_price, each.by_usage) for each in change.contributors} == {"a": (10, 0), "b": (0, 10)}


def test_what_is_new_or_gone_is_usage_and_only_its_own_direction_is_named() -> None:
    change = explain([used("old", "5", "5")], [used("new", "50", "5"), used("gpu", "20", "1", "gpu")], [M])
    assert (change.by_price, change.by_usage) == (0, 65)
    assert [each.at[M] for each in change.contributors] == ["new", "gpu"]
    assert change.explained == Decimal("1.0769")


def test_windows_of_other_lengths_are_compared_by_the_scale() -> None:
    change = explain([used("a", "70", "70")], [used("a", "10", "10")], [M], Decimal(1) / Decimal(7))
    assert (change.before, change.after, change.contributors) == (10, 10, ())


def test_no_change_has_no_contributors() -> None:
    same = [used("a", "1", "1")]
    assert explain(same, same, [M]).contributors == ()
    assert explain([], [], [M]).explained == 0


def test_a_change_is_in_one_currency() -> None:
    with pytest.raises(ValueError, match="currency"):
        explain([used("a", "1", "1")], [used("a", "1", "1", currency="EUR")], [M])
