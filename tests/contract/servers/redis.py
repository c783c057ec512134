"""Redis: the server that OPPEN_TEST_REDIS names, or one of our own on loopback where its program is installed."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis


def available() -> bool:
    return bool(os.environ.get("OPPEN_TEST_REDIS")) or shutil.which("redis-server") is not None


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Its URL; empty at the start."""
    if url := os.environ.get("OPPEN_TEST_REDIS"):
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        yield url
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no", "requirepass": "12345678"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(["redis-server", *arguments], stdout=log, stderr=log)
        try:
            # A password of digits: Feast would take it for a number.
            url = f"redis://:12345678@127.0.0.1:{port}/1"
            _wait_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
    raise AssertionError("redis-server did not get ready")
