"""What the benchmark decides for thousands at once is what `decide` decides for each."""

import numpy as np
import pytest

from agents.promotion_rules import Rollouts
from agents.rollout_facts import Period, Progress
from agents.rollouts import Choice, decide
from agents.sequential.shares import Shares
from benchmarks import canary
from simulations.stage import Stage
from tests.unit.rollouts.streams import MINUTE, START, one, periods

WENT = {
    Choice.COMPLETE: "promoted_late",
    Choice.ROLLBACK: "rolled_back",
    Choice.ASK: "asked",
}


def followed(rules: Rollouts, stages: list[Shares]) -> tuple[str, int]:
    """One rollout, looked at each minute: how it ended, and after how many minutes."""
    started, past, place, now = [START], list[Period](), 0, START
    ahead = iter(periods(stages[0], now))
    while True:
        past.append(next(ahead))
        now += MINUTE
        decision = decide(rules, Progress(started=tuple(started), periods=tuple(past)), now)
        minutes = round((now - START) / MINUTE)
        if decision.choice is Choice.ADVANCE and place + 1 < len(stages):
            place += 1
            started.append(now)
            ahead = iter(periods(stages[place], now))
        elif decision.choice is Choice.ADVANCE:
            return ("promoted_on_schedule" if minutes == 180 else "promoted_late"), minutes
        elif decision.choice in WENT:
            return WENT[decision.choice], minutes


@pytest.mark.parametrize(
    ("seed", "accuracy", "per_minute"),
    [(1, 0.97, 1_000), (2, 0.96, 300), (3, 0.94, 300), (4, 0.96, 100), (5, 0.95, 1_000)],
)
def test_the_benchmark_decides_as_the_product_does(seed: int, accuracy: float, per_minute: int) -> None:
    together = vars(canary.run_stages(np.random.default_rng(seed), accuracy, 1, per_minute))
    rng = np.random.default_rng(seed)
    stages = [
        one(canary.drawn(rng, 1, minutes, accuracy, stage.weight, per_minute), 0)
        for minutes, stage in zip((300, 360), canary.RULES.compared, strict=True)
    ]
    how, minutes = followed(canary.RULES, stages)
    assert {name for name, share in together.items() if share == 1.0 and name != "median_minutes"} == {how}
    assert together["median_minutes"] == minutes


def test_the_benchmark_holds_its_limits_at_small_scale() -> None:
    checks, details = canary.measure(Stage(quiet=True), 100)
    by_name = {check.name: check for check in checks.entries}
    # The median of so few has an error of a tenth.
    assert by_name.pop("samples_of_fixed_size").value < 1
    assert [check for check in by_name.values() if not check.ok] == []
    assert details["wrong_rollbacks"]["z_test_peeked"]["day"] > 0.2


def test_the_fixed_size_is_that_of_the_textbook() -> None:
    fixed = canary.fixed_size()
    assert fixed["canary_samples"] == pytest.approx(fixed["textbook"], rel=0.05)
    assert fixed["power"] >= 0.95
    assert fixed["error"] == pytest.approx(0.05, abs=0.005)
    # Against draws.
    rng = np.random.default_rng(1)
    size = 500
    bad, others_bad = rng.binomial(size, 0.06, 40_000), rng.binomial(9 * size, 0.04, 40_000)
    pooled = (bad + others_bad) / (10 * size)
    z = (bad / size - others_bad / (9 * size)) / np.sqrt(pooled * (1 - pooled) * (1 / size + 1 / (9 * size)))
    assert canary.power_of(size, 0.06) == pytest.approx((z > 1.6449).mean(), abs=0.01)
