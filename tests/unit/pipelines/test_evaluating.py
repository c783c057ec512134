"""What is measured of a candidate and a champion whose answers are known."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from sklearn.metrics import log_loss, roc_auc_score

from agents.evaluation import Standing, evaluate
from agents.promotion_rules import Evaluations
from pipelines.evaluating import Labelled, measure
from tests.unit.pipelines.contenders import Model, contender, rows, spec
from tools.errors import PermanentError
from tools.registry.evaluations import Compared, Facts
from tools.registry.serving_spec import NumericFeature

ROWS = rows()


def fact(facts: Facts, name: str, window: str = "held_out") -> Compared:
    return next(each for each in facts.compared if (each.name, each.window) == (name, window))


def test_two_that_are_alike_differ_in_nothing() -> None:
    facts = measure(contender(), contender(), {"held_out": ROWS, "recent": rows(500, seed=2)}, groups=("team",))
    for each in facts.compared:
        assert each.candidate == each.champion
        assert not any(each.resamples)
        assert each.discordance is None or each.discordance.only_candidate_right == each.discordance.only_champion_right == 0
    assert {each.window for each in facts.compared} == {"held_out", "recent"}
    assert all(each.candidate == each.champion for each in facts.fairness)
    assert evaluate(facts, Evaluations(must_hold=("accuracy", "auc", "slice:*"))).standing is Standing.INCONCLUSIVE


def test_figures_are_those_of_others_who_reckon_them() -> None:
    facts = measure(contender(Model(slope=0.4, shift=0.3)), contender(), {"held_out": ROWS})
    scores = 1 / (1 + np.exp(-(0.4 * ROWS.table["x"].to_numpy() + 0.3)))
    truth = ROWS.labels == "yes"
    assert fact(facts, "auc").candidate == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert fact(facts, "log_loss").candidate == pytest.approx(log_loss(truth, scores), abs=1e-6)
    assert fact(facts, "accuracy").candidate == pytest.approx(np.mean((scores >= 0.5) == truth))
    assert fact(facts, "calibration_error").candidate > fact(facts, "calibration_error").champion + 0.03


def test_one_that_is_worse_is_told() -> None:
    facts = measure(contender(Model(slope=-1.0)), contender(), {"held_out": ROWS})
    assert fact(facts, "auc").candidate == pytest.approx(1 - fact(facts, "auc").champion)
    verdict = evaluate(facts, Evaluations())
    assert verdict.standing is Standing.WORSE
    assert {"accuracy", "auc", "log_loss"} <= {each.name for each in verdict.weighed if each.standing is Standing.WORSE}


def test_one_that_is_worse_in_one_slice_only_is_told() -> None:
    facts = measure(contender(Model(spoilt=-6.0)), contender(), {"held_out": ROWS})
    assert fact(facts, "slice:city=a").candidate == fact(facts, "slice:city=a").champion
    assert fact(facts, "slice:city=b").candidate < fact(facts, "slice:city=b").champion - 0.1
    assert fact(facts, "slice:city=a").rows + fact(facts, "slice:city=b").rows == len(ROWS.labels)
    assert "slice:city=b" in evaluate(facts, Evaluations()).reason


def test_a_group_need_be_no_feature_and_is_no_slice_beside() -> None:
    facts = measure(contender(), contender(Model(shift=0.5)), {"held_out": ROWS}, groups=("team", "city"))
    names = [each.name for each in facts.compared]
    assert {"group:team=red", "group:team=blue", "group:city=a", "group:city=b"} <= set(names)
    assert not any(name.startswith("slice:") for name in names)


def test_gaps_between_groups_are_fairlearns() -> None:
    facts = measure(contender(Model(shift=1.0)), contender(), {"held_out": ROWS}, groups=("team",))
    truth, team = (ROWS.labels == "yes").astype(int), ROWS.table["team"].to_numpy(zero_copy_only=False)
    said = (ROWS.table["x"].to_numpy() + 1.0 >= 0).astype(int)
    wanted = {
        "demographic_parity_difference:team": demographic_parity_difference(truth, said, sensitive_features=team),
        "equalized_odds_difference:team": equalized_odds_difference(truth, said, sensitive_features=team),
    }
    assert {each.name: each.candidate for each in facts.fairness} == pytest.approx(wanted)
    assert {each.smallest_group for each in facts.fairness} == {int((team == "red").sum())}


def test_a_row_of_a_rare_group_switches_nothing_off() -> None:
    columns, teams = ROWS.table.drop_columns("team"), np.array(ROWS.table["team"].to_pylist(), dtype=object)
    teams[:3] = [None, "green", "green"]
    table = columns.append_column("team", pa.array(list(teams)))
    facts = measure(contender(Model(shift=1.0)), contender(), {"held_out": replace(ROWS, table=table)}, groups=("team",))
    truth, said = ROWS.labels[3:] == "yes", ROWS.table["x"].to_numpy()[3:] + 1.0 >= 0
    wanted = demographic_parity_difference(truth, said, sensitive_features=teams[3:].astype(str))
    gap = next(each for each in facts.fairness if each.name.startswith("demographic"))
    assert gap.candidate == pytest.approx(wanted)
    assert gap.smallest_group == int((teams == "red").sum())
    assert (gap.left_out, gap.left_out_groups, gap.left_out_rows) == (("green (2)", "(none) (1)"), 2, 3)


def test_where_fewer_than_two_groups_have_enough_rows_the_gap_is_not_judged() -> None:
    facts = measure(contender(), contender(), {"held_out": ROWS}, groups=("team",), least_group=len(ROWS.labels))
    smallest = int((ROWS.table["team"].to_numpy(zero_copy_only=False) == "red").sum())
    assert {(each.smallest_group, each.left_out_groups) for each in facts.fairness} == {(smallest, 0)}
    (weighed,) = {
        each.reason for each in evaluate(facts, Evaluations(min_rows=len(ROWS.labels))).weighed if "parity" in each.name
    }
    assert "not judged" in weighed


def test_the_order_in_which_a_model_names_its_classes_is_its_own() -> None:
    turned = contender(Model(slope=-1.0), spec(classes=("yes", "no")))
    for one, other in ((contender(), turned), (turned, contender())):
        facts = measure(one, other, {"held_out": ROWS})
        for name in ("accuracy", "auc", "log_loss", "calibration_error"):
            assert fact(facts, name).candidate == pytest.approx(fact(facts, name).champion, abs=1e-6), name


def test_a_row_without_a_finite_answer_is_wrong() -> None:
    class Failing(Model):
        def __call__(self, *tensors: np.ndarray) -> np.ndarray:
            return np.where(tensors[1][:, 0] == 2, np.nan, super().__call__(*tensors)).astype(np.float32)

    facts = measure(contender(), contender(Failing()), {"held_out": ROWS})
    assert fact(facts, "slice:city=b").champion == 0
    assert fact(facts, "slice:city=a").champion == fact(facts, "slice:city=a").candidate
    assert fact(facts, "auc").rows == int((ROWS.table["city"].to_numpy(zero_copy_only=False) == "a").sum())


def test_a_regression_is_held_by_its_error() -> None:
    x = ROWS.table["x"].to_numpy()
    labelled = Labelled(ROWS.table, x + np.random.default_rng(3).normal(scale=0.5, size=len(x)))
    of = spec("regression", ())
    facts = measure(contender(Model(shift=1.0), of), contender(None, of), {"held_out": labelled}, groups=("team",))
    (mae,) = facts.compared
    assert (mae.name, mae.better, facts.fairness) == ("mae", "lower", ())
    assert mae.candidate == pytest.approx(np.abs(x + 1 - labelled.labels).mean(), abs=1e-5)
    assert evaluate(facts, Evaluations(primary="mae")).standing is Standing.WORSE
    better = measure(contender(None, of), contender(Model(shift=1.0), of), {"held_out": labelled})
    assert evaluate(better, Evaluations(primary="mae", must_hold=("mae",))).standing is Standing.BETTER


def test_labels_of_one_class_have_no_order_to_be_put_in() -> None:
    facts = measure(contender(), contender(), {"held_out": Labelled(ROWS.table, np.full(len(ROWS.labels), "yes"))})
    assert {each.name for each in facts.compared if ":" not in each.name} == {"accuracy", "log_loss"}


@pytest.mark.parametrize(
    ("labelled", "groups", "why"),
    [
        (replace(ROWS, table=ROWS.table.drop_columns("x")), (), "x: the table has no such column"),
        (ROWS, ("age",), "age: the table has no such column to group by"),
        (Labelled(ROWS.table.slice(0, 0), ROWS.labels[:0]), (), "no labelled rows"),
    ],
)
def test_what_the_table_lacks_is_named(labelled: Labelled, groups: tuple[str, ...], why: str) -> None:
    with pytest.raises(PermanentError, match=why):
        measure(contender(), contender(), {"held_out": labelled}, groups=groups)


def test_two_that_answer_different_questions_are_not_compared() -> None:
    with pytest.raises(PermanentError, match="the champion regression"):
        measure(contender(), contender(None, spec("regression", ())), {"held_out": ROWS})


def test_latency_is_of_both_in_turn_and_positive() -> None:
    asked: list[str] = []

    class Noted(Model):
        name = ""

        def __call__(self, *tensors: np.ndarray) -> np.ndarray:
            asked.append(self.name)
            return super().__call__(*tensors)

    one, other = Noted(), Noted()
    one.name, other.name = "candidate", "champion"
    few = rows(5)
    facts = measure(contender(one, size=10), contender(other, size=20), {"held_out": few})
    timed = asked[2:]  # after one call each for the rows
    assert timed == ["candidate", "champion"] * (len(timed) // 2)
    limited = {each.name: each for each in facts.limited}
    assert (limited.pop("size_bytes").candidate, len(limited)) == (10, 6)
    for size in (1, 8, 32):
        p50, p99 = limited[f"latency_p50_ms@{size}"], limited[f"latency_p99_ms@{size}"]
        assert 0 < p50.candidate <= p99.candidate
        assert 0 < p50.champion <= p99.champion


def test_the_same_rows_and_seed_give_the_same_figures() -> None:
    pair = (contender(Model(shift=0.2)), contender())
    first, again = (measure(*pair, {"held_out": ROWS}, seed=3).compared for _ in range(2))
    assert first == again


def test_features_that_only_one_of_them_has_are_taken_from_the_table() -> None:
    narrow = spec(features=(NumericFeature(name="x"),))
    facts = measure(contender(lambda numeric: numeric[:, 0], narrow), contender(), {"held_out": ROWS})
    assert fact(facts, "accuracy").candidate == fact(facts, "accuracy").champion
