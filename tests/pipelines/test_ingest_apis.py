"""Items of HTTP APIs into the lake: page by page, each item once, and what proves who asks goes to one host only."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.api_server import ApiServer, serving
from tests.pipelines.lakes import Lake
from tools.errors import PermanentError, TemporaryError
from tools.sources.apis import Api
from tools.sources.opening import open_source
from tools.sources.port import Source
from tools.sources.reading import HttpReading, Reading

WAYS = {
    "/link": HttpReading(paging="link"),
    "/next": HttpReading(items="data.items", paging="next=paging.next"),
    "/cursor": HttpReading(items="items", paging="cursor=meta.cursor:after"),
    "/page": HttpReading(items="items", paging="page=p"),
    "/offset": HttpReading(items="items", paging="offset=skip:take:2"),
}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        yield server


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


class Pauses(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def source(api: ApiServer, way: str = "/link", *, commit_rows: int = 4, pause: Any = None, **how: Any) -> Source:
    reading = HttpReading(**{**vars(WAYS.get(way, HttpReading())), **how})
    return Api(
        f"{api.url}{way}", reading, batch_rows=1_000, commit_rows=commit_rows, pause=Pauses() if pause is None else pause
    )


def ids(lake: Lake) -> list[int]:
    return sorted(row["id"] for row in lake.rows())


@pytest.mark.parametrize("way", WAYS)
def test_pages_are_followed_to_the_end_and_later_only_what_is_new_is_stored(way: str, api: ApiServer, lake: Lake) -> None:
    found = lake.ingest(source(api, way))
    assert (found.ok, found.rows_written, found.batches) == (True, 5, 2)
    assert lake.ingest(source(api, way)).rows_written == 0
    api.items += [{"id": n, "who": "new"} for n in range(5, 9)]
    before = len(api.asked)
    assert lake.ingest(source(api, way)).rows_written == 4
    assert len(api.asked) - before <= 4  # it goes on where it was
    assert ids(lake) == list(range(9))


@pytest.mark.parametrize("way", WAYS)
def test_what_was_committed_before_a_stop_is_not_read_again(way: str, api: ApiServer, lake: Lake) -> None:
    def away(said: str) -> None:
        if "stored" in said:
            api.instead = [(503, {}, b"")] * 5

    api.items = [{"id": n} for n in range(11)]
    with pytest.raises(TemporaryError, match="503"):
        lake.ingest(source(api, way), progress=away)
    assert len(lake.rows()) == 4
    assert lake.ingest(source(api, way)).ok
    assert ids(lake) == list(range(11))


def test_items_that_are_the_same_are_as_many_as_they_are(api: ApiServer, lake: Lake) -> None:
    api.items = [{"id": 1}] * 3
    lake.ingest(source(api))
    api.items.append({"id": 1})
    assert lake.ingest(source(api)).rows_written == 1
    assert ids(lake) == [1] * 4


def test_an_answer_without_pages_is_one_batch_by_its_content(api: ApiServer, lake: Lake) -> None:
    assert lake.ingest(source(api, "/plain")).rows_written == 5
    assert lake.ingest(source(api, "/plain")).skipped == 1
    api.items = [{"id": 9, "who": "x"}]
    assert lake.ingest(source(api, "/plain")).rows_written == 1


def test_times_of_items_have_their_zone(api: ApiServer, lake: Lake) -> None:
    api.items = [{"id": 1, "at": "2026-11-01T00:00:59Z"}, {"id": 2, "at": "2026-11-01T02:00:59.5+02:00"}]
    assert lake.ingest(source(api)).rows_written == 2
    assert [row["at"].isoformat() for row in lake.rows()] == ["2026-11-01T00:00:59+00:00", "2026-11-01T00:00:59.500000+00:00"]


def test_items_that_do_not_fit_are_quarantined_with_the_reason(api: ApiServer, lake: Lake) -> None:
    api.items = [{"id": 1}, "no object", {"id": "two"}, {"id": 3}]
    found = lake.ingest(source(api))
    assert (found.rows_written, found.rows_quarantined) == (2, 2)
    assert [number for number, _ in lake.quarantined()] == [2, 3]


def test_a_server_that_is_busy_is_asked_again_when_it_said(api: ApiServer, lake: Lake) -> None:
    pauses = Pauses()
    api.instead = [
        (429, {"Retry-After": "7"}, b""),
        (503, {}, b""),
        (429, {"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"}, b""),
    ]
    assert lake.ingest(source(api, pause=pauses)).rows_written == 5
    assert pauses == [7.0, 1.0, 2.0]


def test_a_server_that_stays_away_or_asks_for_long_is_left_alone(api: ApiServer, lake: Lake) -> None:
    api.instead = [(503, {}, b"")] * 5
    pauses = Pauses()
    with pytest.raises(TemporaryError, match="503"):
        lake.ingest(source(api, pause=pauses))
    assert (len(api.asked), len(pauses)) == (5, 4)
    api.instead = [(429, {"Retry-After": "3600"}, b"")]
    with pytest.raises(TemporaryError) as told:
        lake.ingest(source(api))
    assert told.value.retry_after == timedelta(hours=1)


def test_a_server_that_says_nothing_is_not_waited_for(api: ApiServer, lake: Lake) -> None:
    import threading

    let_go = threading.Event()
    api.routes["/link"] = lambda _: (let_go.wait(30), (200, {}, b"[]"))[1]
    with pytest.raises(TemporaryError, match="ReadTimeout"):
        lake.ingest(source(api, silence=timedelta(seconds=0.05)))
    let_go.set()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {}, b"<html>"), "no JSON"),
        ((200, {}, b'{"a": 1}'), "no list at 'its top'; the body has a"),
        ((401, {}, b""), "401 Unauthorized: is a header missing"),
        ((404, {}, b""), "404"),
        ((400, {}, b""), "400"),
        ((302, {"Location": "http://localhost:1/x"}, b""), "another host, localhost:1"),
        ((302, {"Location": "//u:p@127.0.0.1/x"}, b""), "another host"),
        ((200, {"Link": '<http://localhost:1/y>; rel="next"'}, b'[{"id": 1}]'), "another host, localhost:1"),
        ((200, {"Link": '</link>; rel="next"'}, b'[{"id": 1}]'), "in a circle"),
    ],
)
def test_what_is_no_answer_is_said(answer: Any, said: str, api: ApiServer, lake: Lake) -> None:
    api.instead = [answer]
    with pytest.raises(PermanentError, match=said):
        lake.ingest(source(api))
    assert not lake.rows()


def test_a_redirect_on_the_same_host_is_followed(api: ApiServer, lake: Lake) -> None:
    api.instead = [(307, {"Location": "/link?from=0"}, b"")]
    assert lake.ingest(source(api)).rows_written == 5


def test_a_secret_is_sent_and_is_nowhere_else(
    api: ApiServer, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("API_KEY", "s3cr3t-key")
    (tmp_path / "token").write_text("s3cr3t-token\n")
    caplog.set_level(logging.INFO)
    headers = (f"Authorization: Bearer ${{file:{tmp_path / 'token'}}}",)
    http = HttpReading(items="data.items", paging="next=paging.next", headers=headers)
    said: list[str] = []
    found = lake.ingest(f"{api.url}/next?api_key=${{API_KEY}}", Reading(http=http), progress=said.append)
    assert found.rows_written == 5
    assert all("api_key=s3cr3t-key" in each for each in api.asked)
    assert {each["Authorization"] for each in api.headers} == {"Bearer s3cr3t-token"}
    monkeypatch.setenv("API_KEY", "s3cr3t-other")
    assert lake.ingest(f"{api.url}/next?api_key=${{API_KEY}}", Reading(http=http)).rows_written == 0
    api.instead = [(400, {}, b"s3cr3t")]
    with pytest.raises(PermanentError) as failed:
        lake.ingest(f"{api.url}/next?api_key=s3cr3t-plain", Reading(http=http))
    api.instead = [(200, {}, b'["s3cr3t"')]
    with pytest.raises(PermanentError) as garbled:
        lake.ingest(f"{api.url}/next?api_key=s3cr3t-plain", Reading(http=http))
    for text in (lake.text(), str(found), *said, str(failed.value), str(garbled.value), caplog.text):
        assert "s3cr3t" not in text


def test_apis_that_differ_in_what_is_called_like_a_secret_are_two(api: ApiServer, lake: Lake) -> None:
    http = Reading(http=HttpReading(paging="link"))
    names = set()
    for place in ("eu-7f3", "us-9c1"):
        found = lake.ingest(f"{api.url}/link?partition_key={place}", http)
        assert found.rows_written == 5
        names.add(found.source)
    assert len(names) == 2
    assert all(place not in text for place in ("eu-7f3", "us-9c1") for text in (*names, lake.text()))
    assert any("partition_key=eu-7f3" in each for each in api.asked)
    assert lake.ingest(f"{api.url}/link?partition_key=eu-7f3", http).rows_written == 0


@pytest.mark.parametrize("name", ["key", "api_key", "apikey", "X-Api-Key", "access_token", "token", "sig", "password"])
def test_another_value_of_what_proves_who_asks_is_no_other_api(name: str) -> None:
    one, two = (open_source(f"http://h/x?{name}={value}", Reading()).name for value in ("a7f3", "b9c1"))
    assert one == two == "http:http://h/x"


@pytest.mark.parametrize(
    ("url", "http", "said"),
    [
        ("http://u:p4ss@h/x", HttpReading(), "--header"),
        ("http:///x", HttpReading(), "no host"),
        ("http://h/x", HttpReading(paging="pages"), "'pages' is no way of paging: link, next=PATH"),
        ("http://h/x", HttpReading(headers=("X-Token: ${NOWHERE_AT_ALL}",)), "no variable NOWHERE_AT_ALL"),
        ("http://h/x", HttpReading(headers=("${file:/nowhere}",)), "'Name: value'"),
        ("http://h/x", HttpReading(headers=("X: ${file:/nowhere}",)), "/nowhere cannot be read"),
    ],
)
def test_what_is_no_api_is_said(url: str, http: HttpReading, said: str) -> None:
    with pytest.raises(PermanentError, match=said) as told:
        open_source(url, Reading(http=http))
    assert "p4ss" not in str(told.value)
