"""Those who send slowly, and have shown nothing yet, hold nobody else up."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from api.problems import Overloaded
from api.web.strangers import Strangers
from tests.e2e.bodies import alert, group, signed
from tests.e2e.running import Platform, until

BODY = json.dumps({"name": "nightly check failed", "starts_at": "2026-03-02T08:00:00Z", "model": "flights"}).encode()


@contextlib.asynccontextmanager
async def _slow(platform: Platform, path: str, headers: dict[str, str], many: int) -> AsyncIterator[None]:
    """Connections that promise a body and send one byte of it."""
    where = urlsplit(platform.url)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n{lines}\r\n" + "{"
    writers = []
    for _ in range(many):
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(head.encode())
        await writer.drain()
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.close()


def _held(platform: Platform) -> int:
    return len(platform.app.state.local.strangers)


@pytest.mark.parametrize("path", ["/v1/alerts/generic", "/v1/alerts/cloudevents"])
async def test_64_strangers_that_send_slowly_shut_nobody_out(platform: Platform, path: str) -> None:
    stamp = int(platform.clock.now().timestamp())
    async with _slow(platform, path, signed("not the key", BODY, stamp), 64):

        async def full() -> bool:
            return _held(platform) == 32

        await until(full)
        assert (await platform.deliver(group(alert()))).status_code == 202
        good = signed("another shared key", BODY)
        assert (await platform.anybody.post("/v1/alerts/generic", content=BODY, headers=good)).status_code == 202

    async def gone() -> bool:
        return _held(platform) == 0

    await until(gone)


async def test_who_shows_credentials_in_a_header_that_are_wrong_is_not_read(platform: Platform) -> None:
    async with _slow(platform, "/v1/alerts/alertmanager", {"Authorization": "Bearer wrong"}, 64):
        assert (await platform.deliver(group(alert()))).status_code == 202
        assert _held(platform) == 0


async def test_a_body_that_does_not_come_gives_its_place_back() -> None:
    strangers = Strangers(1)
    with pytest.raises(Overloaded):
        async with strangers.place(0.01):
            await asyncio.Event().wait()
    assert len(strangers) == 0


async def test_the_one_that_has_been_sending_longest_gives_way() -> None:
    strangers, ended = Strangers(2), []

    async def send(name: str) -> None:
        try:
            async with strangers.place(60):
                await asyncio.Event().wait()
        except Overloaded:
            ended.append(name)

    async with asyncio.TaskGroup() as group_:
        tasks = []
        for name in ("first", "second", "third", "fourth"):
            tasks.append(group_.create_task(send(name)))
            await asyncio.sleep(0)

        async def two_gave_way() -> bool:
            return len(ended) == 2

        await until(two_gave_way)
        for task in tasks[2:]:
            task.cancel()
    assert ended == ["first", "second"]
