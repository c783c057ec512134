"""The gateway as a process: how it ends, what survives when it is killed, and that loading does not hold requests up."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gateway.segments import complete
from tests.gateway.model_files import encoded, write_onnx, write_pt2
from tests.gateway.running import predictions

LIMIT_S = 60.0
_STARTS = itertools.count()


class Process:
    def __init__(self, root: Path, home: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "tests.gateway.process", "--tracking-uri", str(root), "--home", str(home)]
        self._log = home.parent / f"{next(_STARTS)}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--model", "late", "--port", "0", *flags], stderr=log)

    @property
    def url(self) -> str:
        found = re.search(r'"port": (\d+), "event": "gateway.listening"', self.log)
        return f"http://127.0.0.1:{found[1]}" if found else ""

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_ready(self) -> None:
        wait(lambda: self.url or self.process.poll() is not None)
        assert self.url, self.log
        wait(lambda: httpx.get(f"{self.url}/v2/health/ready").status_code == 200)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def wait(holds: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, "the state was not reached"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def model_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX first, so that a process is up in two seconds; the other format comes in while it runs."""
    root = tmp_path_factory.mktemp("registry")
    write_onnx(root / "late" / "1")
    write_pt2(root / "late" / "2")
    write_pt2(root / "late" / "3")
    (root / "late" / "champion").write_text("1")
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def running(root: Path, home: Path, *flags: str) -> Iterator[Process]:
    home.mkdir(exist_ok=True)
    process = Process(root, home, *flags)
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


@dataclass
class Customers:
    """Keep-alive clients that ask until told to stop, by the test or by the gateway."""

    url: str
    count: int = 4
    answered: list[str] = field(default_factory=list)
    """Prediction ids."""
    failed: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    def __enter__(self) -> "Customers":
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(self.count)]
        for thread in self._threads:
            thread.start()
        wait(lambda: len(self.answered) >= 20 * self.count or self.failed)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        body = encoded([1.0])
        with httpx.Client(base_url=self.url, timeout=10) as client:
            while not self._stop.is_set():
                started = time.perf_counter()
                try:
                    response = client.post("/v2/models/late/infer", content=body)
                except httpx.TransportError as error:
                    self.failed.append(repr(error))
                    return
                self.latencies_s.append(time.perf_counter() - started)
                if response.status_code == 200:
                    self.answered.append(response.json()["parameters"]["prediction_ids"][0])
                else:
                    self.failed.append(response.text)
                if response.headers.get("connection") == "close":
                    return  # told to go elsewhere


def test_sigterm_under_load_fails_no_request_and_completes_the_log(model_root: Path, home: Path) -> None:
    with running(model_root, home, "--drain-s", "2") as gateway, Customers(gateway.url) as customers:
        gateway.process.send_signal(signal.SIGTERM)
        wait(lambda: httpx.get(f"{gateway.url}/v2/health/ready").status_code == 503)
        assert gateway.process.wait(LIMIT_S) == 0
    assert customers.failed == []
    assert {record.id for record in predictions(home)} == set(customers.answered)
    assert list((home / "segments").glob("*.open")) == []


def test_after_a_kill_every_flushed_line_survives(model_root: Path, home: Path) -> None:
    with running(model_root, home, "--log-flush-s", "0.001") as gateway:
        with Customers(gateway.url) as customers:
            pass
        pending = 'oppen_gateway_log_pending{kind="predictions"} 0.0'
        wait(lambda: pending in httpx.get(f"{gateway.url}/metrics").text)
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        (left,) = (home / "segments").iterdir()
        assert left.suffix == ".open"
        with running(model_root, home) as again:
            assert httpx.get(f"{again.url}/admin/routes/late").json()["generation"] == 1
            assert {record.id for record in predictions(home)} == set(customers.answered)


def test_a_kill_in_mid_write_leaves_whole_lines(model_root: Path, home: Path) -> None:
    flags = ("--log-flush-s", "0.001", "--segment-bytes", "4096")
    with running(model_root, home, *flags) as gateway, Customers(gateway.url) as customers:
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
    for leftover in (home / "segments").glob("*.open"):
        assert complete(leftover) <= 1
    written = {record.id for record in predictions(home)}
    lost = set(customers.answered) - written
    # Only what was answered last, and had not left the memory; ids begin with their time.
    assert not lost or min(lost)[:12] >= max(written)[:12]
    # What was computed while its client's connection died with the process.
    assert len(written - set(customers.answered)) <= 2 * customers.count


@pytest.mark.slow
def test_loading_a_version_holds_no_request_up(model_root: Path, home: Path) -> None:
    with running(model_root, home) as gateway, Customers(gateway.url) as customers:
        before = len(customers.latencies_s)
        for generation, version in enumerate(("2", "3"), start=1):
            change = {"weights": {version: 100}, "expected_generation": generation, "key": version}
            response = httpx.put(f"{gateway.url}/admin/routes/late", json=change, timeout=30)
            assert response.status_code == 200, response.text
        during = customers.latencies_s[before:]
    assert customers.failed == []
    assert len(during) > 20
    # The first pt2 brings torch itself in, seconds of work; a quarter of a second was seen on two busy cores.
    assert max(during) < 1.5


def test_a_second_gateway_on_the_same_home_does_not_start(model_root: Path, home: Path) -> None:
    with running(model_root, home):
        second = Process(model_root, home)
        assert second.process.wait(LIMIT_S) == 1
        assert "another gateway is at work" in second.log


def test_wrong_settings_are_explained_with_exit_code_2(home: Path) -> None:
    command = [sys.executable, "-m", "gateway", "--host", "0.0.0.0", "--home", str(home)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPPEN_")}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False)
    assert ended.returncode == 2
    assert "OPPEN_GATEWAY_TOKEN" in json.loads(ended.stderr.splitlines()[-1])["reason"]
    assert ended.stdout == ""
