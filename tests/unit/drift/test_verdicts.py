"""What is claimed of two tables: what moved is named, what did not is left alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from agents.drift.rules import DriftRules, Method
from agents.drift.verdicts import Comparison, compare
from tests.unit.tables.memory import MemoryTable
from tools.tables.profiling import profile_together

ROWS = 5_000


def usual(seed: int, rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "distance": rng.lognormal(6, 0.8, rows),
        "temperature": rng.normal(15, 8, rows),
        "stops": rng.integers(0, 4, rows),
        "carrier": rng.choice(["AA", "B6", "DL", "UA"], rows, p=[0.1, 0.2, 0.3, 0.4]),
        "night": rng.random(rows) < 0.3,
    }


def judged(reference: dict[str, Any], current: dict[str, Any]) -> Comparison:
    return compare(profile_together(MemoryTable(reference), MemoryTable(current)).pairs.values(), DriftRules())


def moved(found: Comparison) -> list[str]:
    return [each.name for each in found.features if each.drifted]


def test_two_days_alike_have_not_drifted() -> None:
    found = judged(usual(1), usual(2))
    assert (moved(found), found.dataset_drift, found.cause) == ([], False, "none")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("temperature", lambda x: x + 0.2 * np.std(x)),
        ("distance", lambda x: x * 1.3),
        ("stops", lambda x: np.where(np.arange(ROWS) % 5 == 0, 3, x)),
        ("carrier", lambda x: np.where(np.arange(ROWS) % 5 == 0, "AA", x)),
        ("night", lambda x: np.arange(ROWS) % 2 == 0),
    ],
)
def test_a_feature_that_moved_is_found_and_named(name: str, change: Any) -> None:
    current = usual(2)
    found = judged(usual(1), current | {name: change(current[name])})
    assert (moved(found), found.features[0].name, found.cause) == ([name], name, "covariate_drift")
    assert name in found.reason


def test_a_dataset_has_drifted_when_half_of_its_features_have() -> None:
    current = usual(2)
    current |= {
        "temperature": current["temperature"] + 9,
        "distance": current["distance"] * 2,
        "night": np.ones(ROWS, dtype=bool),
    }
    found = judged(usual(1), current)
    assert (found.dataset_drift, found.drifted_share) == (True, 0.6)


def test_below_the_least_number_of_rows_nothing_is_claimed() -> None:
    current = {name: values[:49] for name, values in usual(2).items()} | {"temperature": np.full(49, 99.0)}
    found = judged(usual(1), current)
    assert (moved(found), found.cause) == ([], "undetermined")
    assert all(each.p_value is None for each in found.features)


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        ("temperature", lambda x: pa.array(np.where(np.arange(ROWS) % 4 == 0, np.nan, x)), "25.0% are not finite"),
        ("temperature", lambda x: pa.array(x, mask=np.arange(ROWS) % 4 == 0), "25.0% are null, 0.0% were"),
        ("distance", lambda x: x * 1_609, "another unit"),
        ("temperature", lambda x: np.full(ROWS, 15.0), "stuck at 15"),
        ("carrier", lambda x: np.where(np.arange(ROWS) % 5 == 0, "XX", x), "never seen before, as 'XX'"),
    ],
)
def test_a_fault_of_the_data_is_told_from_drift(name: str, broken: Any, said: str) -> None:
    current = usual(2)
    found = judged(usual(1), current | {name: broken(current[name])})
    (faulty,) = [each for each in found.features if each.faults]
    assert found.cause == "data_quality"
    assert faulty.name == name
    assert said in faulty.faults[0]


@pytest.mark.parametrize("many", [False, True])
def test_one_value_that_most_rows_always_had_is_calm_weather_and_any_other_is_stuck(many: bool) -> None:
    rng = np.random.default_rng(5)
    rain = np.where(rng.random(ROWS) < 0.8, 0.0, rng.gamma(1, 2, ROWS) if many else rng.integers(1, 20, ROWS) / 10)

    def faults(value: float) -> tuple[str, ...]:
        return judged({"rain": rain}, {"rain": np.full(400, value)}).features[0].faults

    assert faults(0.0) == ()
    assert faults(1.9) == ("stuck at 1.9",)


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_numbers_that_lie_close_together_now_are_not_stuck(spread: float) -> None:
    found = judged({"x": np.arange(ROWS)}, {"x": np.random.default_rng(4).normal(0, spread, ROWS)})
    assert (moved(found), found.features[0].faults) == (["x"], ())


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_one_value_among_usual_ones_is_stuck(share: float) -> None:
    values = usual(2)["temperature"]
    hung = np.where(np.arange(ROWS) < share * ROWS, 21.5, values)
    (fault,) = judged({"x": usual(1)["temperature"]}, {"x": hung}).features[0].faults
    assert "are stuck at about 21.4" in fault


def test_values_that_are_rare_anyway_are_no_fault() -> None:
    rng = np.random.default_rng(9)
    words = np.array([f"w{number}" for number in range(400)])
    found = judged({"word": rng.choice(words, 200)}, {"word": rng.choice(words, 200)})
    assert found.features[0].faults == ()


def test_a_side_without_values_is_not_compared() -> None:
    found = judged({"x": pa.array([1.0] * 60)}, {"x": pa.array([None] * 60, pa.float64())})
    assert (found.features[0].score, found.features[0].drifted) == (None, False)
    assert found.cause == "data_quality"


@pytest.mark.parametrize("method", ["psi", "jensen_shannon", "ks", "chi_squared"])
def test_a_method_that_is_chosen_finds_what_moved_and_nothing_else(method: Method) -> None:
    rules = DriftRules().by([method])
    current = usual(2)
    current |= {
        "temperature": current["temperature"] + 4,
        "carrier": np.where(np.arange(ROWS) % 3 == 0, "AA", current["carrier"]),
    }
    found = compare(profile_together(MemoryTable(usual(1)), MemoryTable(current)).pairs.values(), rules)
    assert set(moved(found)) == {"temperature", "carrier"}
    chosen = {each.name: each.method for each in found.features}
    assert chosen["temperature" if method != "chi_squared" else "carrier"] == method


@pytest.mark.parametrize("method", ["ks", "chi_squared"])
def test_a_difference_that_is_sure_and_tiny_is_no_drift_by_a_test_either(method: Method) -> None:
    rows = 400_000
    rng = np.random.default_rng(3)
    tables = [
        MemoryTable({"x": rng.normal(shift, 1, rows), "word": rng.choice(["a", "b"], rows, p=[0.5 + shift, 0.5 - shift])})
        for shift in (0, 0.02)
    ]
    found = compare(profile_together(*tables).pairs.values(), DriftRules().by([method]))
    tested = next(each for each in found.features if each.method == method)
    assert tested.score is not None
    assert tested.score < 1e-6
    assert moved(found) == []


def test_each_method_is_taken_for_the_kinds_that_it_is_for() -> None:
    rules = DriftRules().by(["ks", "chi_squared"])
    assert (rules.numeric_method, rules.categorical_method) == ("ks", "chi_squared")
    assert DriftRules().by(["psi"]) == DriftRules(numeric_method="psi", categorical_method="psi")
    assert DriftRules().by([]) == DriftRules()
