"""How right a model is: by the labels that have come, and what is to be expected of the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.drift.performance import perform
from tools.predictions.port import Outcome


def outcome(prediction: str, twentieth: int | None, label: str | None, count: int) -> Outcome:
    return Outcome(prediction=prediction, twentieth=twentieth, label=label, count=count)


SURE = [outcome("late", 19, "late", 90), outcome("late", 19, "on time", 10)]
UNSURE = [outcome("late", 11, "late", 55), outcome("late", 11, "on time", 45)]


def test_accuracy_is_that_of_the_labelled_with_its_interval_and_coverage() -> None:
    found = perform([], [*SURE, outcome("on time", 2, None, 300)])
    assert (found.answered, found.labelled, found.coverage, found.accuracy) == (400, 100, 0.25, 0.9)
    # R: binom::binom.confint(90, 100, methods = "wilson")
    assert found.interval == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_without_labels_there_is_no_accuracy() -> None:
    found = perform(SURE, [outcome("late", 19, None, 5)])
    assert (found.accuracy, found.interval, found.same_score_change, found.same_score_p) == (None, None, None, None)


def test_the_estimate_goes_by_how_right_such_answers_used_to_be() -> None:
    found = perform([*SURE, *UNSURE] * 10, [outcome("late", 19, None, 500), outcome("late", 11, None, 1_500)])
    assert found.estimate == pytest.approx((500 * 0.9 + 1_500 * 0.55) / 2_000, abs=0.005)


def test_there_is_no_estimate_of_what_was_never_answered_before_nor_where_all_labels_have_come() -> None:
    assert perform(SURE, [outcome("cancelled", 19, None, 5)]).estimate is None
    assert perform(SURE, SURE).estimate is None


def test_a_change_among_answers_alike_is_found_where_the_mix_hides_it() -> None:
    """Fewer unsure answers than before make up for their being wrong more often."""
    before = [*SURE, *(each.model_copy(update={"count": each.count * 10}) for each in UNSURE)]
    now = [outcome("late", 19, "late", 800), outcome("late", 19, "on time", 200)]
    found = perform(before, now)
    assert found.accuracy is not None
    assert found.accuracy > (90 + 550) / 1_100
    assert found.same_score_change == pytest.approx(-0.1)
    assert found.same_score_p is not None
    assert found.same_score_p < 0.05


def test_another_mix_of_the_same_answers_is_no_change() -> None:
    found = perform([*SURE, *UNSURE], [each.model_copy(update={"count": each.count * 7}) for each in SURE])
    assert (found.same_score_change, found.same_score_p) == (pytest.approx(0), pytest.approx(1))


def test_the_test_of_change_is_held_by_chance() -> None:
    """Under no change its p-value is below 5 % about five times in a hundred."""
    rng = np.random.default_rng(8)
    low = 0
    for _ in range(400):
        sides = []
        for _ in range(2):
            hits = [int(rng.binomial(60, share)) for share in (0.9, 0.7, 0.55)]
            sides.append(
                [
                    each
                    for place, n in enumerate(hits)
                    for each in (outcome("a", place, "a", n), outcome("a", place, "b", 60 - n))
                ]
            )
        p = perform(*sides).same_score_p
        assert p is not None
        low += p < 0.05
    assert 6 <= low <= 36


_OUTCOMES = st.lists(
    st.builds(
        outcome,
        st.sampled_from("ab"),
        st.integers(0, 19) | st.none(),
        st.sampled_from("ab") | st.none(),
        st.integers(1, 500),
    ),
    max_size=12,
)


@given(_OUTCOMES, _OUTCOMES)
def test_shares_are_shares(reference: list[Outcome], current: list[Outcome]) -> None:
    found = perform(reference, current)
    for share in (found.accuracy, found.estimate, found.coverage, found.same_score_p):
        assert share is None or -1e-9 <= share <= 1 + 1e-9
    assert found.same_score_change is None or -1 <= found.same_score_change <= 1
    assert found.labelled <= found.answered
