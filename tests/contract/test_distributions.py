"""How predictions are distributed, as every backend of the prediction store counts it."""

import math
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.drift.rules import DriftRules
from agents.drift.verdicts import compare
from tests.contract.predictions import HOUR, START, Loads, filled, fresh_model, labelled, predicted, segment
from tests.twins.predictions import TwinPredictions
from tools.predictions.port import PredictionStore
from tools.tables.port import ColumnProfile, Distributions
from tools.tables.shapes import BINS
from tools.values import LeftOut, Window

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("predictions")]


def only(found: Distributions) -> ColumnProfile:
    (profile,) = found.features
    return profile


async def test_of_nothing_there_is_nothing(store: PredictionStore, loads: Loads, model: str) -> None:
    assert await store.distributions(model, HOUR) == Distributions(window=HOUR, rows=0)
    await loads(predicted("a", model, minutes=-1, x=1))
    assert await store.distributions(model, HOUR, version="1") == Distributions(window=HOUR, version="1", rows=0)


async def test_values_that_are_few_are_counted_one_by_one(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, [3, 1, 3, None, 7, "text"]), *filled(model, [9], version="2"))
    found = only(await store.distributions(model, HOUR, version="1"))
    assert (found.kind, found.rows, found.nulls, found.values, found.grid) == ("numeric", 6, 2, {1: 1, 3: 2, 7: 1}, None)
    assert (found.mean, found.minimum, found.maximum) == (3.5, 1, 7)
    assert found.deviation == pytest.approx(np.std([3, 1, 3, 7]))


async def test_numbers_that_are_many_are_counted_on_a_grid_and_their_tails_by_sum(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    values = np.random.default_rng(3).lognormal(0, 2, 3_000)
    await loads(*filled(model, values.tolist()))
    found = only(await store.distributions(model, HOUR))
    grid = found.grid
    assert grid is not None
    assert (found.count, sum(grid.counts), len(grid.counts), found.values) == (3_000, 3_000, BINS + 2, {})
    assert (grid.counts[0], grid.counts[-1]) == (np.sum(values < grid.low), np.sum(values >= grid.high))
    assert (0 < grid.counts[0] <= 4, 0 < grid.counts[-1] <= 4) == (True, True)
    assert grid.above == pytest.approx(values[values >= grid.high].sum())
    assert grid.below == pytest.approx(values[values < grid.low].sum())
    assert (found.mean, found.deviation) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    assert (found.minimum, found.maximum) == (pytest.approx(values.min()), pytest.approx(values.max()))


async def test_like_another_it_is_counted_on_its_grid_and_the_two_compare(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    rng = np.random.default_rng(4)
    before, after = rng.normal(0, 1, 2_000), rng.normal(0.6, 1, 2_000)
    await loads(*filled(model, before.tolist()), *filled(model, after.tolist(), version="2"))
    reference = await store.distributions(model, HOUR, version="1")
    current = await store.distributions(model, HOUR, version="2", like=reference)
    ours, theirs = only(reference).grid, only(current).grid
    assert ours is not None
    assert theirs is not None
    assert (ours.low, ours.high) == (theirs.low, theirs.high)
    found = compare([(only(reference), only(current))], DriftRules())
    assert (found.dataset_drift, found.cause) == (True, "covariate_drift")
    assert found.features[0].score == pytest.approx(abs(before.mean() - after.mean()) / before.std(), rel=0.02)


async def test_numbers_whose_values_were_few_and_are_many_now_are_counted_on_a_grid_after_all(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    rng = np.random.default_rng(5)
    await loads(*filled(model, [1.0, 2.0] * 60), *filled(model, rng.normal(1.5, 0.5, 2_500).tolist(), version="2"))
    reference = await store.distributions(model, HOUR, version="1")
    current = await store.distributions(model, HOUR, version="2", like=reference)
    assert only(current).count == 2_500
    found = compare([(only(reference), only(current))], DriftRules())
    assert found.features[0].drifted
    assert (found.features[0].n_reference, found.features[0].n_current) == (120, 2_500)


async def test_categories_are_counted_by_value(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, ["b", "a", None, "b", ""]), *filled(model, ["z", "a"], version="2"))
    reference = await store.distributions(model, HOUR, version="1")
    assert (only(reference).values, only(reference).nulls, only(reference).others) == ({"b": 2, "a": 1, "": 1}, 1, 0)
    assert only(await store.distributions(model, HOUR, version="2", like=reference)).values == {"z": 1, "a": 1}


async def test_words_that_are_too_many_to_be_kept_are_counted_by_their_hashes_and_compare(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    rng = np.random.default_rng(6)
    words = [[f"u{each}" for each in rng.integers(0, 40_000, 36_000)] for _ in range(2)]
    await loads(*filled(model, [*words[0], None]), *filled(model, words[1], version="2"))
    reference, current = [await store.distributions(model, HOUR, version=version) for version in "12"]
    found = only(reference)
    assert (len(found.values), found.nulls) == (20_000, 1)
    assert found.others == 36_000 - sum(found.values.values()) > 0
    every = ColumnProfile("x", "categorical", 36_000, values=Counter(words[0]))
    assert found.buckets == every.by_bucket()
    assert not compare([(found, only(current))], DriftRules()).features[0].drifted


async def test_answers_and_labels_are_counted_too_and_failures_are_neither(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        predicted("a", model, prediction="late", score=0.9),
        predicted("b", model, prediction="on time", score=0.2),
        predicted("c", model, prediction="late", score=0.9),
        predicted("d", model, prediction=None, score=None, error="no such feature"),
        *(labelled(id, model, "on time") for id in "abd"),
    )
    found = await store.distributions(model, HOUR)
    assert (found.rows, found.features) == (4, ())
    assert found.prediction is not None
    assert found.score is not None
    assert found.label is not None
    assert (found.prediction.values, found.prediction.rows) == ({"late": 2, "on time": 1}, 3)
    assert (found.score.values, found.score.mean) == ({0.9: 2, 0.2: 1}, pytest.approx(2 / 3))
    assert found.label.values == {"on time": 2}


async def test_labels_of_a_model_that_answers_with_numbers_are_numbers(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(*(predicted(str(n), model, prediction=None, score=float(n)) for n in range(4)))
    await loads(*(labelled(str(n), model, text) for n, text in enumerate(["1", "2.5", "inf", "unknown"])))
    found = await store.distributions(model, HOUR)
    assert found.prediction is None
    assert found.label is not None
    assert (found.label.kind, found.label.values, found.label.rows) == ("numeric", {1.0: 1, 2.5: 1}, 2)


_NUMBERS = st.floats(-1e6, 1e6) | st.integers(-5, 5).map(float) | st.sampled_from([1e308, -1e308, 1e99, -0.0])


async def test_zero_is_one_value_whatever_its_sign(store: PredictionStore, tmp_path: Path) -> None:
    model = fresh_model()
    await store.load(segment(tmp_path, filled(model, [0.0, -0.0, 0.0])))
    (found,) = (await store.distributions(model, HOUR)).features
    assert (dict(found.values), found.not_finite) == ({0.0: 3}, 0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(_NUMBERS | st.none(), min_size=1, max_size=30),
    second=st.lists(_NUMBERS | st.none(), max_size=30),
    seed=st.integers(0, 2**32 - 1) | st.none(),
)
async def test_every_backend_counts_as_the_twin(
    store: PredictionStore, tmp_path: Path, first: list[float | None], second: list[float | None], seed: int | None
) -> None:
    """With a seed there are many values more, and so a grid."""
    model, twin = fresh_model(), TwinPredictions()
    more = np.random.default_rng(seed).normal(0, 2, 300).tolist() if seed is not None else []
    records = [*filled(model, [*first, *more]), *filled(model, [*second, *more[::2]], version="2")]
    twin.add(records)
    await store.load(segment(tmp_path, records))
    reference = await twin.distributions(model, HOUR)
    agree(await store.distributions(model, HOUR), reference)
    for version in ("1", "2"):
        theirs = await twin.distributions(model, HOUR, version=version, like=reference)
        agree(await store.distributions(model, HOUR, version=version, like=reference), theirs)


def agree(ours: Distributions, theirs: Distributions) -> None:
    assert (ours.window, ours.rows, ours.version) == (theirs.window, theirs.rows, theirs.version)
    mine, other = ([*found.features, found.prediction, found.score, found.label] for found in (ours, theirs))
    for one, another in zip(mine, other, strict=True):
        assert (one is None) == (another is None)
        if one is not None and another is not None:
            assert near(one) == near(another)


def near(profile: ColumnProfile) -> dict[str, object]:
    """Sums are added up in another order, and on a grid in widths of its bins."""
    found = asdict(profile)
    spread = max(abs(profile.minimum or 0), abs(profile.maximum or 0)) + (
        profile.grid.high - profile.grid.low if profile.grid else 0
    )
    within = 1e-7 * spread if math.isfinite(spread) else math.inf
    for name in ("mean", "deviation", "minimum", "maximum"):
        if isinstance(value := found[name], float) and math.isfinite(value):
            found[name] = pytest.approx(value, rel=1e-7, abs=within)
    if profile.grid is not None:
        grid = found["grid"]
        for name in ("below", "above"):
            grid[name] = pytest.approx(grid[name], rel=1e-7, abs=within * profile.count)
    return found


def left_out(start: float, end: float, *features: str) -> LeftOut:
    """Minutes of the hour."""
    return LeftOut(window=Window(start=START + timedelta(minutes=start), end=START + timedelta(minutes=end)), features=features)


async def test_what_is_left_out_is_counted_as_if_it_had_never_come(store: PredictionStore, loads: Loads, model: str) -> None:
    rows = [predicted(f"{minute}", model, minutes=minute, x=minute, y=minute, word=f"w{minute}") for minute in range(10)]
    await loads(*rows, *(labelled(f"{minute}", model, "late") for minute in range(10)))
    whole = await store.distributions(model, HOUR, without=[left_out(2, 4), left_out(90, 99)])
    assert whole.rows == 8
    assert [each.rows for each in whole.features] == [8, 8, 8]
    assert set(whole.features[0].values) == {0, 1, 4, 5, 6, 7, 8, 9}
    assert sum(each.count for each in await store.outcomes(model, HOUR, without=[left_out(2, 4)])) == 8


async def test_of_some_features_only_these_and_the_answers_are_left_out(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    rows = [predicted(f"{minute}", model, minutes=minute, x=minute, y=minute, word=f"w{minute}") for minute in range(10)]
    await loads(*rows, *(labelled(f"{minute}", model, "late") for minute in range(10)))
    without = [left_out(2, 4, "x"), left_out(7, 8, "word", "unheard of")]
    found = await store.distributions(model, HOUR, without=without)
    assert found.rows == 10
    counted = {each.name: each for each in found.features}
    assert list(counted) == ["x", "y", "word"]
    assert {name: each.rows for name, each in counted.items()} == {"x": 8, "y": 10, "word": 9}
    assert counted["x"].nulls == 0
    assert "w7" not in counted["word"].values
    assert found.prediction is not None
    assert found.label is not None
    assert (found.prediction.rows, found.label.rows) == (7, 10)
    assert sum(each.count for each in await store.outcomes(model, HOUR, without=without)) == 7
    late = await store.distributions(model, HOUR, label="late", like=found, without=without)
    assert {each.name: each.rows for each in late.features} == {"x": 8, "y": 10, "word": 9}


async def test_where_all_of_a_feature_is_left_out_nothing_of_it_is_known(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(*(predicted(f"{minute}", model, minutes=minute, x=minute, y=minute) for minute in range(4)))
    found = await store.distributions(model, HOUR, without=[left_out(0, 60, "x")])
    assert [(each.name, each.rows) for each in found.features] == [("x", 0), ("y", 4)]
    assert found.prediction is None
    assert await store.distributions(model, HOUR, without=[left_out(0, 60)]) == Distributions(window=HOUR, rows=0)
