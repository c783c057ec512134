"""`oppen serve` as a process: what it says when it answers, how it ends, and what it says when it cannot start."""

import asyncio
import json
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from simulations.processes import free_port
from tests.processes import child

LIMIT_S = 60.0


@asynccontextmanager
async def service(home: Path, *flags: str, **settings: str) -> AsyncIterator[Process]:
    environment = {"OPPEN_HOME": str(home), **settings}
    with (home.parent / "service.log").open("wb") as log:
        async with child("api.cli", "serve", *flags, limit_s=LIMIT_S, environment=environment, stderr=log) as started:
            yield started


def said(home: Path) -> str:
    return (home.parent / "service.log").read_text()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_and_ends_in_order_when_told_to(tmp_path: Path, told: signal.Signals) -> None:
    home, port = tmp_path / "home", free_port()
    async with service(home, "--json", OPPEN_PORT=str(port)) as process:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["listening"]
        assert url == f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/healthz")).status_code == 200
        process.send_signal(told)
        assert await process.wait() == 0
    assert "Traceback" not in said(home)


async def test_told_to_end_while_it_opens_it_ends_in_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with service(home, OPPEN_PORT=str(free_port())) as process:
        while not (home / "oppen.db").exists():
            await asyncio.sleep(0.01)
        process.terminate()
        assert await process.wait() == 0
    assert "Traceback" not in said(home)


async def test_a_port_that_is_taken_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with service(home, OPPEN_PORT=str(port)) as process:
            assert await process.wait() == 1
    told = json.loads(said(home).splitlines()[-1])
    assert (told["event"], told["setting"]) == ("address.unusable", "OPPEN_PORT")
    assert str(port) in told["reason"]
    assert not home.exists()


async def test_a_host_that_is_not_this_machine_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with service(home, OPPEN_HOST="192.0.2.1") as process:
        assert await process.wait() == 1
    told = json.loads(said(home).splitlines()[-1])
    assert (told["setting"], "192.0.2.1" in told["reason"]) == ("OPPEN_HOST", True)


async def test_a_host_may_be_a_name(tmp_path: Path) -> None:
    port = free_port()
    async with service(tmp_path / "home", OPPEN_HOST="localhost", OPPEN_PORT=str(port)) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == f"listening on http://localhost:{port}\n".encode()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://localhost:{port}/healthz")).status_code == 200
