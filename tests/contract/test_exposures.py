"""Entities as an experiment counts them, over the backends of the prediction store: once, where they were first seen."""

import time
from datetime import timedelta

import pytest

from tests.contract.predictions import HOUR, START, Loads, at, fresh_model, labelled, predicted, worth
from tools.predictions.clickhouse import ClickHouseStore
from tools.predictions.engine import Engine
from tools.predictions.port import Exposed, Exposures, PredictionStore, Values
from tools.predictions.schema import predictions_table
from tools.values import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEP = timedelta(minutes=30)
ARMS = ("1", "2")


async def counted(store: PredictionStore, model: str, *, slow_ms: float | None = None) -> Exposures:
    return await store.exposures(model, HOUR, STEP, versions=ARMS, slow_ms=slow_ms)


async def test_a_model_that_never_predicted_has_exposed_nobody(store: PredictionStore, model: str) -> None:
    assert await counted(store, model) == Exposures()


async def test_an_entity_counts_once_by_its_first_answer(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("later", model, entity="ann", minutes=40, error="out of memory", prediction=None, score=None),
        predicted("first", model, entity="ann", minutes=2, latency_us=3_000),
        predicted("other", model, entity="bob", version="2", minutes=35, latency_us=9_000),
    )
    assert (await counted(store, model, slow_ms=5)).steps == (
        Exposed(
            start=START,
            version="1",
            entities=1,
            failed=0,
            slow=0,
            labelled=0,
            wrong=0,
            latency_ms=Values(count=1, total=3, squares=9),
        ),
        Exposed(
            start=START + STEP,
            version="2",
            entities=1,
            failed=0,
            slow=1,
            labelled=0,
            wrong=0,
            latency_ms=Values(count=1, total=9, squares=81),
        ),
    )


async def test_who_was_answered_by_two_arms_is_in_none_and_counted(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("a", model, entity="ann", minutes=1),
        predicted("b", model, entity="ann", version="2", minutes=50),
        predicted("c", model, entity="bob", version="2"),
        # Another version is no arm: it changes nothing.
        predicted("d", model, entity="bob", version="9"),
    )
    found = await counted(store, model)
    assert ([(each.version, each.entities) for each in found.steps], found.mixed) == ([("2", 1)], 1)


async def test_requests_without_an_entity_are_counted_apart(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model, entity=""), predicted("b", model, entity="", version="9"), predicted("c", model))
    found = await counted(store, model)
    assert ([each.entities for each in found.steps], found.anonymous) == ([1], 1)


async def test_what_fails_at_first_counts_as_failed(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("a", model, entity="ann", error="x", prediction=None, score=None),
        predicted("b", model, entity="ann", minutes=2),
    )
    (step,) = (await counted(store, model)).steps
    assert (step.entities, step.failed) == (1, 1)


async def test_right_and_wrong_go_by_the_newest_label_of_the_first_answer(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        predicted("a", model, entity="ann", prediction="late"),
        predicted("b", model, entity="ann", prediction="late", minutes=5),
        predicted("c", model, entity="bob", prediction="late"),
        predicted("d", model, entity="cat", prediction="late"),
        predicted("e", model, entity="dan", prediction=None),
    )
    await loads(
        labelled("a", model, "on time", minutes=70),
        labelled("a", model, "late", minutes=80),
        labelled("b", model, "on time"),
        labelled("c", model, "on time"),
        labelled("e", model, "3"),
    )
    (step,) = (await counted(store, model)).steps
    assert (step.entities, step.labelled, step.wrong) == (4, 2, 1)


async def test_what_an_entity_brings_counts_for_a_while_from_its_first_answer_on(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        predicted("a", model, entity="ann", minutes=1),
        predicted("b", model, entity="ann", minutes=10),
        predicted("late", model, entity="ann", minutes=25),
        predicted("c", model, entity="bob", minutes=2),
        predicted("d", model, entity="cat", minutes=2),
        predicted("e", model, entity="dan", minutes=3),
        predicted("f", model, entity="dan", version="2", minutes=4),
    )
    asked = {"versions": ARMS, "metrics": ("revenue", "returns"), "within": timedelta(minutes=20)}
    (step,) = (await store.exposures(model, HOUR, STEP, **asked)).steps  # type: ignore[arg-type]
    assert step.values == {"revenue": Values(), "returns": Values()}
    await loads(
        worth("a", model, "revenue", 3.0, minutes=2),
        worth("b", model, "revenue", 4.0, minutes=11),
        worth("late", model, "revenue", 100.0, minutes=26),
        worth("c", model, "revenue", 5.0, minutes=50),
        worth("d", model, "revenue", 0.0, minutes=5),
        worth("d", model, "returns", 1.0, minutes=5),
        worth("f", model, "revenue", 9.0, minutes=5),
    )
    (step,) = (await store.exposures(model, HOUR, STEP, **asked)).steps  # type: ignore[arg-type]
    assert (step.entities, step.version) == (3, "1")
    assert step.values == {"revenue": Values(count=2, total=7, squares=49), "returns": Values(count=1, total=1, squares=1)}
    assert step.positive == {"revenue": 1, "returns": 1}


async def test_what_came_before_the_window_is_not_looked_at(store: PredictionStore, loads: Loads, model: str) -> None:
    """Before an experiment the champion has answered everybody."""
    await loads(predicted("a", model, entity="ann", minutes=-1), predicted("b", model, entity="ann", version="2", minutes=1))
    found = await counted(store, model)
    assert ([(each.version, each.entities) for each in found.steps], found.mixed) == ([("2", 1)], 0)


def fill(engine: Engine, model: str, predictions: int, entities: int) -> None:
    """As if so many predictions had been loaded within the hour; runs where the engine is."""
    engine._catalogue.admit(model, {})
    engine._connection.client().command(f"""
    INSERT INTO {predictions_table(model)} (id, version, at, entity, latency_us, prediction, score, error, misfits, source)
    SELECT concat('p', toString(number)), toString(1 + customer % 2),
        fromUnixTimestamp64Micro(toInt64({at(0)} + intDiv(number * 3600000000, {predictions})), 'UTC'),
        concat('customer-', toString(customer)), 2000, 'late', 0.5, NULL, [], 'test'
    FROM (SELECT number, sipHash64(number) % {entities} AS customer FROM numbers({predictions}))
    """)


async def test_a_million_predictions_are_counted_within_seconds(embedded_predictions: ClickHouseStore) -> None:
    model = fresh_model()
    await embedded_predictions._engine.call(fill, model, 1_000_000, 200_000)
    begun = time.monotonic()
    found = await embedded_predictions.exposures(model, HOUR, timedelta(minutes=1), versions=ARMS, slow_ms=5)
    took = time.monotonic() - begun
    assert (len(found.steps), found.mixed, found.anonymous) == (120, 0, 0)
    assert 198_000 < sum(each.entities for each in found.steps) <= 200_000
    assert took < 10, f"{took:.1f} s"
    day = Window(start=START - timedelta(days=1), end=START)
    assert await embedded_predictions.exposures(model, day, STEP, versions=ARMS) == Exposures()
