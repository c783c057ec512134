"""The backends of the prediction store's port, and segments as a gateway writes them.

The engine takes seconds to start: it is opened once for all tests, embedded and behind HTTP, and each test has a model of its
own in it.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from tests.contract.servers.clickhouse import PASSWORD, USER
from tests.twins.predictions import TwinPredictions
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.port import Loaded, PredictionStore
from tools.predictions.records import FeatureValue, LabelRecord, PredictionRecord, Record, ShadowRecord, ValueRecord
from tools.values import Window

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = Window(start=START, end=START + timedelta(hours=1))

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded_predictions(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouseStore]:
    store = open_store(f"chdb://{tmp_path_factory.mktemp('embedded')}")
    yield store
    await store.close()


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """OPPEN_TEST_CLICKHOUSE, or the engine behind HTTP."""
    if url := os.environ.get("OPPEN_TEST_CLICKHOUSE"):
        yield url
        return
    command = [sys.executable, "-m", "tests.contract.servers.clickhouse", str(tmp_path_factory.mktemp("server"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            yield f"clickhouse://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/default"
        finally:
            server.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_predictions(clickhouse_url: str) -> AsyncIterator[ClickHouseStore]:
    store = open_store(clickhouse_url)
    yield store
    await store.close()


def fresh_model() -> str:
    """The engine outlives a test, and a server a session."""
    return f"flights-{os.urandom(4).hex()}-{next(_numbers)}"


def at(minutes: float) -> int:
    """So long after START, in microseconds since the epoch."""
    return round((START + timedelta(minutes=minutes)).timestamp() * 1_000_000)


def predicted(
    id: str,
    model: str,
    *,
    version: str = "1",
    minutes: float = 1,
    prediction: str | None = "late",
    score: float | None = 0.75,
    latency_us: int = 2_000,
    error: str | None = None,
    cpu_us: float | None = None,
    entity: str = "c-1",
    **features: FeatureValue,
) -> PredictionRecord:
    return PredictionRecord(
        id=f"{model}/{id}",
        model=model,
        version=version,
        at=at(minutes),
        entity=entity,
        latency_us=latency_us,
        features=features,
        prediction=prediction,
        score=score,
        error=error,
        cpu_us=cpu_us,
    )


def labelled(id: str, model: str, label: str, *, minutes: float = 90) -> LabelRecord:
    return LabelRecord(id=f"{model}/{id}", model=model, at=at(minutes), label=label)


def segment(folder: Path, records: Iterable[Record], *, begun: int | None = None) -> Path:
    """A complete segment with these records."""
    moment = begun if begun is not None else at(0)
    path = folder / f"predictions-{moment:016d}-{os.urandom(6).hex()}-{next(_numbers):06d}.ndjson"
    path.write_bytes(msgspec.json.Encoder().encode_lines(records))
    return path


@pytest.fixture(params=["twin", "embedded", "server"])
def store(request: pytest.FixtureRequest) -> PredictionStore:
    if request.param == "twin":
        return TwinPredictions()
    found: PredictionStore = request.getfixturevalue(f"{request.param}_predictions")
    return found


@pytest.fixture
def model() -> str:
    return fresh_model()


@pytest.fixture
def loads(store: PredictionStore, tmp_path: Path) -> "Loads":
    return Loads(store, tmp_path)


class Loads:
    def __init__(self, store: PredictionStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def __call__(self, *records: Record) -> Loaded:
        return await self._store.load(segment(self._folder, records))


def filled(model: str, values: Iterable[FeatureValue], *, version: str = "1", minutes: float = 1) -> list[PredictionRecord]:
    """One prediction per value of `x`."""
    return [
        predicted(f"{version}-{minutes}-{n}", model, version=version, minutes=minutes, x=value)
        for n, value in enumerate(values)
    ]


def copied(
    id: str,
    model: str,
    *,
    version: str = "2",
    minutes: float = 1,
    prediction: str | None = "late",
    score: float | None = 0.75,
    latency_us: int = 2_000,
    cpu_us: float | None = None,
    error: str | None = None,
) -> ShadowRecord:
    """What a shadow answered to the copy of that prediction's request."""
    return ShadowRecord(
        id=f"{model}/{id}",
        model=model,
        version=version,
        at=at(minutes),
        latency_us=latency_us,
        cpu_us=cpu_us,
        prediction=prediction,
        score=score,
        error=error,
    )


def worth(id: str, model: str, name: str, value: float, *, minutes: float = 2) -> ValueRecord:
    return ValueRecord(id=f"{model}/{id}", model=model, at=at(minutes), name=name, value=value)
