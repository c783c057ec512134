"""What rollouts are looked at by, over the prediction store's backends: shadows, losses, costs, and what answers were worth."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.predictions import HOUR, START, Loads, copied, labelled, predicted, segment, worth
from tools.predictions.port import PredictionStore, Values

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEN = timedelta(minutes=10)


def values(*each: float) -> Values:
    return Values(count=len(each), total=sum(each), squares=sum(value * value for value in each))


async def test_a_shadow_is_in_no_count_of_traffic(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model), labelled("a", model, "late"))
    before = (
        await store.versions(model, HOUR),
        await store.volume(model, HOUR, TEN),
        await store.tallies(model, HOUR, TEN),
        await store.outcomes(model, HOUR),
        await store.periods(model, [HOUR], steps=2),
        await store.distributions(model, HOUR),
    )
    await loads(copied("a", model), copied("b", model, prediction=None, score=None, error="no"))
    assert before == (
        await store.versions(model, HOUR),
        await store.volume(model, HOUR, TEN),
        await store.tallies(model, HOUR, TEN),
        await store.outcomes(model, HOUR),
        await store.periods(model, [HOUR], steps=2),
        await store.distributions(model, HOUR),
    )
    assert (await store.versions(model, HOUR))[0].version == "1"


async def test_a_shadow_is_compared_on_the_requests_that_it_got(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        *(predicted(name, model, prediction="late", latency_us=9_000, cpu_us=2.0) for name in "abcd"),
        predicted("e", model, prediction=None, score=None, error="broke", cpu_us=None, latency_us=1_000),
        predicted("only served", model),
        predicted("f", model, minutes=12, prediction="late"),
        predicted("another's", model, version="9"),
        copied("a", model, prediction="late", latency_us=11_000, cpu_us=4.0),
        copied("b", model, prediction="on time"),
        copied("c", model, prediction="on time"),
        copied("d", model, prediction=None, score=None, error="the feature is missing"),
        copied("e", model, prediction="late"),
        copied("f", model, minutes=12, prediction="late"),
        copied("another's", model),
        copied("a", model, version="3", prediction="on time"),
        *(labelled(name, model, "late") for name in "acde"),
        labelled("b", model, "on time"),
        labelled("another's", model, "late"),
    )
    first, second = await store.mirrored(model, "2", "1", HOUR, TEN, slow_ms=10)
    assert (first.start, second.start) == (START, START + TEN)
    assert (first.labelled, first.only_shadow_wrong, first.only_served_wrong) == (3, 1, 1)
    assert (first.shadow.version, first.shadow.count, first.shadow.errors, first.shadow.slow) == ("2", 5, 1, 1)
    assert (first.served.version, first.served.count, first.served.errors, first.served.slow) == ("1", 5, 1, 0)
    assert first.shadow.cost == values(4e-6)
    assert first.served.cost == values(*[2e-6] * 4)
    assert (second.shadow.count, second.labelled, second.shadow.cost) == (1, 0, None)


async def test_a_shadow_is_held_beside_what_was_served_request_by_request(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        *(predicted(name, model, score=0.75, latency_us=9_000, cpu_us=8.0) for name in "abc"),
        predicted("d", model, prediction=None, score=None, error="broke", latency_us=1_000),
        predicted("only served", model),
        predicted("another's", model, version="9"),
        copied("a", model, score=0.875, latency_us=11_000, cpu_us=2.0),
        copied("b", model, prediction="on time", score=0.25, latency_us=7_000, cpu_us=4.0),
        copied("c", model, prediction=None, score=None, error="no"),
        copied("d", model),
        copied("another's", model),
        labelled("a", model, "late"),
        labelled("b", model, "late"),
    )
    found = await store.copies(model, "2", "1", HOUR)
    assert found is not None
    assert (found.shadow, found.served, found.requests, found.shadow_errors, found.served_errors) == ("2", "1", 4, 1, 1)
    assert (found.both, found.same, found.agreement, found.apart) == (2, 1, 0.5, values(0.125, 0.5))
    assert (found.labelled, found.only_shadow_wrong, found.only_served_wrong) == (2, 1, 0)
    assert (found.shadow_cpu_us, found.served_cpu_us) == (values(2.0, 4.0), values(8.0, 8.0, 8.0))
    assert found.saved_cpu_us == values(6.0, 4.0)
    assert (found.served_p99_ms, found.shadow_p99_ms) == (9.0, 11.0)
    assert await store.copies(model, "1", "2", HOUR) is None


async def test_a_shadow_of_numbers_has_losses(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("a", model, prediction=None, score=3.0),
        predicted("b", model, prediction=None, score=5.0),
        copied("a", model, prediction=None, score=3.5),
        copied("b", model, prediction=None, score=9.0),
        labelled("a", model, "4"),
        labelled("b", model, "unknown"),
    )
    (only,) = await store.mirrored(model, "2", "1", HOUR, TEN)
    assert (only.labelled, only.shadow.loss, only.served.loss) == (0, values(0.5), values(1.0))


async def test_where_nothing_was_copied_there_is_no_shadow(store: PredictionStore, loads: Loads, model: str) -> None:
    assert await store.mirrored(model, "2", "1", HOUR, TEN) == ()
    await loads(predicted("a", model))
    assert await store.mirrored(model, "2", "1", HOUR, TEN) == ()


async def test_what_is_loaded_twice_is_there_once(store: PredictionStore, loads: Loads, model: str, tmp_path: object) -> None:

    assert isinstance(tmp_path, Path)
    path = segment(tmp_path, [predicted("a", model), copied("a", model), worth("a", model, "revenue", 2.0)])
    for _ in range(2):
        assert (await store.load(path)).records == 3
    (only,) = await store.mirrored(model, "2", "1", HOUR, TEN)
    assert only.shadow.count == 1
    (tally,) = await store.tallies(model, HOUR, TEN, metric="revenue")
    assert tally.metric == values(2.0)


async def test_losses_and_costs_are_tallied_by_version(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("a", model, prediction=None, score=3.5, cpu_us=36.0),
        predicted("b", model, prediction=None, score=6.0, cpu_us=72.0),
        predicted("c", model, version="2", prediction=None, score=1.0),
        labelled("a", model, "4"),
        labelled("b", model, "4"),
        labelled("c", model, "no number"),
    )
    ours, theirs = await store.tallies(model, HOUR, TEN, cpu_hour=100.0)
    assert (ours.loss, ours.wrong) == (values(0.5, 2.0), None)
    assert ours.cost is not None
    assert (ours.cost.count, ours.cost.total) == (2, pytest.approx(3e-6))
    assert ours.cost.squares == pytest.approx(1e-12 + 4e-12)
    assert (theirs.loss, theirs.cost, theirs.labelled) == (Values(), None, 1)


async def test_a_classification_has_no_losses(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model), labelled("a", model, "late"))
    (only,) = await store.tallies(model, HOUR, TEN)
    assert (only.loss, only.wrong) == (None, 0)


async def test_what_answers_were_worth_comes_late_and_the_newest_counts(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        predicted("a", model),
        predicted("b", model),
        predicted("c", model, prediction=None, score=None, error="broke"),
        worth("a", model, "revenue", 1.0, minutes=5),
        worth("b", model, "clicks", 7.0),
        worth("c", model, "revenue", 9.0),
        worth("nobody's", model, "revenue", 9.0),
    )
    assert [each.metric for each in await store.tallies(model, HOUR, TEN)] == [None]
    assert [each.metric for each in await store.tallies(model, HOUR, TEN, metric="revenue")] == [values(1.0)]
    await loads(worth("a", model, "revenue", 4.0, minutes=500), worth("b", model, "revenue", -2.5, minutes=6))
    await loads(worth("a", model, "revenue", 3.0, minutes=400))
    assert [each.metric for each in await store.tallies(model, HOUR, TEN, metric="revenue")] == [values(4.0, -2.5)]
    assert [each.metric for each in await store.tallies(model, HOUR, TEN, metric="nothing")] == [Values()]
