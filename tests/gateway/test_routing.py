"""The routing law."""

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing import SLOTS, Slots, assign, check_salt, check_weights, slot

VERSIONS = ("1", "2", "3", "4")


@st.composite
def weights(draw: st.DrawFn) -> dict[str, int]:
    """Percent over some versions."""
    cuts = sorted(draw(st.lists(st.integers(0, SLOTS), max_size=len(VERSIONS) - 1)))
    bounds = [0, *cuts, SLOTS]
    shares = [after - before for before, after in pairwise(bounds)]
    return dict(zip(draw(st.permutations(VERSIONS)), shares, strict=False))


def through(history: list[dict[str, int]]) -> Slots:
    slots: Slots = ()
    for step in history:
        slots = assign(slots, step)
    return slots


histories = st.lists(weights(), min_size=1, max_size=6)


@given(histories)
def test_a_version_owns_as_many_slots_as_its_weight_says(history: list[dict[str, int]]) -> None:
    owned = Counter(through(history))
    assert owned == Counter({version: weight for version, weight in history[-1].items() if weight})


@given(histories, weights())
def test_only_a_version_whose_weight_fell_loses_entities(history: list[dict[str, int]], then: dict[str, int]) -> None:
    before = through(history)
    after = assign(before, then)
    for old, new in zip(before, after, strict=True):
        if old != new:
            assert then.get(old, 0) < history[-1].get(old, 0)
            assert then[new] > history[-1].get(new, 0)


@given(histories, weights())
def test_no_more_slots_move_than_the_weights_demand(history: list[dict[str, int]], then: dict[str, int]) -> None:
    before = through(history)
    moved = sum(old != new for old, new in zip(before, assign(before, then), strict=True))
    assert moved == sum(max(0, history[-1].get(version, 0) - then.get(version, 0)) for version in VERSIONS)


@given(st.lists(st.integers(1, SLOTS), min_size=2, max_size=6, unique=True), st.text(max_size=40))
def test_an_entity_stays_with_a_challenger_that_only_grows(ladder: list[int], entity: str) -> None:
    slots = assign((), {"1": SLOTS})
    seen = []
    for weight in sorted(ladder):
        slots = assign(slots, {"1": SLOTS - weight, "2": weight})
        seen.append(slots[slot("late", entity)])
    assert seen == sorted(seen)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_slot_is_the_same_every_time_and_in_range(model: str, entity: str) -> None:
    assert slot(model, entity) == slot(model, entity)
    assert 0 <= slot(model, entity) < SLOTS


def test_slots_are_even_and_differ_between_models() -> None:
    one = [slot("late", f"customer-{n}") for n in range(20_000)]
    other = [slot("fraud", f"customer-{n}") for n in range(20_000)]
    assert min(Counter(one).values()) > 130
    assert max(Counter(one).values()) < 280
    assert 0.005 < sum(a == b for a, b in zip(one, other, strict=True)) / len(one) < 0.02


SALTS = st.text(max_size=16)


@given(st.text(max_size=40), SALTS)
def test_a_salted_slot_is_the_same_every_time_and_in_range(entity: str, salt: str) -> None:
    assert slot("late", entity, salt) == slot("late", entity, salt)
    assert 0 <= slot("late", entity, salt) < SLOTS


@pytest.mark.parametrize("salt", ["", "run_0198c0ffee00700080000000000000aa/1", "run_0198c0ffee00700080000000000000ab/1"])
def test_arms_get_the_shares_of_their_weights(salt: str) -> None:
    slots = assign(assign((), {"1": SLOTS}), {"1": 30, "2": 50, "3": 20})
    count = 20_000
    got = Counter(slots[slot("late", f"customer-{n}", salt)] for n in range(count))
    for version, weight in (("1", 30), ("2", 50), ("3", 20)):
        # Five standard errors.
        assert abs(got[version] / count - weight / 100) < 5 * math.sqrt(weight * (100 - weight) / count) / 100


def test_who_was_together_in_one_experiment_is_spread_over_the_arms_of_the_next() -> None:
    """Yesterday's treatment must not be today's: what it did to its customers would be taken for the work of the new one."""
    slots, count = assign((), {"1": 50, "2": 50}), 20_000
    names = [f"customer-{n}" for n in range(count)]
    arms = [[slots[slot("late", name, salt)] for name in names] for salt in ("run_a/1", "run_b/1")]
    for version in ("1", "2"):
        again = [now for before, now in zip(*arms, strict=True) if before == version]
        assert abs(again.count(version) / len(again) - 0.5) < 5 * 0.5 / math.sqrt(len(again))


@pytest.mark.parametrize(
    ("salt", "complaint"), [(None, None), ("x" * 64, None), ("x" * 65, "64 bytes"), ("ö" * 33, "64 bytes")]
)
def test_a_salt_fits_the_hash(salt: str | None, complaint: str | None) -> None:
    assert (complaint or "") in (check_salt(salt) or "")
    assert (check_salt(salt) is None) == (complaint is None)


def test_a_slot_does_not_change_between_releases() -> None:
    """Customers would change versions with an update of the gateway."""
    assert [slot("late", entity) for entity in ("", "a", "N14228")] == [52, 39, 50]
    assert [slot("late", entity, "run_a/1") for entity in ("", "a", "N14228")] == [44, 23, 49]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "at least one"),
        ({"1": 99}, "add up to 99"),
        ({"1": 101}, "1: 101 is not a percentage"),
        ({"1": 110, "2": -10}, "is not a percentage"),
    ],
)
def test_weights_that_are_no_shares_of_a_hundred_are_explained(given: dict[str, int], complaint: str) -> None:
    assert complaint in (check_weights(given) or "")
