"""Columns of more words than are kept: which ones a side kept is no drift, and what changed is found all the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.drift.categories import categories
from agents.drift.rules import DriftRules, Method
from agents.drift.verdicts import FeatureDrift, compare
from tests.twins.columns import column
from tests.unit.tables.memory import MemoryTable
from tools.tables.port import ColumnProfile
from tools.tables.profiling import profile_together

METHODS: list[Method] = ["jensen_shannon", "psi", "chi_squared"]


def ids(rng: np.random.Generator, number: int, rows: int, first: int = 0) -> Any:
    return rng.integers(first, first + number, rows)


def counted(rows: Any, rule: str) -> ColumnProfile:
    """Ids in a table as it comes or sorted, whose first 20,000 are kept; or in the store, which keeps the most frequent."""
    if rule == "store":
        return column("id", "categorical", [f"u{each:07}" for each in rows.tolist()], None)
    words = pa.array(np.sort(rows) if rule == "sorted table" else rows).cast(pa.string())
    table = MemoryTable({"id": words}, 50_000)
    return profile_together(table, MemoryTable({"id": words.slice(0, 1)})).pairs["id"][0]


def judged(reference: ColumnProfile, current: ColumnProfile, method: Method = "jensen_shannon") -> FeatureDrift:
    return compare([(reference, current)], DriftRules().by([method])).features[0]


RULES = ["table", "sorted table", "store"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("number", "rows", "rows_now"), [(60_000, 200_000, 200_000), (25_000, 100_000, 100_000), (60_000, 200_000, 50_000)]
)
def test_ids_that_did_not_change_have_not_drifted(rule: str, number: int, rows: int, rows_now: int) -> None:
    rng = np.random.default_rng(number)
    reference, current = counted(ids(rng, number, rows), rule), counted(ids(rng, number, rows_now), rule)
    assert reference.others > 0
    for method in METHODS:
        found = judged(reference, current, method)
        assert (found.drifted, found.faults) == (False, ())
        assert found.p_value is not None
        assert found.p_value > 0.005


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("what", ["other ids", "one id in five rows", "half of the ids are gone", "one side has few"])
def test_ids_that_did_change_have_drifted(what: str, rule: str) -> None:
    rng = np.random.default_rng(7)
    reference = counted(ids(rng, 60_000, 200_000), rule)
    rows = {
        "other ids": ids(rng, 60_000, 200_000, first=60_000),
        "one id in five rows": np.where(rng.random(200_000) < 0.2, 59_999, ids(rng, 60_000, 200_000)),
        "half of the ids are gone": ids(rng, 30_000, 200_000),
        "one side has few": ids(rng, 10, 5_000),
    }[what]
    current = counted(rows, rule)
    for method in METHODS:
        assert judged(reference, current, method).drifted


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.integers(500, 40_000), st.sampled_from(METHODS), st.booleans())
def test_chance_alone_is_seldom_drift_however_unequal_the_sides_and_the_words(
    seed: int, rows: int, method: Method, few_first: bool
) -> None:
    rng = np.random.default_rng(seed)
    sides = [counted(rng.zipf(1.2, each) % 10**7, "table") for each in (rows, 120_000)]
    found = judged(*(sides if few_first else sides[::-1]), method)
    assert not found.drifted


def test_claims_without_a_change_are_as_rare_as_is_allowed() -> None:
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(40):
        sides = [counted(ids(rng, 30_000, 45_000), "table") for _ in range(2)]
        p = judged(*sides).p_value
        assert p is not None
        claims += p < 0.1
    # 4 are expected; more than 10 come once in 500 times.
    assert claims <= 10


def test_what_was_counted_without_buckets_is_compared_by_what_was_frequent_on_both_sides() -> None:
    rng = np.random.default_rng(3)
    rows = [np.where(rng.random(200_000) < 0.2, 1, ids(rng, 60_000, 200_000)) for _ in range(2)]
    reference, current = (replace(counted(each, "store"), buckets=()) for each in rows)
    assert len(categories(reference, current).reference) == 2
    assert not judged(reference, current).drifted
    assert judged(reference, counted(ids(rng, 60_000, 200_000), "store")).drifted
