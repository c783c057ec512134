"""Every metrics system answers alike; what only an adapter can meet is below."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.servers.local import Posted, Reply, serving
from tests.contract.servers.prometheus import installed, real, speaking
from tests.twins.telemetry import RememberedTelemetry
from tools.errors import PermanentError, TemporaryError
from tools.telemetry.absent import AbsentTelemetry
from tools.telemetry.port import Series, Telemetry
from tools.telemetry.prometheus import PrometheusTelemetry
from tools.values import Window

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SERIES = [
    Series(
        labels={"__name__": "worker_busy", "model": model},
        points=tuple((START + MINUTE * place, base + place / 100) for place in range(10)),
    )
    for model, base in (("flights", 0.5), ("fraud", 0.1))
]


@pytest.fixture(
    params=[
        "twin",
        "api",
        pytest.param(
            "prometheus", marks=pytest.mark.skipif(not installed(), reason="prometheus and promtool are not installed")
        ),
    ]
)
async def telemetry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Telemetry]:
    if request.param == "twin":
        yield RememberedTelemetry(SERIES)
        return
    with speaking(SERIES) if request.param == "api" else real(SERIES, tmp_path) as url:
        adapter = PrometheusTelemetry(url)
        try:
            yield adapter
        finally:
            await adapter.close()


async def test_it_is_a_telemetry_that_answers(telemetry: Telemetry) -> None:
    assert isinstance(telemetry, Telemetry)
    await telemetry.ping()


async def test_an_instant_has_one_value_per_series(telemetry: Telemetry) -> None:
    samples = await telemetry.query("worker_busy", START + 5 * MINUTE)
    assert {each.labels["model"]: each.value for each in samples} == {"flights": 0.55, "fraud": pytest.approx(0.15)}
    assert {each.at for each in samples} == {START + 5 * MINUTE}


async def test_labels_select(telemetry: Telemetry) -> None:
    samples = await telemetry.query('worker_busy{model="flights"}', START)
    assert [each.value for each in samples] == [0.5]


async def test_a_number_is_a_sample_without_labels(telemetry: Telemetry) -> None:
    samples = await telemetry.query("2", START)
    assert [(each.labels, each.value) for each in samples] == [({}, 2.0)]


@pytest.mark.parametrize("promql", ["nothing_of_that_name", 'worker_busy{model="other"}'])
async def test_nothing_that_matches_is_an_empty_answer(telemetry: Telemetry, promql: str) -> None:
    assert await telemetry.query(promql, START) == ()
    assert await telemetry.query_range(promql, Window(start=START, end=START + MINUTE), MINUTE) == ()


async def test_what_is_too_old_is_no_answer(telemetry: Telemetry) -> None:
    assert await telemetry.query("worker_busy", START + timedelta(hours=1)) == ()


async def test_a_range_does_not_hold_its_end(telemetry: Telemetry) -> None:
    window = Window(start=START, end=START + 3 * MINUTE)
    series = await telemetry.query_range('worker_busy{model="flights"}', window, MINUTE)
    assert [each.labels["model"] for each in series] == ["flights"]
    assert series[0].points == ((START, 0.5), (START + MINUTE, 0.51), (START + 2 * MINUTE, 0.52))


async def test_a_bad_query_is_permanent(telemetry: Telemetry) -> None:
    with pytest.raises(PermanentError, match="bad_data"):
        await telemetry.query("worker_busy{", START)


ODD = b"""{"status": "success", "data": {"resultType": "vector", "result": [
    {"metric": {"a": "1"}, "value": [1, "NaN"]}, {"metric": {"a": "2"}, "value": [1, "+Inf"]},
    {"metric": {"a": "3"}, "value": [1, "x"]}, {"metric": {"a": "4"}, "value": [1, "4"]}]}}"""
TIMED_OUT = b'{"status": "error", "errorType": "timeout", "error": "query timed out"}'
NO_TIME = b'{"status": "success", "data": {"resultType": "scalar", "result": [1e300, "1"]}}'
REPLIES = {
    "html": Reply(200, "text/html", b"<html>sign in</html>"),
    "busy": Reply(503, "application/json", TIMED_OUT, {"Retry-After": "7"}),
    "gateway": Reply(502, "text/html", b"<html>"),
    "gone": Reply(404, "text/plain", b"no"),
    "odd": Reply(200, "application/json", ODD),
    "time": Reply(200, "application/json", NO_TIME),
}


def answers(posted: Posted) -> Reply:
    """By the first step of the path; `locked` wants credentials."""
    step = posted.path.split("/")[1]
    if step != "locked":
        return REPLIES[step]
    known = posted.headers.get("Authorization") in ("Bearer right", "Basic YW5hOnNlY3JldA==")
    return REPLIES["odd"] if known else Reply(401, "text/plain", b"who are you")


async def test_what_cannot_be_a_number_is_left_out() -> None:
    with serving(answers) as url:
        async with aclosing(Closing(f"{url}/odd")) as closing:
            assert [each.labels for each in await closing.telemetry.query("x", START)] == [{"a": "4"}]


class Closing:
    """An adapter that `aclosing` can close."""

    def __init__(self, url: str, bearer: str | None = None, basic: tuple[str, str] | None = None) -> None:
        self.telemetry = PrometheusTelemetry(url, bearer, basic=basic, timeout=timedelta(seconds=2))

    async def aclose(self) -> None:
        await self.telemetry.close()


async def test_an_overloaded_server_is_tried_again_when_it_says() -> None:
    with serving(answers) as url:
        async with aclosing(Closing(f"{url}/busy")) as closing:
            with pytest.raises(TemporaryError, match="query timed out") as caught:
                await closing.telemetry.query("x", START)
            assert caught.value.retry_after == timedelta(seconds=7)
        async with aclosing(Closing(f"{url}/gateway")) as closing:
            with pytest.raises(TemporaryError, match="502"):
                await closing.telemetry.ping()


@pytest.mark.parametrize("path", ["html", "gone", "time"])
async def test_what_is_not_prometheus_is_permanent(path: str) -> None:
    with serving(answers) as url:
        async with aclosing(Closing(f"{url}/{path}")) as closing:
            with pytest.raises(PermanentError):
                await closing.telemetry.query("x", START)


async def test_a_server_that_is_away_is_temporary() -> None:
    with serving(answers) as url:
        pass
    async with aclosing(Closing(url)) as closing:
        with pytest.raises(TemporaryError, match="does not answer"):
            await closing.telemetry.ping()


async def test_credentials_are_sent_and_never_shown() -> None:
    with serving(answers) as url:
        locked = f"{url}/locked"
        with_user = locked.replace("//", "//ana:secret@")
        for given in (Closing(locked, "right"), Closing(locked, basic=("ana", "secret")), Closing(with_user)):
            async with aclosing(given) as closing:
                assert await closing.telemetry.query("x", START)
        async with aclosing(Closing(locked.replace("//", "//ana:wrong-password@"))) as closing:
            with pytest.raises(PermanentError, match="401") as caught:
                await closing.telemetry.ping()
            assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://x", "http://", "http://x:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(PermanentError, match="address"):
        PrometheusTelemetry(url)


async def test_without_a_metrics_system_it_is_said() -> None:
    absent = AbsentTelemetry()
    assert isinstance(absent, Telemetry)
    for call in (
        absent.ping(),
        absent.query("x", START),
        absent.query_range("x", Window(start=START, end=START + MINUTE), MINUTE),
    ):
        with pytest.raises(PermanentError, match="no metrics system is configured"):
            await call
