"""What only the real store can get wrong: kills, repetitions, two at once, and what it says of an engine that is not there."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from simulations.processes import free_port
from tests.contract.predictions import HOUR, fresh_model, labelled, predicted, segment
from tools.errors import PermanentError, TemporaryError
from tools.offload import ChildProcess
from tools.predictions.catalogue import Catalogue
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.connection import Connection
from tools.predictions.engine import Engine
from tools.predictions.port import PredictionStore
from tools.predictions.profiles import profiles
from tools.predictions.schema import labels_table, predictions_table
from tools.predictions.statements import Query

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("predictions")]

MANY = 30_000
"""Records that take several batches."""


def pid(_: Engine) -> int:
    return os.getpid()


async def running(child: ChildProcess) -> int:
    """The process, started anew when it was killed."""
    while True:
        with suppress(TemporaryError):
            return await child.call(pid)


def many(folder: Path, model: str, count: int = MANY) -> Path:
    values = random.Random(1)
    rows = (
        predicted(str(n), model, version=str(n % 2), minutes=n * 60 / count, x=values.random(), city="JFK")
        for n in range(count)
    )
    return segment(folder, [*rows, *(labelled(str(n), model, "late") for n in range(0, count, 10))])


async def counted(store: PredictionStore, model: str) -> tuple[int, int]:
    """Predictions and labels of the model in the hour."""
    found = await store.versions(model, HOUR)
    return sum(version.count for version in found), sum(version.labelled for version in found)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ClickHouseStore]:
    store = open_store(url)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["embedded", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store to be killed at."""
    found: str = f"chdb://{tmp_path}/store" if request.param == "embedded" else request.getfixturevalue("clickhouse_url")
    return found


class Interrupted:
    """A client during whose questions more is loaded: after the first answer, once."""

    def __init__(self, client: Any, load: Callable[[], object]) -> None:
        self._client = client
        self._load = load
        self._done = False

    def query(self, *arguments: Any, **options: Any) -> Any:
        answer = self._client.query(*arguments, **options)
        if not self._done:
            self._done = True
            self._load()
        return answer


async def test_what_is_loaded_between_two_statements_makes_no_count_negative(clickhouse_url: str, tmp_path: Path) -> None:
    model, engine, connection = fresh_model(), Engine(clickhouse_url), Connection(clickhouse_url)
    engine.load(segment(tmp_path, [predicted("a", model, city="JFK", x=1.0), predicted("b", model, city=None, x=2.0)]), 0)
    late = segment(tmp_path, [predicted(str(n), model, city=city, x=3.0) for n, city in enumerate(["JFK", "JFK", "LGA", None])])
    client = Interrupted(connection.client(), lambda: engine.load(late, 0))
    features = Catalogue(connection).features(model)
    assert features is not None
    (found,) = profiles(Query(client, model, (HOUR,)), features, ())
    assert {each.name: each.counts for each in found if each.kind == "categorical"} == {"city": (3, 1)}
    connection.close()
    engine.close()


@pytest.mark.slow
async def test_killed_while_it_loads_every_record_is_there_once(url: str, tmp_path: Path) -> None:
    model = fresh_model()
    path = many(tmp_path, model)
    child = ChildProcess("predictions", Engine, url)
    store = ClickHouseStore(child)
    undisturbed = many(tmp_path, f"{model}-undisturbed")
    await store.ping()
    begun = time.perf_counter()
    await store.load(undisturbed)
    needed = time.perf_counter() - begun
    for share in (0.4, 0.65, 0.9):
        victim = await running(child)
        loading = asyncio.create_task(store.load(path))
        await asyncio.sleep(share * needed)
        os.kill(victim, signal.SIGKILL)
        with suppress(TemporaryError):
            await loading
    await running(child)
    assert (await store.load(path)).records == MANY + MANY // 10
    assert await counted(store, model) == (MANY, MANY // 10)
    await store.close()


async def test_rows_that_a_crash_took_although_their_insert_was_noted_are_loaded_again(tmp_path: Path) -> None:
    """Between noting an insert's token and having its rows, ClickHouse can be killed too; here its disk is made to look so."""
    model = fresh_model()
    path = segment(tmp_path, [predicted(str(n), model, x=n) for n in range(100)])
    async with opened(f"chdb://{tmp_path}/store") as store:
        await store.load(path)
        assert await counted(store, model) == (100, 0)
    (table,) = (tmp_path / "store" / "data" / "default").glob(predictions_table(model))
    (part,) = [folder for folder in table.resolve().iterdir() if folder.name.startswith("202603")]
    shutil.rmtree(part)
    async with opened(f"chdb://{tmp_path}/store") as store:
        assert await counted(store, model) == (0, 0)
        for _ in range(2):
            await store.load(path)
            assert await counted(store, model) == (100, 0)


async def test_a_segment_loaded_by_two_at_once_is_once(clickhouse_url: str, tmp_path: Path) -> None:
    model = fresh_model()
    path = many(tmp_path, model, 2_000)
    async with opened(clickhouse_url) as one, opened(clickhouse_url) as other:
        await asyncio.gather(*(store.load(path) for store in (one, other, one, other)))
        assert await counted(one, model) == (2_000, 200)


async def test_queries_are_answered_while_a_segment_is_loaded(embedded_predictions: ClickHouseStore, tmp_path: Path) -> None:
    model = fresh_model()
    loading = asyncio.create_task(embedded_predictions.load(many(tmp_path, model)))
    seen = set()
    while not loading.done():
        seen.add(await counted(embedded_predictions, model))
    await loading
    assert {count for count, _ in seen} - {0, MANY}


async def test_an_embedded_store_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    async with opened(f"chdb://{tmp_path}/store") as first:
        await first.ping()
        async with opened(f"chdb://{tmp_path}/store") as second:
            with pytest.raises(TemporaryError, match="cannot be opened"):
                await second.ping()
            await first.close()
            await second.ping()


async def test_a_server_that_is_not_there_is_a_temporary_error(tmp_path: Path) -> None:
    async with opened(f"clickhouse://oppen:secret@127.0.0.1:{free_port()}/default") as store:
        for call in (store.ping, store.models, lambda: store.load(segment(tmp_path, [predicted("a", "flights")]))):
            with pytest.raises(TemporaryError) as refused:
                await call()
            assert "secret" not in str(refused.value)


async def test_a_wrong_password_is_a_permanent_error_and_stays_untold(clickhouse_url: str) -> None:
    parts = urlsplit(clickhouse_url)
    async with opened(f"http://{parts.username}:mistaken@{parts.hostname}:{parts.port}/default") as store:
        with pytest.raises(PermanentError) as refused:
            await store.ping()
    assert "mistaken" not in str(refused.value)


async def test_columns_are_for_a_thousand_features_and_no_row_is_lost(
    embedded_predictions: ClickHouseStore, tmp_path: Path
) -> None:
    model = fresh_model()
    wide = msgspec.structs.replace(predicted("a", model), features={f"x{n}": n for n in range(1_050)})
    await embedded_predictions.load(segment(tmp_path, [wide, predicted("b", model, x0=7)]))
    profiles = await embedded_predictions.feature_profiles(model, HOUR)
    assert [profile.name for profile in profiles] == [f"x{n}" for n in range(1_000)]
    assert [(profile.count, profile.nulls) for profile in profiles[:2]] == [(2, 0), (2, 1)]


async def test_labels_of_hundreds_of_classes_are_counted_and_the_frequent_ones_told(
    embedded_predictions: ClickHouseStore, tmp_path: Path
) -> None:
    model = fresh_model()
    rows = [(f"{n}-{again}", n) for n in range(300) for again in range(1 + (n < 100))]
    await embedded_predictions.load(
        segment(tmp_path, [*(predicted(id, model) for id, _ in rows), *(labelled(id, model, f"class {n}") for id, n in rows)])
    )
    (version,) = await embedded_predictions.versions(model, HOUR)
    assert (version.labelled, version.correct, len(version.labels)) == (400, 0, 200)
    assert {f"class {n}" for n in range(100)} <= {*version.labels}


async def test_what_has_no_table_yet_is_empty(tmp_path: Path) -> None:
    """Reading creates nothing: it may be done by a user of the server who may do no more."""
    async with opened(f"chdb://{tmp_path}/store") as store:
        assert await store.models() == ()
        assert await store.versions("flights", HOUR) == ()
    assert not list((tmp_path / "store").rglob("oppen_*"))


@pytest.mark.parametrize("name", [predictions_table, labels_table])
async def test_models_that_differ_in_case_or_signs_share_no_table(name: Callable[[str], str]) -> None:
    assert len({name(model) for model in ("flights", "Flights", "flights ", "flights!", "")}) == 5
