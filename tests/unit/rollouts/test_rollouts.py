"""What is done at a look at a canary."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.policies import PolicyError, parse_policies
from agents.promotion_rules import Guardrails, Metric, Rollouts, Stage
from agents.rollout_facts import Counts, Discordant, Period, Progress, Values
from agents.rollouts import Choice, Decision, decide
from agents.sequential.answers import Answer
from agents.sequential.shares import Shares
from tests.unit.rollouts.streams import MINUTE, START, drawn, one, periods
from tools.values import Window

HOUR = timedelta(hours=1)
ACCURACY = Rollouts(guardrails=Guardrails(errors=None, latency=None))
ERRORS = Rollouts(guardrails=Guardrails(accuracy=None, latency=None))


def steady(minutes: int, canary: int, canary_bad: int, control: int, control_bad: int) -> Shares:
    return Shares.of(*([value] * minutes for value in (canary, canary_bad, control, control_bad)))


def looked(rules: Rollouts, shares: Shares, after: timedelta | None = None, **more: Any) -> Decision:
    made = periods(shares, **more)
    return decide(rules, Progress(started=(START,), periods=made), START + (after or len(made) * MINUTE))


def failing(count: int, bad: int) -> Counts:
    return Counts(predictions=count, failed=bad)


def test_a_canary_that_is_worse_is_rolled_back_before_its_hour_is_up() -> None:
    found = looked(ACCURACY, steady(20, 100, 8, 900, 36))
    assert found.choice is Choice.ROLLBACK
    assert "8.0% of the canary, 4.0% of the control (2,000 and 18,000 samples" in found.reason
    (judged,) = found.judged
    assert judged.answer is Answer.WORSE
    assert judged.low is not None
    assert judged.low > 0
    assert judged.difference == pytest.approx(0.04)


def test_a_canary_that_is_as_good_is_held_for_its_hour_and_then_goes_on() -> None:
    assert looked(ACCURACY, steady(59, 100, 3, 900, 36)).choice is Choice.HOLD
    found = looked(ACCURACY, steady(60, 100, 3, 900, 36))
    assert found.choice is Choice.ADVANCE
    assert "not worse" in found.reason


def test_what_is_unclear_goes_on_for_four_hours_and_is_asked_then() -> None:
    little = steady(420, 1, 0, 9, 0)
    assert looked(ACCURACY, Shares(*(each[:60] for each in vars(little).values()))).choice is Choice.EXTEND
    assert looked(ACCURACY, little, timedelta(hours=4, minutes=59)).choice is Choice.EXTEND
    found = looked(ACCURACY, little.since(120))
    assert found.choice is Choice.ASK
    assert found.asks_at == START + timedelta(hours=5)


def test_people_may_give_a_stage_more_time() -> None:
    made = periods(steady(300, 1, 0, 9, 0))
    progress = Progress(started=(START,), periods=made, extended_until=START + timedelta(hours=8))
    assert decide(ACCURACY, progress, START + timedelta(hours=6)).choice is Choice.EXTEND
    assert decide(ACCURACY, progress, START + timedelta(hours=8)).choice is Choice.ASK


def test_small_but_certain_is_not_rolled_back() -> None:
    """Half a point worse, with a million answers: within the margin, so it may be promoted."""
    found = looked(ACCURACY, steady(60, 2_000, 90, 18_000, 720))
    assert found.judged[0].low is not None
    assert found.judged[0].low > 0
    assert found.choice is Choice.ADVANCE


@pytest.mark.parametrize("minutes", [60, 300, 3_000])
@pytest.mark.parametrize("control", [0, 900])
def test_no_traffic_is_never_success(minutes: int, control: int) -> None:
    found = looked(ACCURACY, steady(minutes, 0, 0, control, control // 25))
    assert found.choice is (Choice.EXTEND if minutes < 300 else Choice.ASK)
    assert "no traffic" in found.reason


def test_nothing_measured_is_never_success() -> None:
    found = decide(Rollouts(), Progress(started=(START,)), START + timedelta(hours=9))
    assert found.choice is Choice.ASK
    assert [each.answer for each in found.judged] == [Answer.INCONCLUSIVE] * 3


def test_every_guardrail_has_to_be_measured() -> None:
    def no_latency(count: int, bad: int) -> Counts:
        return Counts(predictions=count, failed=0, labelled=count, wrong=bad)

    found = looked(Rollouts(), steady(60, 100, 3, 900, 36), made_of=no_latency)
    assert found.choice is Choice.EXTEND
    assert found.reason == "Not clear yet: latency: not measured."


def test_slow_answers_roll_back_as_failures_do() -> None:
    def slow(count: int, bad: int) -> Counts:
        return Counts(predictions=count, failed=0, labelled=count, wrong=0, slow=bad)

    found = looked(Rollouts(), steady(30, 100, 6, 900, 9), made_of=slow)
    assert found.choice is Choice.ROLLBACK
    assert "slow 6.0% of the canary" in found.reason


def test_only_answers_old_enough_are_asked_for_their_labels() -> None:
    rules = ACCURACY.model_copy(update={"label_delay": timedelta(hours=2)})
    made = periods(steady(120, 100, 20, 900, 36))
    progress = Progress(started=(START,), periods=made)
    for after in (MINUTE * 119, 2 * HOUR):
        found = decide(rules, progress, START + after)
        assert found.choice is Choice.HOLD
        assert found.judged[0].note == "nothing to judge of the canary in this stage"
    found = decide(rules, progress, START + 2 * HOUR + 30 * MINUTE)
    assert found.choice is Choice.ROLLBACK
    assert found.judged[0].canary_samples == 3_000
    assert "100.0% of the canary's" in found.judged[0].note
    assert "older than 2 h" in found.judged[0].note


def test_a_stage_lasts_so_much_longer_as_labels_take() -> None:
    rules = ACCURACY.model_copy(update={"label_delay": timedelta(hours=2)})
    progress = Progress(started=(START,), periods=periods(steady(180, 100, 3, 900, 36)))
    assert decide(rules, progress, START + timedelta(minutes=179)).choice is Choice.HOLD
    assert decide(rules, progress, START + timedelta(minutes=180)).choice is Choice.ADVANCE


def test_labels_that_come_late_roll_back_what_had_gone_on() -> None:
    """The second stage has no old labels of its own yet, and those of the first have become bad."""
    rules = ACCURACY.model_copy(update={"label_delay": timedelta(hours=2)})
    made = periods(steady(180, 100, 9, 900, 36))
    progress = Progress(started=(START, START + 3 * HOUR), periods=made)
    found = decide(rules, progress, START + 3 * HOUR + MINUTE)
    assert found.choice is Choice.ROLLBACK
    assert found.stage == 1


@pytest.mark.parametrize(
    ("canary", "control", "why"),
    [(0.3, 0.3, "50.0% are needed"), (0.6, 0.9, "too far apart"), (0.9, 0.4, "50.0% are needed")],
)
def test_labels_of_few_or_of_unlike_shares_say_nothing(canary: float, control: float, why: str) -> None:
    made = tuple(
        Period(
            window=Window(start=START + place * MINUTE, end=START + (place + 1) * MINUTE),
            canary=Counts(predictions=100, labelled=int(100 * canary), wrong=int(30 * canary)),
            control=Counts(predictions=900, labelled=int(900 * control), wrong=int(36 * control)),
        )
        for place in range(60)
    )
    found = decide(ACCURACY, Progress(started=(START,), periods=made), START + HOUR)
    assert found.choice is Choice.EXTEND
    assert why in found.judged[0].note


def test_each_stage_has_to_pass_anew_and_the_last_comparison_leads_to_all_traffic() -> None:
    first, second = steady(60, 100, 3, 900, 36), steady(120, 500, 15, 500, 20)
    made = periods(first) + periods(second, START + HOUR)
    begun = Progress(started=(START, START + HOUR), periods=made[:61])
    assert decide(ACCURACY, begun, START + 3 * HOUR).choice is Choice.EXTEND
    begun = Progress(started=(START, START + HOUR), periods=made)
    assert decide(ACCURACY, begun, START + 3 * HOUR).choice is Choice.ADVANCE
    full = Progress(started=(START, START + HOUR, START + 3 * HOUR), periods=made)
    # Nobody has seen it answer with all of it.
    assert decide(ACCURACY, full, START + 3 * HOUR).choice is Choice.EXTEND
    assert decide(ACCURACY, full, START + 7 * HOUR).choice is Choice.ASK
    answered = full.model_copy(update={"periods": made + periods(steady(1, 1_000, 30, 0, 0), START + 3 * HOUR)})
    assert decide(ACCURACY, answered, START + 3 * HOUR + MINUTE).choice is Choice.COMPLETE


def with_all_traffic(failed: int, minutes: int = 3) -> Decision:
    """Of 1,000 a minute, after a stage without a failure to speak of."""
    before = periods(steady(60, 100, 0, 900, 2), made_of=failing)
    alone = periods(steady(minutes, 1_000, failed, 0, 0), START + HOUR, made_of=failing)
    rules = ERRORS.model_copy(update={"stages": (Stage(weight=0.1, hold=HOUR), Stage(weight=1))})
    return decide(rules, Progress(started=(START, START + HOUR), periods=before + alone), START + HOUR + minutes * MINUTE)


def test_what_fails_with_all_the_traffic_is_taken_back_and_not_promoted() -> None:
    found = with_all_traffic(100)
    assert found.choice is Choice.ROLLBACK
    assert "10.0% of the canary, 0.2% of the control" in found.reason
    assert with_all_traffic(3).choice is Choice.COMPLETE


@pytest.mark.parametrize("begins", [Stage(weight=0, hold=HOUR), Stage(weight=0.1, hold=HOUR)])
@given(minutes=st.integers(1, 2_000), control=st.sampled_from([0, 1_000]))
@settings(max_examples=20, deadline=None)
def test_without_an_answer_in_the_last_stage_nothing_is_ever_complete(begins: Stage, minutes: int, control: int) -> None:
    for stages in ((Stage(weight=1),), (begins, Stage(weight=1)), (begins, Stage(weight=1, hold=HOUR))):
        rules = ERRORS.model_copy(update={"stages": stages})
        started = tuple(START + place * HOUR for place in range(len(stages)))
        made = periods(steady(60, 1_000, 0, control, 0), made_of=failing) if len(stages) > 1 else ()
        found = decide(rules, Progress(started=started, periods=made), started[-1] + minutes * MINUTE)
        assert found.choice is not Choice.COMPLETE


def test_all_traffic_may_be_watched_for_a_while_and_then_has_to_have_come() -> None:
    stages = (Stage(weight=0.1, hold=HOUR), Stage(weight=1, hold=HOUR))
    rules = ACCURACY.model_copy(update={"stages": stages})
    made = periods(steady(60, 100, 3, 900, 36))
    silent = Progress(started=(START, START + HOUR), periods=made)
    assert decide(rules, silent, START + HOUR + MINUTE).choice is Choice.HOLD
    assert decide(rules, silent, START + 2 * HOUR).choice is Choice.EXTEND
    assert decide(rules, silent, START + 6 * HOUR).choice is Choice.ASK
    busy = Progress(started=silent.started, periods=made + periods(steady(60, 1_000, 0, 0, 0), START + HOUR))
    assert decide(rules, busy, START + 2 * HOUR).choice is Choice.COMPLETE


def test_a_shadow_is_compared_on_the_requests_that_both_answered() -> None:
    stages = (Stage(weight=0, hold=HOUR), *Rollouts().stages)
    rules = ACCURACY.model_copy(update={"stages": stages})

    def shadowed(only_canary: int, only_control: int) -> Decision:
        pairs = Discordant(count=100, only_canary_wrong=only_canary, only_control_wrong=only_control)
        made = tuple(each.model_copy(update={"pairs": pairs}) for each in periods(steady(60, 100, 4, 100, 4)))
        return decide(rules, Progress(started=(START,), periods=made), START + HOUR)

    assert shadowed(1, 1).choice is Choice.ADVANCE
    assert shadowed(4, 1).choice is Choice.ROLLBACK
    assert "answered by both" in shadowed(1, 1).judged[0].note


def test_what_a_shadow_answers_is_worth_nothing_to_the_business() -> None:
    guards = Guardrails(errors=None, latency=None, metric=Metric(name="revenue", margin=0.05))
    rules = ACCURACY.model_copy(update={"guardrails": guards, "stages": (Stage(weight=0, hold=HOUR), *Rollouts().stages)})
    pairs = Discordant(count=100, only_canary_wrong=1, only_control_wrong=1)
    made = tuple(each.model_copy(update={"pairs": pairs}) for each in periods(steady(60, 100, 4, 100, 4)))
    found = decide(rules, Progress(started=(START,), periods=made), START + HOUR)
    assert (found.choice, [each.guard for each in found.judged]) == (Choice.ADVANCE, ["accuracy"])
    then = decide(rules, Progress(started=(START, START + HOUR), periods=made), START + 2 * HOUR)
    assert [each.guard for each in then.judged] == ["accuracy", "metric"]
    alone = Guardrails(errors=None, accuracy=None, latency=None, metric=Metric(name="revenue", margin=0.05))
    with pytest.raises(ValidationError, match="business metric alone"):
        Rollouts(stages=(Stage(weight=0, hold=HOUR), *Rollouts().stages), guardrails=alone)


def lossy(canary: float, control: float, labelled: int = 1_800) -> tuple[Period, ...]:
    return tuple(
        Period(
            window=each.window,
            canary=Counts(predictions=200, failed=0, loss=valued("loss", canary, 200)),
            control=Counts(predictions=1_800, failed=0, loss=valued("loss", control, labelled)),
        )
        for each in periods(steady(60, 200, 6, 1_800, 72))
    )


@pytest.mark.parametrize(
    ("canary", "labelled", "choice"),
    [(11.0, 1_800, Choice.ROLLBACK), (9.9, 1_800, Choice.ADVANCE), (10.4, 1_800, Choice.EXTEND), (9.0, 600, Choice.EXTEND)],
)
def test_a_model_that_answers_with_numbers_is_judged_by_its_loss(canary: float, labelled: int, choice: Choice) -> None:
    rules = ACCURACY.model_copy(update={"guardrails": ACCURACY.judging_of("numbers").guardrails})
    assert set(rules.guardrails.judged) == {"loss"}
    found = decide(rules, Progress(started=(START,), periods=lossy(canary, 10.0, labelled)), START + HOUR)
    assert found.choice is choice
    assert "labels for" in found.judged[0].note
    assert not Guardrails(accuracy=None, answers="numbers").judged.keys() & {"accuracy", "loss"}


def test_a_shadow_spends_its_part_of_the_level_and_leaves_the_rest() -> None:
    """Together the guardrail claims no more often than policy says, whichever stages there are."""

    def rolled_back_after(rules: Rollouts, started: tuple[datetime, ...]) -> int:
        made = periods(steady(240, 10, 1, 90, 6), started[-1])
        return next(
            minutes
            for minutes in range(2, 240)
            if decide(rules, Progress(started=started, periods=made), started[-1] + minutes * MINUTE).choice is Choice.ROLLBACK
        )

    shadowed = ACCURACY.model_copy(update={"stages": (Stage(weight=0, hold=HOUR), *Rollouts().stages)})
    assert rolled_back_after(ACCURACY, (START,)) < rolled_back_after(shadowed, (START, START + HOUR))


def valued(name: str, average: float, count: int) -> Values:
    # A spread as large as the mean.
    return Values(count=count, total=average * count, squares=2 * average * average * count)


def paid(name: str, canary: float, control: float) -> tuple[Period, ...]:
    return tuple(
        each.model_copy(
            update={
                "canary": each.canary.model_copy(update={name: valued(name, canary, 200)}),
                "control": each.control.model_copy(update={name: valued(name, control, 1_800)}),
            }
        )
        for each in periods(steady(60, 200, 6, 1_800, 72))
    )


@pytest.mark.parametrize(
    ("name", "better", "canary", "choice"),
    [
        ("metric", "higher", 9.0, Choice.ROLLBACK),
        ("metric", "higher", 10.2, Choice.ADVANCE),
        ("metric", "lower", 11.0, Choice.ROLLBACK),
        ("metric", "lower", 9.9, Choice.ADVANCE),
        ("cost", "higher", 11.0, Choice.ROLLBACK),
        ("cost", "higher", 9.0, Choice.ADVANCE),
        ("cost", "higher", 10.4, Choice.EXTEND),
    ],
)
def test_means_are_guarded_in_the_direction_in_which_they_are_worse(
    name: str, better: Any, canary: float, choice: Choice
) -> None:
    margin = Metric(name="revenue", better=better, margin=0.05) if name == "metric" else 0.05
    guards = Guardrails(errors=None, latency=None).model_copy(update={name: margin})
    rules = ACCURACY.model_copy(update={"guardrails": guards})
    found = decide(rules, Progress(started=(START,), periods=paid(name, canary, 10.0)), START + HOUR)
    assert found.choice is choice
    judged = next(each for each in found.judged if each.guard == name)
    assert judged.low is not None
    assert judged.high is not None
    assert judged.difference is not None
    assert judged.low < judged.difference < judged.high


def test_a_split_that_is_not_the_weights_is_asked_about() -> None:
    rules = ACCURACY.model_copy(update={"max_mismatch": 0.001})
    assert looked(rules, steady(60, 100, 3, 900, 36)).choice is Choice.ADVANCE
    found = looked(rules, steady(60, 130, 4, 870, 35))
    assert found.choice is Choice.ASK
    assert found.mismatch is not None
    assert found.mismatch < 1e-6


def test_predictions_of_the_same_clients_count_for_less() -> None:
    worse = steady(20, 100, 8, 900, 36)
    assert looked(ACCURACY, worse).choice is Choice.ROLLBACK
    assert looked(ACCURACY.model_copy(update={"design_effect": 10.0}), worse).choice is Choice.HOLD


def test_periods_that_have_not_ended_do_not_count() -> None:
    made = periods(steady(60, 100, 8, 900, 36))
    found = decide(ACCURACY, Progress(started=(START,), periods=made), START + 2 * MINUTE)
    assert found.judged[0].canary_samples == 200


rates = st.sampled_from([0.0, 0.002, 0.02, 0.05, 0.2])


@given(seed=st.integers(0, 10_000), canary=rates, control=rates, minutes=st.integers(2, 90), per_minute=st.integers(5, 500))
@settings(max_examples=40, deadline=None)
def test_more_failures_of_the_canary_never_make_it_pass(
    seed: int, canary: float, control: float, minutes: int, per_minute: int
) -> None:
    found = one(drawn(np.random.default_rng(seed), 1, minutes, canary, control, per_minute), 0)
    more = Shares(found.canary, np.minimum(found.canary, found.canary_bad + 3), found.control, found.control_bad)
    order = [Choice.ADVANCE, Choice.HOLD, Choice.EXTEND, Choice.ROLLBACK]
    before, after = (looked(ERRORS, each, made_of=failing).choice for each in (found, more))
    assert order.index(before) <= order.index(after)


@pytest.mark.parametrize(
    "stages",
    [
        [],
        [{"weight": 0.5, "hold": "1h"}],
        [{"weight": 1.0}],
        [{"weight": 0.5, "hold": "1h"}, {"weight": 0.1, "hold": "1h"}, {"weight": 1}],
        [{"weight": 0.5}, {"weight": 1}],
    ],
)
def test_stages_that_make_no_sense_are_refused(stages: list[Any]) -> None:
    with pytest.raises(PolicyError, match="stages"):
        parse_policies({"rollouts": {"stages": stages}})


def test_policies_may_differ_by_model_and_always_guard_something() -> None:
    policies = parse_policies({"models": {"fraud": {"rollouts": {"label_delay": "3d"}}}})
    assert policies.rollouts_of("fraud").label_delay == timedelta(days=3)
    assert policies.rollouts_of("other").label_delay == timedelta(0)
    with pytest.raises(PolicyError, match="at least one"):
        parse_policies({"rollouts": {"guardrails": {"errors": None, "accuracy": None, "latency": None}}})


def refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        make()


def test_what_cannot_have_been_measured_is_refused() -> None:
    refused(lambda: Counts(predictions=1, failed=2), "more than predictions")
    refused(lambda: Counts(predictions=1, labelled=1, wrong=2), "more than labelled")
    refused(lambda: Progress(started=(START, START)), "one after the other")
    refused(lambda: Progress(started=(START,), periods=periods(steady(2, 1, 0, 1, 0))[::-1]), "in order")
    with pytest.raises(ValueError, match="policy has 3"):
        decide(ACCURACY, Progress(started=tuple(START + each * HOUR for each in range(4))), START + 9 * HOUR)
