"""INT8 is proposed where it is shown to pay, refused where it is shown not to, and left open where too little is known."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cost.quantization import Decision, saving_of, weigh
from agents.cost.quantization_rules import QuantizationRules
from agents.cost.quantization_traffic import weigh_copies
from tests.unit.agents.quantizations import accuracy, batch, measured
from tests.unit.agents.worlds import NOW
from tools.jobs.prices import Prices
from tools.predictions.port import Copies, Values
from tools.registry.evaluations import Compared
from tools.values import Window

RULES = QuantizationRules(batches=(1, 32))
EURO = Prices(currency="EUR", cpu_hour=Decimal("0.036"))


def test_a_clear_saving_without_a_loss_pays() -> None:
    worth = weigh(measured(), RULES, EURO)
    assert worth.pays
    assert worth.saving.value == pytest.approx(0.75, abs=0.01)
    assert worth.saving.low < worth.saving.value < worth.saving.high
    assert worth.size_factor == 0.25
    assert worth.cost is not None
    # 0.2 ms at 0.036 an hour are 2e-9, a thousand of them 2e-6.
    assert (worth.cost.currency, worth.cost.original) == ("EUR", Decimal("0.000002000"))
    assert "pays: a prediction takes 75.0% less than the original" in worth.reason
    assert weigh(measured(), RULES).cost is None


def test_a_small_model_that_gets_slower_is_left_as_it_is() -> None:
    """torch's own dynamic INT8 at width 512, one row, takes 1.3 times as long."""
    worth = weigh(measured(batch(1, 0.42, 0.42, 0.52), batch(32, 1.0, 1.0, 0.8)), RULES)
    assert worth.decision is Decision.DOES_NOT_PAY
    assert "a prediction takes 23.8% more than the original" in worth.reason


def test_what_converting_brings_is_no_merit_of_int8() -> None:
    worth = weigh(measured(batch(1, 0.12, 0.02, 0.021), batch(32, 0.13, 0.023, 0.023)), RULES)
    assert worth.decision is Decision.DOES_NOT_PAY
    assert "Converting to ONNX in FP32 alone would take 83.3% less." in worth.reason


def test_a_saving_that_may_be_chance_is_left_open() -> None:
    worth = weigh(measured(batch(1, 0.2, 0.2, 0.17, wobble=0.2), batch(32, 1.0, 0.8, 0.4)), RULES)
    assert worth.decision is Decision.INCONCLUSIVE
    assert "too wide to tell" in worth.reason


def test_wrong_answers_beyond_the_margin_refuse_it_whatever_it_saves() -> None:
    worth = weigh(measured(facts=(accuracy(lost=60, won=5),)), RULES)
    assert worth.decision is Decision.DOES_NOT_PAY
    assert "more than 0.5 points" in worth.reason


def test_no_loss_has_to_be_shown_and_too_few_rows_show_nothing() -> None:
    assert weigh(measured(facts=(accuracy(lost=0, won=0, rows=250),)), RULES).decision is Decision.INCONCLUSIVE
    assert weigh(measured(facts=(accuracy(lost=0, won=0, rows=100),)), RULES).decision is Decision.INCONCLUSIVE
    assert weigh(measured(facts=()), RULES).decision is Decision.INCONCLUSIVE
    assert weigh(measured(facts=(accuracy(lost=0, won=0, rows=500),)), RULES).pays


def test_a_slice_that_suffers_refuses_it() -> None:
    facts = (accuracy(), accuracy(lost=30, won=1, rows=400, name="slice:carrier=UA"))
    worth = weigh(measured(facts=facts), RULES)
    assert worth.decision is Decision.DOES_NOT_PAY
    assert "slice:carrier=UA" in worth.reason


def test_a_p99_that_gets_worse_at_any_batch_size_refuses_it() -> None:
    worth = weigh(measured(batch(1, 0.2, 0.1, 0.05), batch(32, 1.0, 0.8, 0.7, p99=2.0)), RULES)
    assert worth.decision is Decision.DOES_NOT_PAY
    assert "p99 in batches of 32" in worth.reason


def test_an_error_of_a_regression_is_held_to_its_own_margin() -> None:
    def error(candidate: float, spread: float) -> Compared:
        resamples = tuple(candidate - 10 + spread * (step - 99.5) / 100 for step in range(200))
        return Compared(
            name="mae", window="held_out", candidate=candidate, champion=10, better="lower", rows=5_000, resamples=resamples
        )

    assert weigh(measured(facts=(error(10.01, 0.01),)), RULES).pays
    assert weigh(measured(facts=(error(10.05, 0.3),)), RULES).decision is Decision.INCONCLUSIVE
    assert weigh(measured(facts=(error(10.5, 0.1),)), RULES).decision is Decision.DOES_NOT_PAY


def test_a_batch_size_that_was_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match=r"quantization\.rows: 8"):
        weigh(measured(), QuantizationRules(batches=(1, 8), rows=8))
    with pytest.raises(ValueError, match="rows: 4 is none of the batches"):
        QuantizationRules(rows=4)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_whoever_takes_more_saves_less(original: float, quantized: float) -> None:
    saving = saving_of(batch(1, original, original, quantized), "original", 0.05)
    assert saving.low <= saving.value <= saving.high
    assert (saving.value > 0.02) <= (quantized < original)


def copies(*, requests: int = 1_000, saved: float = 6.0, same: int = 995, **more: object) -> Copies:
    """Every row takes 10 us in the version that is served, and `saved` less, give or take one, in INT8."""
    given: dict[str, object] = {
        "window": Window(start=NOW - timedelta(hours=1), end=NOW),
        "shadow": "4",
        "served": "3",
        "requests": requests,
        "shadow_errors": 0,
        "served_errors": 0,
        "both": requests,
        "same": same,
        "apart": Values(count=requests, total=1.0, squares=0.01),
        "labelled": 0,
        "only_shadow_wrong": 0,
        "only_served_wrong": 0,
        "shadow_p50_ms": 1.0,
        "shadow_p99_ms": 2.0,
        "served_p50_ms": 1.1,
        "served_p99_ms": 2.1,
        "shadow_cpu_us": Values(count=requests, total=(10 - saved) * requests, squares=0.0),
        "served_cpu_us": Values(count=requests, total=10.0 * requests, squares=100.0 * requests),
        "saved_cpu_us": Values(count=requests, total=saved * requests, squares=(saved**2 + 1) * requests),
        **more,
    }
    return Copies.model_validate(given)


def test_mirrored_traffic_that_answers_alike_and_takes_less_pays() -> None:
    worth = weigh_copies(copies(), RULES)
    assert worth.decision is Decision.PAYS
    assert worth.saving == pytest.approx(0.6)
    assert worth.low is not None
    assert worth.high is not None
    assert worth.low < 0.6 < worth.high


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"saved": 0.5}, "5.0% less"),
        ({"same": 900}, "100 answers of 1,000 are another class"),
        ({"shadow_errors": 9}, "9 requests failed"),
        ({"shadow_p99_ms": 4.0}, "p99 of a request 4.00 ms"),
        ({"labelled": 900, "only_shadow_wrong": 40, "only_served_wrong": 2}, "40 are wrong in INT8 alone"),
    ],
)
def test_traffic_says_what_held_out_rows_may_not(given: dict[str, Any], why: str) -> None:
    worth = weigh_copies(copies(**given), RULES)
    assert worth.decision is Decision.DOES_NOT_PAY
    assert why in worth.reason


def test_labels_that_have_come_count_more_than_agreement() -> None:
    assert weigh_copies(copies(same=900, labelled=900), RULES).decision is Decision.PAYS


def test_too_little_traffic_shows_nothing() -> None:
    assert weigh_copies(None, RULES).decision is Decision.INCONCLUSIVE
    assert weigh_copies(copies(requests=100, same=100), RULES).decision is Decision.INCONCLUSIVE
    assert weigh_copies(copies(same=975), RULES).decision is Decision.INCONCLUSIVE
