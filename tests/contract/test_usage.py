"""Tokens, times to the first token, and costs in the prediction store, over its backends."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.predictions import HOUR, Loads, fresh_model, predicted, segment
from tests.twins.predictions import TwinPredictions
from tools.predictions.port import PredictionStore, TokenUsage
from tools.predictions.records import Finish, PredictionRecord, Usage

pytestmark = pytest.mark.asyncio(loop_scope="session")


def called(
    id: str,
    model: str,
    *,
    version: str = "1",
    minutes: float = 1,
    error: str | None = None,
    prompt: int | None = 10,
    completion: int | None = 5,
    first_token_ms: int | None = None,
    finish: Finish | None = "stop",
    cost: str | None = None,
    currency: str | None = "USD",
) -> PredictionRecord:
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        first_token_us=first_token_ms * 1000 if first_token_ms is not None else None,
        finish=finish,
        cost=cost,
        currency=currency if cost is not None else None,
    )
    record = predicted(id, model, version=version, minutes=minutes, prediction=None, score=None, error=error, messages=1)
    return msgspec.structs.replace(record, usage=usage)


async def only(store: PredictionStore, model: str) -> TokenUsage:
    (found,) = await store.usage(model, HOUR)
    return found


async def test_versions_are_told_apart_with_their_tokens_times_and_costs(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        called("a", model, first_token_ms=20, cost="0.0000045"),
        called("b", model, first_token_ms=40, completion=7, finish="length", cost="0.000000000000001"),
        called("c", model, prompt=None, completion=None, finish=None, error="broke off"),
        called("d", model, version="2", cost="2", currency="EUR"),
        called("e", model, version="2", cost="0.5"),
        called("f", model, minutes=61),
    )
    first, second = await store.usage(model, HOUR)
    assert (first.version, first.calls, first.counted) == ("1", 3, 2)
    assert (first.prompt_tokens, first.completion_tokens) == (20, 12)
    assert (first.first_token_mean_ms, first.first_token_p50_ms, first.first_token_p95_ms) == (30.0, 40.0, 40.0)
    assert first.finishes == {"stop": 1, "length": 1}
    (cost,) = first.costs
    assert (cost.currency, cost.amount, cost.calls, cost.tokens) == ("USD", Decimal("0.000004500000001"), 2, 32)
    assert (cost.per_million_tokens, cost.per_call) == (Decimal("0.140625000"), Decimal("0.000002250"))
    assert [(each.currency, each.amount) for each in second.costs] == [("EUR", Decimal(2)), ("USD", Decimal("0.5"))]
    assert (second.first_token_mean_ms, second.first_token_p95_ms) == (None, None)
    # Errors and latencies of the same calls are where those of all models are.
    assert [(each.version, each.count, each.errors) for each in await store.versions(model, HOUR)] == [("1", 3, 1), ("2", 2, 0)]


async def test_a_model_without_tokens_has_no_usage(store: PredictionStore, loads: Loads, model: str) -> None:
    assert await store.usage(model, HOUR) == ()
    await loads(predicted("a", model))
    assert await store.usage(model, HOUR) == ()


async def test_a_model_may_become_a_language_model(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model))
    await loads(called("b", model))
    assert (await only(store, model)).calls == 1
    assert (await store.versions(model, HOUR))[0].count == 2


async def test_a_call_without_a_price_costs_nothing_that_is_known(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(called("a", model))
    assert (await only(store, model)).costs == ()


async def test_the_same_segment_twice_is_once(store: PredictionStore, model: str, tmp_path: Path) -> None:
    path = segment(tmp_path, [called("a", model, cost="1"), called("b", model, minutes=60 * 24 * 40)])
    for _ in range(2):
        assert (await store.load(path)).records == 2
    assert (await only(store, model)).costs[0].amount == Decimal(1)
    later = HOUR.shifted(timedelta(days=40))
    assert [each.calls for each in await store.usage(model, later)] == [1]


async def test_what_tokens_cost_is_tallied_in_the_currency_that_is_asked_for(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        called("a", model, cost="0.0000045"),
        called("b", model, cost="0.25"),
        called("c", model, cost="2", currency="EUR"),
        called("d", model, prompt=None, completion=None, finish=None, error="broke off"),
        msgspec.structs.replace(called("e", model, version="2", cost="3"), cpu_us=3.6e6),
        predicted("f", model, version="2", cpu_us=7.2e6),
    )
    ten = timedelta(minutes=10)
    ours, theirs = await store.tallies(model, HOUR, ten, cpu_hour=1000.0, currency="USD")
    assert ours.cost is not None
    assert (ours.count, ours.cost.count) == (4, 2)
    assert ours.cost.total == pytest.approx(0.2500045)
    assert ours.cost.squares == pytest.approx(0.0000045**2 + 0.25**2)
    assert theirs.cost is not None
    assert (theirs.cost.count, theirs.cost.total) == (2, pytest.approx(4.0 + 2.0))
    (euro, _) = await store.tallies(model, HOUR, ten, currency="EUR")
    assert euro.cost is not None
    assert (euro.cost.count, euro.cost.total) == (1, pytest.approx(2.0))
    (franc, _) = await store.tallies(model, HOUR, ten, currency="CHF")
    assert franc.cost is None
    plain = (await store.tallies(model, HOUR, ten))[1].cost
    assert plain is not None
    assert (plain.count, plain.total) == (2, pytest.approx(3.6 + 7.2))


async def test_a_model_without_tokens_costs_its_processor_time_in_any_currency(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(predicted("a", model, cpu_us=36.0))
    for currency in (None, "EUR"):
        (only,) = await store.tallies(model, HOUR, timedelta(hours=1), cpu_hour=100.0, currency=currency)
        assert only.cost is not None
        assert (only.cost.count, only.cost.total) == (1, pytest.approx(1e-6))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"completion_tokens": 2**40}, "completion_tokens"),
        ({"first_token_us": -1}, "first_token_us"),
        ({"cost": "1"}, "currency"),
        ({"cost": "a lot", "currency": "USD"}, "a lot"),
        ({"cost": "NaN", "currency": "USD"}, "NaN"),
        ({"cost": "-1", "currency": "USD"}, "-1"),
        ({"cost": "1e-16", "currency": "USD"}, "1e-16"),
        ({"cost": "1e13", "currency": "USD"}, "1e13"),
        ({"finish": "bored"}, "finish"),
    ],
)
async def test_what_cannot_be_is_set_aside(tmp_path: Path, wrong: dict[str, object], complaint: str) -> None:
    """Before any backend sees it."""
    store = TwinPredictions()
    line = msgspec.json.decode(msgspec.json.encode(called("a", "chat")))
    path = segment(tmp_path, [called("b", "chat")])
    path.write_bytes(path.read_bytes() + msgspec.json.encode({**line, "usage": wrong}) + b"\n")
    loaded = await store.load(path)
    assert (loaded.records, loaded.rejected) == (1, 1)
    assert complaint in path.with_suffix(".rejected").read_text()


async def test_lines_of_before_are_read_and_lines_of_other_models_are_as_before() -> None:
    line = msgspec.json.encode(predicted("a", "flights"))
    assert b"usage" not in line
    assert msgspec.json.decode(line, type=PredictionRecord) == predicted("a", "flights")


_CALLS = st.lists(
    st.tuples(
        st.sampled_from("12"),
        st.none() | st.integers(0, 1000),
        st.none() | st.integers(0, 10_000),
        st.none() | st.decimals(0, 10**6, places=15).map(lambda cost: format(cost, "f")),
        st.sampled_from(["USD", "EUR"]),
    ),
    min_size=1,
    max_size=20,
)


@given(_CALLS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_engine_counts_as_the_twin_does(embedded_predictions: PredictionStore, tmp_path: Path, calls: list) -> None:  # type: ignore[type-arg]
    model, twin = fresh_model(), TwinPredictions()
    records = [
        called(f"{n}", model, version=version, completion=tokens, first_token_ms=first, cost=cost, currency=currency)
        for n, (version, tokens, first, cost, currency) in enumerate(calls)
    ]
    path = segment(tmp_path, records)
    await embedded_predictions.load(path)
    await twin.load(path)
    found = await embedded_predictions.usage(model, HOUR)
    for ours, theirs in zip(found, await twin.usage(model, HOUR), strict=True):
        assert ours.first_token_mean_ms == pytest.approx(theirs.first_token_mean_ms)
        assert ours.model_copy(update={"first_token_mean_ms": None}) == theirs.model_copy(update={"first_token_mean_ms": None})
