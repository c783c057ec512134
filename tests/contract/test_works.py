"""What costs are metered by, over the prediction store's backends."""

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from tests.contract.predictions import HOUR, START, Loads, copied, labelled, predicted
from tools.predictions.port import PredictionStore, Work
from tools.predictions.records import Usage
from tools.values import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEP = timedelta(hours=1)
TWO_HOURS = Window(start=START, end=START + 2 * STEP)


async def test_work_is_told_by_step_and_version_with_shadows_apart(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        *(predicted(f"a{n}", model, cpu_us=0.1) for n in range(3)),
        predicted("failed", model, prediction=None, score=None, error="broke", cpu_us=None),
        predicted("other", model, version="2", cpu_us=1_500_000.5),
        predicted("later", model, minutes=61, cpu_us=7),
        predicted("outside", model, minutes=121, cpu_us=9),
        copied("a0", model, cpu_us=4.0),
        labelled("a0", model, "late"),
    )
    first, second, shadow, later = await store.works(model, TWO_HOURS, STEP)
    assert first == Work(start=START, version="1", predictions=4, cpu_seconds=Decimal("0.0000003"))
    assert second == Work(start=START, version="2", predictions=1, cpu_seconds=Decimal("1.5000005"))
    assert shadow == Work(start=START, version="2", shadow=True, predictions=1, cpu_seconds=Decimal("0.000004"))
    assert later == Work(start=START + STEP, version="1", predictions=1, cpu_seconds=Decimal("0.000007"))


async def test_tokens_are_counted_with_the_work(store: PredictionStore, loads: Loads, model: str) -> None:
    used = Usage(prompt_tokens=10, completion_tokens=4)
    calls = [msgspec.structs.replace(predicted(name, model, messages=1), usage=used) for name in "ab"]
    await loads(*calls, msgspec.structs.replace(predicted("c", model, messages=1), usage=Usage()))
    (work,) = await store.works(model, HOUR, STEP)
    assert (work.predictions, work.prompt_tokens, work.completion_tokens, work.cpu_seconds) == (3, 20, 8, 0)


async def test_nothing_is_told_of_a_model_that_never_answered(store: PredictionStore, model: str) -> None:
    assert await store.works(model, HOUR, STEP) == ()
    assert model not in await store.stored()


async def test_the_log_of_a_model_takes_room(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*(predicted(f"{n}", model) for n in range(20)))
    assert (await store.stored())[model] > 100
