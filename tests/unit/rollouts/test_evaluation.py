"""Candidate against champion."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from agents.evaluation import Standing, Verdict, evaluate
from agents.paired import gain, p_value
from agents.promotion_rules import Evaluations
from agents.statistics import holm, mcnemar
from tools.registry.evaluations import Compared, Discordance, Facts, Fairness, Limited

RULES = Evaluations()


def accuracy(
    gained: int, lost: int, *, rows: int = 10_000, right: int = 9_000, name: str = "accuracy", window: Any = "held_out"
) -> Compared:
    return Compared(
        name=name,
        window=window,
        candidate=(right + gained - lost) / rows,
        champion=right / rows,
        rows=rows,
        discordance=Discordance(only_candidate_right=gained, only_champion_right=lost),
    )


def verdict(*compared: Compared, rules: Evaluations = RULES, **more: Any) -> Verdict:
    return evaluate(Facts(compared=compared, **more), rules)


def bootstrapped(
    shift: float, better: Literal["higher", "lower"] = "higher", name: str = "auc", count: int = 1_000
) -> Compared:
    resamples = np.random.default_rng(1).normal(shift, 0.01, count)
    return Compared(
        name=name,
        window="held_out",
        candidate=0.5 + shift,
        champion=0.5,
        better=better,
        rows=5_000,
        resamples=tuple(map(float, resamples)),
    )


def test_a_gain_of_a_percent_beyond_chance_is_better() -> None:
    found = verdict(accuracy(300, 180))
    assert found.standing is Standing.BETTER
    assert "0.912, the champion's is 0.9 (+1.3%)" in found.reason


@pytest.mark.parametrize(
    ("gained", "lost", "why"),
    [
        (200, 150, "1.0% is asked for"),
        (0, 0, "1.0% is asked for"),
        (2_500, 2_400, "may be chance"),
    ],
)
def test_too_small_a_gain_or_one_by_chance_is_inconclusive(gained: int, lost: int, why: str) -> None:
    found = verdict(accuracy(gained, lost))
    assert found.standing is Standing.INCONCLUSIVE
    assert why in found.reason


def test_beyond_chance_worse_is_worse_by_however_little() -> None:
    assert verdict(accuracy(100, 180)).standing is Standing.WORSE
    lenient = RULES.model_copy(update={"max_worse": 0.02})
    assert verdict(accuracy(100, 180), rules=lenient).standing is Standing.INCONCLUSIVE


def test_better_altogether_and_worse_in_a_slice_is_worse() -> None:
    hurt = accuracy(10, 60, rows=1_000, right=900, name="slice:country=NL")
    found = verdict(accuracy(300, 180), hurt)
    assert found.standing is Standing.WORSE
    assert "slice:country=NL" in found.reason
    assert found.weighed[0].name == "slice:country=NL"
    assert (
        verdict(accuracy(300, 180), hurt, rules=RULES.model_copy(update={"must_hold": ("accuracy",)})).standing
        is Standing.BETTER
    )


def test_one_bad_slice_among_fifty_is_chance_until_it_is_more() -> None:
    slices = [accuracy(20, 20, rows=1_000, right=900, name=f"slice:{place}") for place in range(49)]
    odd = accuracy(12, 25, rows=1_000, right=900, name="slice:odd")
    assert p_value(odd, "worse") == pytest.approx(0.0168, abs=1e-3)
    assert verdict(accuracy(300, 180), odd).standing is Standing.WORSE
    assert verdict(accuracy(300, 180), *slices, odd).standing is Standing.BETTER


def test_a_small_slice_says_nothing() -> None:
    small = accuracy(0, 50, rows=100, right=90, name="slice:small")
    found = verdict(accuracy(300, 180), small)
    assert found.standing is Standing.BETTER
    assert "100 rows, 200 are needed" in next(each.reason for each in found.weighed if each.name == "slice:small")


def test_recent_traffic_may_not_speak_against_it() -> None:
    fewer = accuracy(95, 100, rows=2_000, right=1_800, window="recent")
    assert verdict(accuracy(300, 180), fewer).standing is Standing.INCONCLUSIVE
    assert verdict(accuracy(300, 180), accuracy(100, 95, rows=2_000, right=1_800, window="recent")).standing is Standing.BETTER
    assert "too few recent labels" in verdict(accuracy(300, 180)).reason


@pytest.mark.parametrize(
    ("fact", "standing"),
    [
        ({"limited": (Limited(name="latency_p99_ms@32", candidate=13, champion=10),)}, Standing.WORSE),
        ({"limited": (Limited(name="latency_p99_ms@32", candidate=12, champion=10),)}, Standing.BETTER),
        ({"limited": (Limited(name="size_bytes", candidate=19, champion=10),)}, Standing.BETTER),
        ({"limited": (Limited(name="size_bytes", candidate=21, champion=10),)}, Standing.WORSE),
        ({"fairness": (Fairness(name="dpd:sex", candidate=0.2, champion=0.05, smallest_group=500),)}, Standing.WORSE),
        ({"fairness": (Fairness(name="dpd:sex", candidate=0.09, champion=0.05, smallest_group=500),)}, Standing.BETTER),
        ({"fairness": (Fairness(name="dpd:sex", candidate=0.2, champion=0.3, smallest_group=500),)}, Standing.BETTER),
        ({"fairness": (Fairness(name="dpd:sex", candidate=0.2, champion=0.05, smallest_group=50),)}, Standing.BETTER),
    ],
)
def test_latency_size_and_fairness_have_limits(fact: dict[str, Any], standing: Standing) -> None:
    assert verdict(accuracy(300, 180), **fact).standing is standing


def test_groups_that_are_too_small_are_named_beside_the_gap_of_the_others() -> None:
    gap = {"name": "dpd:sex", "candidate": 0.2, "champion": 0.05}
    found = verdict(
        accuracy(300, 180),
        fairness=(Fairness(**gap, smallest_group=500, left_out=("(none) (1)",), left_out_groups=2, left_out_rows=3),),
    )
    assert found.standing is Standing.WORSE
    assert "without 2 groups of 3 rows in all, too few to judge: (none) (1), ..." in found.reason


def test_a_gap_that_is_not_judged_is_not_what_policy_needs() -> None:
    rules = RULES.model_copy(update={"needed": ("dpd:*",)})
    for smallest, standing in ((500, Standing.BETTER), (50, Standing.INCONCLUSIVE)):
        gap = Fairness(name="dpd:sex", candidate=0.05, champion=0.05, smallest_group=smallest)
        assert verdict(accuracy(300, 180), fairness=(gap,), rules=rules).standing is standing


def test_calibration_is_better_when_lower() -> None:
    calibration = bootstrapped(0.05, "lower", "calibration_error")
    assert gain(calibration) == pytest.approx(-0.1)
    assert verdict(accuracy(300, 180), calibration).standing is Standing.WORSE
    assert verdict(accuracy(300, 180), bootstrapped(-0.05, "lower", "calibration_error")).standing is Standing.BETTER


def test_what_policy_needs_has_to_have_been_measured() -> None:
    rules = RULES.model_copy(update={"needed": ("latency_p99_ms*",)})
    assert "latency_p99_ms" in verdict(accuracy(300, 180), rules=rules).reason
    assert verdict(bootstrapped(0.05)).reason == "accuracy was not measured on held-out rows."
    latency = Limited(name="latency_p99_ms@1", candidate=1, champion=1)
    assert verdict(accuracy(300, 180), rules=rules, limited=(latency,)).standing is Standing.BETTER


def test_nothing_to_test_by_is_inconclusive() -> None:
    bare = accuracy(300, 180).model_copy(update={"discordance": None})
    assert "neither discordance nor resamples" in verdict(bare).reason


@given(only=st.integers(0, 400), other=st.integers(0, 400))
def test_mcnemar_is_the_binomial_mid_p(only: int, other: int) -> None:
    count = only + other
    expected = stats.binom.sf(only, count, 0.5) + stats.binom.pmf(only, count, 0.5) / 2
    assert mcnemar(only, other) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert mcnemar(only, other) + mcnemar(other, only) == pytest.approx(1)


@given(shift=st.floats(-0.08, 0.08), count=st.integers(200, 400))
def test_a_bootstrap_treats_both_alike(shift: float, count: int) -> None:
    found = bootstrapped(shift, count=count)
    mirrored = found.model_copy(update={"candidate": 0.5 - shift, "resamples": tuple(-each for each in found.resamples)})
    assert p_value(found, "better") == pytest.approx(p_value(mirrored, "worse"))
    assert p_value(found, "worse") == pytest.approx(p_value(mirrored, "better"))


def test_a_bootstrap_reaches_further_than_its_resamples() -> None:
    assert p_value(bootstrapped(-0.05), "worse") == pytest.approx(stats.norm.sf(5), rel=0.7)
    assert p_value(bootstrapped(0.0, count=2_000), "worse") == pytest.approx(0.5, abs=0.06)
    same = bootstrapped(0.0).model_copy(update={"resamples": (0.0,) * 300})
    assert p_value(same, "better") == p_value(same, "worse") == 1.0


@given(p_values=st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_between_the_raw_and_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, p * len(p_values))
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(gained=st.integers(0, 1_000), lost=st.integers(0, 999))
def test_one_more_row_lost_is_never_a_better_verdict(gained: int, lost: int) -> None:
    order = [Standing.WORSE, Standing.INCONCLUSIVE, Standing.BETTER]
    before, after = (verdict(accuracy(gained, each)).standing for each in (lost, lost + 1))
    assert order.index(after) <= order.index(before)


def test_claims_of_equal_models_are_as_rare_as_policy_says() -> None:
    rng = np.random.default_rng(2)
    claims = []
    for _ in range(1_000):
        parts = [rng.multinomial(500, [0.04, 0.04, 0.92]) for _ in range(11)]
        names = ["accuracy", *(f"slice:{place}" for place in range(10))]
        facts = [accuracy(int(a), int(b), rows=500, right=450, name=name) for name, (a, b, _) in zip(names, parts, strict=True)]
        claims.append(verdict(*facts).standing)
    assert claims.count(Standing.WORSE) / 1_000 <= 0.06
    assert claims.count(Standing.BETTER) / 1_000 <= 0.06


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"resamples": (0.1,) * 20}, "too few"),
        ({"rows": 10}, "more rows that differ"),
        ({"candidate": float("nan")}, "finite"),
    ],
)
def test_facts_that_cannot_be_are_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Compared(**{**accuracy(300, 180).model_dump(), **change})
    with pytest.raises(ValidationError, match="given twice"):
        Facts(compared=(accuracy(1, 2), accuracy(2, 1)))
