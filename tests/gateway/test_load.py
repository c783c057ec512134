"""What happens when there is more to do than can be done, and when a model fails."""

import asyncio
import threading
import time
from typing import Any

import pytest

from gateway.batching import Batcher, BatchLimits
from gateway.compute import BusyMeter, Workers
from gateway.features import Rows
from gateway.refusals import Failed, Overloaded
from tests.gateway.conftest import Start
from tests.gateway.model_files import REGRESSION
from tests.gateway.running import Gateway, predictions
from tools.inference.costs import Cost
from tools.inference.engines import Engine

SLOW = Cost(1, 1.0, 2, 1.0)
"""Expected to take a second: computed by a worker, not on the loop."""
QUICK = Cost(1, 0.0, 2, 0.0)
LIMITS = BatchLimits(rows=4, queued_rows=8)


def rows(*values: float) -> Rows:
    return Rows(len(values), list(values), [], [{} for _ in values])


def batcher(engine: Engine, workers: Workers, cost: Cost = SLOW, limits: BatchLimits = LIMITS) -> Batcher:
    return Batcher(engine, REGRESSION, workers, limits, cost, lambda _: None)


class Gate:
    """An engine that computes when it is let; remembers its batches and how many ran at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[list[float]] = []
        self.running = self.most_running = 0
        self._lock = threading.Lock()

    def __call__(self, *tensors: Any) -> Any:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.batches.append(tensors[0][:, 0].tolist())
        assert self.open.wait(10)
        with self._lock:
            self.running -= 1
        return tensors[0][:, 0]


async def turns() -> None:
    """Long enough for the loop to hand out what there is to do."""
    await asyncio.sleep(0.02)


async def test_what_arrives_while_the_worker_is_busy_is_one_batch() -> None:
    gate, workers = Gate(), Workers(1, 4)
    queue = batcher(gate, workers)
    answers = [asyncio.create_task(queue.infer(rows(0.0)))]
    await turns()
    answers += [asyncio.create_task(queue.infer(rows(float(n)))) for n in range(1, 7)]
    await turns()
    gate.open.set()
    assert [answer.scores for answer in await asyncio.gather(*answers)] == [[float(n)] for n in range(7)]
    assert gate.batches == [[0.0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0]]
    workers.close()


async def test_a_full_queue_refuses_at_once() -> None:
    gate, workers = Gate(), Workers(1, 4)
    queue = batcher(gate, workers)
    held = [asyncio.create_task(queue.infer(rows(0.0)))]
    await turns()
    held += [asyncio.create_task(queue.infer(rows(1.0, 2.0))) for _ in range(4)]
    await turns()
    with pytest.raises(Overloaded, match="8 rows"):
        await queue.infer(rows(9.0))
    gate.open.set()
    assert len(await asyncio.gather(*held)) == 5
    assert (await queue.infer(rows(9.0))).scores == [9.0]
    workers.close()


async def test_more_workers_compute_more_batches_at_once() -> None:
    gate, workers = Gate(), Workers(1, 4)
    queue = batcher(gate, workers, limits=BatchLimits(rows=4, queued_rows=100))
    first = [asyncio.create_task(queue.infer(rows(1.0, 2.0, 3.0, 4.0))) for _ in range(2)]
    await turns()
    assert gate.running == 1
    workers.resize(3)
    first += [asyncio.create_task(queue.infer(rows(1.0, 2.0, 3.0, 4.0))) for _ in range(2)]
    await turns()
    assert gate.running == 3
    workers.resize(1)
    gate.open.set()
    await asyncio.gather(*first)
    gate.most_running = 0
    await asyncio.gather(*(queue.infer(rows(1.0, 2.0, 3.0, 4.0)) for _ in range(2)))
    assert gate.most_running == 1
    workers.close()


async def test_a_small_batch_is_computed_on_the_loop_and_a_large_one_is_not() -> None:
    seen: list[str] = []

    def engine(*tensors: Any) -> Any:
        seen.append(threading.current_thread().name)
        return tensors[0][:, 0]

    workers = Workers(1, 4)
    await batcher(engine, workers, QUICK).infer(rows(1.0))
    await batcher(engine, workers, SLOW).infer(rows(1.0))
    assert seen == [threading.main_thread().name, "gateway-worker"]
    workers.close()


async def test_a_model_that_turns_out_slow_leaves_the_loop() -> None:
    cost = Cost(1, 0.0002, 2, 0.0003)
    assert cost.expected_s(1) < 0.0005
    for _ in range(50):
        cost.observe(1, 0.002)
    assert cost.expected_s(1) > 0.0005


async def test_an_engine_that_raises_fails_its_batch_and_no_other() -> None:
    def engine(*tensors: Any) -> Any:
        if tensors[0][0, 0] < 0:
            raise ArithmeticError("below zero")
        return tensors[0][:, 0]

    workers = Workers(1, 4)
    for cost in (QUICK, SLOW):
        queue = batcher(engine, workers, cost)
        with pytest.raises(Failed, match="below zero"):
            await queue.infer(rows(-1.0))
        assert (await queue.infer(rows(1.0))).scores == [1.0]
    workers.close()


def test_utilisation_is_of_the_last_minute() -> None:
    meter = BusyMeter()
    meter.add(100.5, 102.25)
    assert meter.busy_s(103.0) == pytest.approx(1.75)
    assert meter.busy_s(160.9) == pytest.approx(1.25)
    meter.add(161.0, 161.5)
    assert meter.busy_s(161.6) == pytest.approx(0.75)
    assert meter.busy_s(220.9) == pytest.approx(0.5)


async def test_a_failed_prediction_is_answered_counted_and_logged(start: Start) -> None:
    async with start() as gateway:
        broken = await gateway.infer([1.0], wind=[5000.0], parameters={"entity_id": "me"})
        empty = await gateway.infer([None])
        await gateway.infer([1.0])
        assert (broken.status_code, empty.status_code) == (500, 500)
        assert "index out of range" in broken.json()["error"]
        assert "gave nan" in empty.json()["error"]
        assert await gateway.metric("errors_total", model="late", kind="failed") == 2
        home = gateway.home
    logged = predictions(home)
    assert [bool(record.error) for record in logged] == [True, True, False]
    assert logged[0].entity == "me"
    assert logged[0].features == {"distance": 1.0, "wind": 5000.0, "carrier": "AA"}
    assert (logged[0].prediction, logged[0].score) == (None, None)


async def test_a_log_without_room_refuses_before_anything_is_computed(start: Start) -> None:
    async with start(log_records=4, log_flush_s=0.05) as gateway:
        answers = [await gateway.infer([1.0, 2.0]) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert answers[2].headers["retry-after"] == "1"
        assert await gateway.metric("errors_total", model="late", kind="log_full") == 1
        home = gateway.home
    assert len(predictions(home)) == 4


async def test_every_answer_is_in_the_log_as_it_was_given(start: Start) -> None:
    async with start() as gateway:
        answers = await asyncio.gather(*(gateway.infer([float(n), -1.0], parameters={"entity_id": f"e{n}"}) for n in range(40)))
        home = gateway.home
    by_id = {record.id: record for record in predictions(home)}
    assert len(by_id) == 80
    for n, answer in enumerate(answers):
        said = answer.json()
        for row, prediction in enumerate(said["parameters"]["prediction_ids"]):
            record = by_id[prediction]
            assert (record.model, record.version, record.entity) == ("late", "1", f"e{n}")
            assert record.prediction == said["outputs"][0]["data"][row]
            assert record.score == said["outputs"][1]["data"][row]
            assert record.features["distance"] == [float(n), -1.0][row]
            assert 0 < record.latency_us < 10_000_000
            assert abs(record.at / 1e6 - time.time()) < 60


async def test_metrics_tell_load_routes_and_the_log(gateway: Gateway) -> None:
    await asyncio.gather(*(gateway.infer([1.0, 2.0]) for _ in range(5)))
    await gateway.client.post("/v2/models/late/infer", content=b"{}")
    await gateway.client.post("/v2/models/nobody/infer", content=b"{}")
    labels = {"model": "late", "version": "1"}
    assert await gateway.metric("request_duration_seconds_count", **labels) == 5
    assert await gateway.metric("predictions_total", **labels) == 10
    assert await gateway.metric("batch_rows_sum", **labels) == 10
    assert await gateway.metric("queue_rows", **labels) == 0
    assert await gateway.metric("route_weight", **labels) == 100
    assert await gateway.metric("route_generation", model="late") == 1
    assert await gateway.metric("version_ready", **labels) == 1
    assert await gateway.metric("errors_total", model="late", kind="invalid") == 1
    assert await gateway.metric("errors_total", model="", kind="not_found") == 1
    assert await gateway.metric("log_capacity", kind="predictions") == 50_000
    assert await gateway.metric("log_write_errors_total", kind="predictions") == 0
