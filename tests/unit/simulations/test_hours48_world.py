"""The world of the 48 hours: its laws, by its seed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from agents.policies import parse_policies
from simulations.hours48.clients import TURN
from simulations.hours48.pace import Pace
from simulations.hours48.warehouse import KNOWN, Warehouse, as_table, learnable
from simulations.hours48.world import FEATURES, LABEL_DELAY, PAST, RISE, SHIFT_HOUR, Rows, World, share_by_chance
from tools.clock import SharedClock

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
SHIFT = SHIFT_HOUR * HOUR


@pytest.fixture(scope="module")
def rows() -> Rows:
    return World(7).draw()


def test_the_same_seed_draws_the_same_world(rows: Rows) -> None:
    again = World(7).draw()
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(rows, again, strict=True))
    assert not np.array_equal(rows.at[:100], World(8).draw().at[:100])


def test_x_rises_by_30_percent_at_hour_six_and_nothing_else_moves(rows: Rows) -> None:
    before, after = rows.between(timedelta(0), SHIFT), rows.between(SHIFT, 48 * HOUR)
    grown = after.features.mean(axis=0) / before.features.mean(axis=0)
    assert grown[0] == pytest.approx(RISE, abs=0.01)
    assert grown[1:] == pytest.approx(np.ones(len(FEATURES) - 1), abs=0.02)


def test_without_the_fault_the_same_customers_come_unmoved(rows: Rows) -> None:
    calm = World(7, drift=False).draw()
    assert np.array_equal(calm.at, rows.at)
    assert np.array_equal(calm.features[:, 1:], rows.features[:, 1:])
    after = calm.between(SHIFT, 48 * HOUR)
    assert after.features[:, 0].mean() == pytest.approx(calm.between(-PAST, SHIFT).features[:, 0].mean(), rel=0.01)


def test_outcomes_are_known_within_the_delay_that_policy_counts_on(rows: Rows) -> None:
    late = rows.known - rows.at
    least, most = (each // timedelta(microseconds=1) for each in LABEL_DELAY)
    assert (late >= least).all()
    assert (late <= most).all()


def test_a_day_has_its_busy_hours(rows: Rows) -> None:
    afternoon, night = rows.between(5 * HOUR, 7 * HOUR), rows.between(17 * HOUR, 19 * HOUR)
    assert len(afternoon.at) > 1.8 * len(night.at)


def test_no_model_can_know_what_is_chance(rows: Rows) -> None:
    before, after = (1 - share_by_chance(part) for part in (rows.between(-PAST, SHIFT), rows.between(SHIFT, 48 * HOUR)))
    assert 0.965 < before < 0.975
    assert 0.98 < after < 0.992


def test_a_training_of_the_past_falls_with_the_shift_and_one_of_its_first_hour_recovers(rows: Rows) -> None:
    from simulations.hours48.training import fit

    def accuracy(width_of: Rows, asked: Rows) -> float:
        import torch

        scorer = fit(as_table(width_of, START), 64, seed=7)
        with torch.inference_mode():
            logits = scorer(torch.from_numpy(asked.features.astype(np.float32))).numpy()
        return float(((logits > 0) == asked.positive).mean())

    past, since = rows.between(-6 * HOUR, timedelta(0)), rows.between(3 * HOUR, SHIFT + 0.75 * HOUR)
    later = rows.between(8 * HOUR, 12 * HOUR)
    assert accuracy(past, rows.between(timedelta(0), SHIFT)) > 0.94
    assert accuracy(past, later) < 0.88
    assert accuracy(since, later) > 0.95


def test_the_warehouse_holds_what_is_known_and_nothing_of_what_is_to_come(rows: Rows, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, rows, START)
    assert warehouse.store(START) > 0
    assert warehouse.store(START) == 0
    assert warehouse.store(START + HOUR) > 0
    known = pq.read_table(tmp_path)[KNOWN].to_numpy()
    assert known.max() < np.datetime64(START.replace(tzinfo=None) + HOUR, "us")
    learnt = learnable(tmp_path, START, START + HOUR, known_by=START + 0.5 * HOUR)
    assert learnt[KNOWN].to_numpy().max() <= np.datetime64(START.replace(tzinfo=None) + 0.5 * HOUR, "us")


def test_the_clock_does_not_run_past_its_horizon(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    clock, horizon = SharedClock.create(path, START, rate=1.0), START + HOUR
    with Pace(SharedClock(path)) as pace:
        pace.allow(horizon, 36_000.0)
        while clock.now() < horizon - timedelta(seconds=30):
            pass  # bounded by the clock, which goes at ten hours a second
        assert clock.now() < horizon + 10 * timedelta(minutes=1)


def test_the_scenarios_policies_are_policies() -> None:
    text = Path("simulations/policies/hours48.yaml").read_text()
    for name, value in {"{python}": "python", "{warehouse}": "/data/shop", "{environment}": "{}"}.items():
        text = text.replace(name, value)
    policies = parse_policies(yaml.safe_load(text))
    assert policies.rollouts_of("shop").label_delay == LABEL_DELAY[1] + TURN
