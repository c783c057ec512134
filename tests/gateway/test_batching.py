"""Batches that are told to wait for more rows: how they fill, when they go, and that it is remembered."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.batch_tally import BatchTally
from gateway.batching import BatchLimits
from gateway.compute import Workers
from tests.gateway.conftest import Start
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import write_narrow_pt2, write_pt2
from tests.gateway.running import Gateway, opened, until
from tests.gateway.test_load import Gate, batcher, rows, turns

LONG_S = 30.0
"""Longer than any test waits: what is answered has not waited for it."""


def patient(wait_s: float = LONG_S, size: int = 4) -> BatchLimits:
    return BatchLimits(rows=size, queued_rows=100, wait_s=wait_s)


async def test_a_batch_waits_until_it_is_full_while_workers_are_free() -> None:
    gate, workers = Gate(), Workers(2, 4)
    gate.open.set()
    queue = batcher(gate, workers, limits=patient())
    answers = [asyncio.create_task(queue.infer(rows(float(n)))) for n in range(3)]
    await turns()
    assert gate.batches == []
    answers.append(asyncio.create_task(queue.infer(rows(3.0))))
    assert [answer.scores for answer in await asyncio.gather(*answers)] == [[0.0], [1.0], [2.0], [3.0]]
    assert gate.batches == [[0.0, 1.0, 2.0, 3.0]]
    workers.close()


async def test_what_a_full_batch_leaves_behind_waits_on() -> None:
    gate, workers = Gate(), Workers(1, 4)
    gate.open.set()
    queue = batcher(gate, workers, limits=patient())
    answers = [asyncio.create_task(queue.infer(rows(float(n)))) for n in range(6)]
    await asyncio.gather(*answers[:4])
    await turns()
    assert gate.batches == [[0.0, 1.0, 2.0, 3.0]]
    assert queue.queued_rows == 2
    queue.limit(patient(wait_s=0.0))
    await asyncio.gather(*answers)
    assert gate.batches[1:] == [[4.0, 5.0]]
    workers.close()


async def test_a_batch_that_does_not_fill_goes_when_its_first_request_has_waited() -> None:
    gate, workers = Gate(), Workers(1, 4)
    gate.open.set()
    queue = batcher(gate, workers, limits=patient(wait_s=0.05))
    started = asyncio.get_running_loop().time()
    answers = [asyncio.create_task(queue.infer(rows(float(n)))) for n in range(2)]
    await asyncio.gather(*answers)
    assert asyncio.get_running_loop().time() - started >= 0.045
    assert gate.batches == [[0.0, 1.0]]
    workers.close()


async def test_a_request_larger_than_a_batch_waits_for_nobody() -> None:
    gate, workers = Gate(), Workers(1, 4)
    gate.open.set()
    queue = batcher(gate, workers, limits=patient())
    assert len((await queue.infer(rows(*map(float, range(7))))).scores) == 7
    workers.close()


async def test_many_requests_under_a_short_wait_are_all_answered_once() -> None:
    gate, workers = Gate(), Workers(2, 4)
    gate.open.set()
    queue = batcher(gate, workers, limits=patient(wait_s=0.002, size=8))

    async def client(number: int) -> list[float]:
        found = []
        for turn in range(20):
            found += (await queue.infer(rows(100.0 * number + turn))).scores
        return found

    answers = await asyncio.gather(*(client(number) for number in range(12)))
    assert answers == [[100.0 * number + turn for turn in range(20)] for number in range(12)]
    assert queue.queued_rows == 0
    assert sum(map(len, gate.batches)) == 240
    workers.close()


def test_the_tally_adds_up_what_batches_took() -> None:
    tally = BatchTally()
    tally.add(1, 2, 0.5)
    tally.add(3, 4, 1.0)
    total = tally.total("1")
    assert (total.count, total.requests, total.rows, total.rows_squared) == (2, 4, 6, 20)
    assert (total.cpu_s, total.cpu_squared, total.rows_cpu) == (1.5, 1.25, 5.0)


async def change(gateway: Gateway, expected: int, key: str, **wish: Any) -> httpx.Response:
    body = {"rows": 16, "wait_ms": 5, **wish, "expected_generation": expected, "key": key}
    return await gateway.client.put("/admin/batching/late", json=body)


async def test_batching_is_changed_while_it_serves_and_survives_a_restart(start: Start) -> None:
    async with start() as gateway:
        before = (await gateway.client.get("/admin/batching/late")).json()
        assert before == {"generation": 0, "rows": 64, "wait_ms": 0.0, "most_rows": 512, "longest_wait_ms": 100.0}
        made = (await change(gateway, 0, "a")).json()
        assert made == {**before, "generation": 1, "rows": 16, "wait_ms": 5.0}
        assert (await gateway.infer([1.0])).status_code == 200
        assert await gateway.metric("batch_limit_rows", model="late") == 16
        assert await gateway.metric("batch_wait_seconds", model="late") == 0.005
    async with start() as gateway:
        assert (await gateway.client.get("/admin/batching/late")).json() == made
        # The key has acted, also before the restart, and whatever the generation is by now.
        assert (await change(gateway, 0, "a")).json() == made
        assert (await change(gateway, 0, "b")).status_code == 409
        # A version that comes later waits as the model does.
        await gateway.route({"2": 100}, generation=1)
        requests = [asyncio.create_task(gateway.infer([float(n)])) for n in range(8)]
        assert {answer.status_code for answer in await asyncio.gather(*requests)} == {200}
        assert await gateway.metric("batch_rows_count", model="late", version="2") <= 2


@pytest.mark.parametrize("wish", [{"rows": 0}, {"rows": 513}, {"wait_ms": -1}, {"wait_ms": 101}, {"rows": "many"}])
async def test_a_wish_beyond_the_limits_is_refused_by_its_field(gateway: Gateway, wish: dict[str, Any]) -> None:
    answer = await change(gateway, 0, "a", **wish)
    assert (answer.status_code, next(iter(wish)) in answer.json()["error"]) == (400, True)
    assert (await gateway.client.get("/admin/batching/late")).json()["generation"] == 0


async def test_batching_is_an_admin_call(start: Start) -> None:
    async with start(token="secret") as gateway:
        assert (await gateway.client.get("/admin/batching/late")).status_code == 401
        assert (await change(gateway, 0, "a")).status_code == 401
        assert (
            await gateway.client.delete("/admin/batching/late", headers={"authorization": "Bearer secret"})
        ).status_code == 405


async def test_what_batches_take_is_measured_by_version(gateway: Gateway) -> None:
    for size in (1, 2, 8):
        assert (await gateway.infer([float(n) for n in range(size)])).status_code == 200
    (found,) = (await gateway.client.get("/admin/batches/late")).json()["versions"]
    assert (found["version"], found["count"], found["requests"], found["rows"], found["rows_squared"]) == ("1", 3, 3, 11, 69)
    assert 0 < found["cpu_s"] < 1
    assert (await gateway.client.get("/admin/batches/nobody")).status_code == 404


async def test_a_version_is_never_given_more_rows_than_it_can_compute(tmp_path: Path) -> None:
    """Or every batch that fills would fail."""
    write_narrow_pt2(tmp_path / "registry" / "late" / "1")
    write_pt2(tmp_path / "registry" / "late" / "2")
    async with opened(FolderRegistry(tmp_path / "registry"), tmp_path / "home") as gateway:
        assert (await gateway.route({"1": 100}, generation=0)).status_code == 200
        refused = await change(gateway, 0, "a", rows=65)
        assert (refused.status_code, "65 rows at once" in refused.json()["error"]) == (422, True)
        assert (await gateway.client.get("/admin/batching/late")).json()["generation"] == 0
        assert (await gateway.route({"2": 100}, generation=1)).status_code == 200
        assert (await change(gateway, 0, "b", rows=128, wait_ms=50)).status_code == 200
        # And back, to the version that cannot: it computes as many as it can, rather than nothing.
        assert (await gateway.route({"1": 100}, generation=2)).status_code == 200
        answers = await asyncio.gather(*(gateway.infer([float(n)] * 10) for n in range(10)))
        assert {answer.status_code for answer in answers} == {200}
    async with opened(FolderRegistry(tmp_path / "registry"), tmp_path / "home") as gateway:
        await gateway.eventually_ready()
        answers = await asyncio.gather(*(gateway.infer([float(n)] * 10) for n in range(10)))
        assert {answer.status_code for answer in answers} == {200}


async def test_waiting_requests_are_answered_on_the_way_out(start: Start) -> None:
    async with start() as gateway:
        await change(gateway, 0, "a", rows=500, wait_ms=100)
        waiting = asyncio.create_task(gateway.infer([1.0]))

        async def taken() -> bool:
            return await gateway.metric("queue_rows", model="late", version="1") == 1

        await until(taken)
        await gateway.app._fleet.close()
        assert (await waiting).status_code == 200
