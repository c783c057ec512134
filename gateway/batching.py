"""Micro-batching: requests that arrive while the workers are busy are computed together.

Nothing ever waits while there is nothing else to do. A free worker takes what is there as soon as a turn of the loop has
brought nothing new; as long as each turn reads more requests they join, for a millisecond at most. What comes while all workers
are busy goes with the next batch. So batches grow by themselves exactly when there is load: with eight clients that each wait
for their answer, gathering doubles the rows per batch and nearly halves the time per request.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gateway.compute import Work, Workers
from gateway.features import Rows
from gateway.refusals import Away, Failed, Overloaded
from gateway.runtimes.port import Estimate
from tools.errors import TemporaryError
from tools.inference.engines import Engine, tensors
from tools.inference.outputs import Outputs, decode
from tools.registry.serving_spec import ServingSpec


@dataclass(slots=True)
class _Waiting:
    rows: Rows
    answer: asyncio.Future[Outputs]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    rows: int
    """Rows per batch; a larger request is a batch of its own."""
    queued_rows: int
    """What may wait per version; beyond it a request is refused at once rather than late."""


class Batcher:
    """The queue of one version. `infer` from the event loop only."""

    def __init__(
        self,
        engine: Engine,
        spec: ServingSpec,
        workers: Workers,
        limits: BatchLimits,
        cost: Estimate,
        observe_rows: Callable[[float], None],
        *,
        here: bool = True,
    ) -> None:
        """`here`: whether the engine computes in the thread that calls it."""
        self._here = here
        self._cost = cost
        self._engine = engine
        self._spec = spec
        self._workers = workers
        self._limits = limits
        self._observe_rows = observe_rows
        self._queue: deque[_Waiting] = deque()
        self._listed = False
        self._loop = asyncio.get_running_loop()
        self.queued_rows = 0

    async def infer(self, rows: Rows) -> Outputs:
        """Raises Overloaded when the queue is full, Failed when the model raises, Away when its runtime does not answer. Scores
        may be non-finite."""
        if self._queue and self.queued_rows + rows.count > self._limits.queued_rows:
            raise Overloaded(f"{self.queued_rows} rows are waiting; try again")
        waiting = _Waiting(rows, self._loop.create_future())
        self._queue.append(waiting)
        self.queued_rows += rows.count
        self._workers.arrivals += 1
        if not self._listed:
            self._listed = True
            self._workers.want(self)
        return await waiting.answer

    def take(self) -> Work | None:
        batch: list[_Waiting] = []
        count = 0
        while self._queue and (not batch or count + self._queue[0].rows.count <= self._limits.rows):
            batch.append(self._queue.popleft())
            count += batch[-1].rows.count
        if not batch:
            self._listed = False
            return None
        self.queued_rows -= count
        self._observe_rows(count)
        return _Batch(self._engine, self._spec, self._cost, batch, count, here=self._here)


class _Batch:
    def __init__(
        self, engine: Engine, spec: ServingSpec, cost: Estimate, requests: list[_Waiting], count: int, *, here: bool
    ) -> None:
        self._here = here
        self._waited_s = 0.0
        self._engine = engine
        self._spec = spec
        self._cost = cost
        self.expected_s = cost.expected_s(count)
        self._requests = requests
        self._count = count
        self._outcome: Outputs | Failed = Failed("not computed")

    def compute(self) -> None:
        numeric: list[float] = []
        categorical: list[int] = []
        for request in self._requests:
            numeric += request.rows.numeric
            categorical += request.rows.categorical
        started = time.perf_counter()
        try:
            output: NDArray[Any] = self._engine(*tensors(numeric, categorical, self._count))
            self._outcome = decode(self._spec, output, self._count)
        except TemporaryError as error:
            self._outcome = Away(str(error))
        except Exception as error:  # noqa: BLE001  whatever a model raises is its failure, and must reach those who wait
            self._outcome = Failed(f"the model failed: {type(error).__name__}: {error}")
        self._waited_s = time.perf_counter() - started

    def answer(self, cpu_s: float) -> None:
        """A request whose client has gone away is passed over."""
        self._cost.observe(self._count, cpu_s)
        start = 0
        for request in self._requests:
            stop = start + request.rows.count
            if not request.answer.done():
                if isinstance(self._outcome, Failed):
                    request.answer.set_exception(type(self._outcome)(str(self._outcome)))
                else:
                    own = self._outcome.part(start, stop)
                    own.batch_s, own.batch_rows = cpu_s if self._here else None, self._count
                    own.took_s = cpu_s if self._here else self._waited_s
                    request.answer.set_result(own)
            start = stop
