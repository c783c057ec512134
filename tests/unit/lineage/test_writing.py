"""Files that several processes append to, and endpoints that are away: nothing is lost, and nobody is failed."""

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lineage import stories
from tools.errors import PermanentError, TemporaryError
from tools.lineage.file import FileLineage, gathered
from tools.lineage.http import HttpLineage
from tools.lineage.lines import append, events
from tools.lineage.spool import Away, Spool


def _write(path: str, name: str, count: int) -> None:
    for number in range(count):
        append(Path(path), {"name": name, "number": number, "filler": "x" * (number * 97 % 9_000)})


def test_lines_of_several_processes_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "lineage.jsonl"
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as processes:
        for written in [processes.submit(_write, str(path), name, 100) for name in "abc"]:
            written.result(60)
    found = [(event["name"], event["number"]) for event, _ in events(path)]
    assert sorted(found) == [(name, number) for name in "abc" for number in range(100)]
    assert path.stat().st_mode & 0o077 == 0


def test_a_line_that_a_crash_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lineage.jsonl"
    lineage = FileLineage(path)
    first, second, *_ = stories.story()
    lineage.emit(first)
    with path.open("ab") as file:
        file.write(b'{"eventType": "COMPL')
    assert len(list(events(path))) == 1
    lineage.emit(second)
    assert [event["eventType"] for event, _ in events(path)] == ["START", "COMPLETE"]
    with path.open("ab") as file:
        file.write(b'"no object"\n{"no": "event"}\n')
    assert len(gathered([path]).nodes) == 5


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="cannot be kept in"):
        FileLineage(tmp_path / "no" / "such" / "lineage.jsonl").emit(stories.story()[0])


class Endpoint:
    """Takes events over a real socket; a test says how it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.requests = 0

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[str]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests += 1
                endpoint.keys.add(self.headers["Authorization"])
                if endpoint.status == 200:
                    endpoint.taken.append(body)
                answer = json.dumps({"detail": "as the test says"}).encode()
                self.send_response(endpoint.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


@contextmanager
def opened(url: str, spool: Path, key: str = "") -> Iterator[HttpLineage]:
    endpoint = HttpLineage(url, key, spool)
    try:
        yield endpoint
    finally:
        endpoint.close()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


def test_events_go_to_the_endpoint_with_the_key(spool: Path) -> None:
    endpoint = Endpoint()
    with endpoint.listening() as url, opened(url, spool, "oppen_key") as writer:
        for event in stories.story():
            writer.emit(event)
        assert writer.destination == f"{url}/v1/lineage"
    assert len(endpoint.taken) == 10
    assert endpoint.keys == {"Bearer oppen_key"}
    assert not spool.exists()


def test_what_an_endpoint_that_is_away_did_not_take_is_sent_by_who_comes_next(spool: Path) -> None:
    first, *others = stories.story()
    endpoint = Endpoint()
    with endpoint.listening() as url:
        pass
    with opened(url, spool) as writer:
        for event in others:
            writer.emit(event)
        with pytest.raises(TemporaryError, match="what waits is in"):
            writer.send()
    assert len(list(events(spool.with_suffix(".sending.jsonl")))) == len(others)
    with endpoint.listening(int(url.rpartition(":")[2])), opened(url, spool) as writer:
        writer.emit(first)
    assert len(endpoint.taken) == len(others) + 1
    assert Spool(spool).empty


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_may_be_put_right_waits(spool: Path, status: int) -> None:
    endpoint = Endpoint()
    with endpoint.listening() as url:
        endpoint.status = status
        with opened(url, spool) as writer:
            for event in stories.story():
                writer.emit(event)
        # It is not asked again by this process for a while, so that a job does not wait for it each time.
        assert endpoint.requests == (2 if status >= 500 else 1)
        endpoint.status = 200
        with opened(url, spool) as writer:
            assert writer.send() == 10
    assert len(endpoint.taken) == 10


def test_what_is_refused_is_kept_apart_with_the_reason_and_holds_up_no_other(spool: Path) -> None:
    endpoint = Endpoint()
    first, second, *_ = stories.story()
    with endpoint.listening() as url, opened(url, spool) as writer:
        endpoint.status = 422
        writer.emit(first)
        endpoint.status = 200
        writer.emit(second)
    ((kept, _),) = events(spool.with_suffix(".refused.jsonl"))
    assert kept["reason"] == "422 as the test says"
    assert kept["event"]["eventType"] == "START"
    assert len(endpoint.taken) == 1
    assert Spool(spool).empty


def test_a_flush_that_breaks_off_keeps_what_was_not_taken(spool: Path) -> None:
    waiting = Spool(spool)
    for number in range(5):
        waiting.keep({"number": number})
    taken: list[int] = []

    def take_two(event: Any) -> None:
        if len(taken) == 2:
            raise Away("no more")
        taken.append(event["number"])
        if len(taken) == 2:
            # Somebody else has something to tell meanwhile.
            waiting.keep({"number": 5})

    with pytest.raises(Away):
        waiting.flush(take_two, 10)
    assert taken == [0, 1]
    assert waiting.flush(lambda event: taken.append(event["number"]), 10) == 4
    assert taken == [0, 1, 2, 3, 4, 5]
    assert waiting.empty


def _keep(path: str, name: str, count: int) -> None:
    for number in range(count):
        Spool(Path(path)).keep({"name": name, "number": number})


def test_events_that_come_while_others_are_sent_are_not_lost(spool: Path) -> None:
    taken: list[tuple[str, int]] = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        writing = [processes.submit(_keep, str(spool), name, 150) for name in "ab"]
        while not all(each.done() for each in writing):
            Spool(spool).flush(lambda event: taken.append((event["name"], event["number"])), 10)
            os.sched_yield()
        for each in writing:
            each.result()
    Spool(spool).flush(lambda event: taken.append((event["name"], event["number"])), 10)
    assert sorted(taken) == [(name, number) for name in "ab" for number in range(150)]


def test_an_address_with_a_password_is_not_shown(spool: Path) -> None:
    with opened("http://ada:hunter2@127.0.0.1:9/api/v1/lineage", spool) as writer:
        assert writer.destination == "http://127.0.0.1:9/api/v1/lineage"
    with pytest.raises(PermanentError) as refused:
        HttpLineage("ftp://ada:hunter2@host", "", spool)
    assert "hunter2" not in str(refused.value)
