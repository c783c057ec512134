"""Micro-batching: requests that arrive while the workers are busy are computed together.

Nothing ever waits for company. A free worker takes what is there at the end of the turn of the loop; what comes meanwhile
gathers and goes with the next batch, so batches grow by themselves exactly when there is load. (Holding a batch back for a
millisecond or two was tried: it costs that millisecond in latency and gains no throughput once the workers are busy.)
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gateway.compute import Job, Workers
from gateway.engines import Engine, tensors
from gateway.features import Rows
from gateway.outputs import Outputs, decode
from gateway.refusals import Failed, Overloaded
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
        observe_rows: Callable[[float], None],
    ) -> None:
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
        """Raises Overloaded when the queue is full, Failed when the model raises. Scores may be non-finite."""
        if self._queue and self.queued_rows + rows.count > self._limits.queued_rows:
            raise Overloaded(f"{self.queued_rows} rows are waiting; try again")
        waiting = _Waiting(rows, self._loop.create_future())
        self._queue.append(waiting)
        self.queued_rows += rows.count
        if not self._listed:
            self._listed = True
            self._workers.want(self)
        return await waiting.answer

    def take(self) -> tuple[Job, Callable[[], None]] | None:
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
        work = _Batch(self._engine, self._spec, batch, count)
        return work.compute, work.answer


class _Batch:
    def __init__(self, engine: Engine, spec: ServingSpec, requests: list[_Waiting], count: int) -> None:
        self._engine = engine
        self._spec = spec
        self._requests = requests
        self._count = count
        self._outcome: Outputs | Failed = Failed("not computed")

    def compute(self) -> None:
        """In a worker's thread."""
        numeric: list[float] = []
        categorical: list[int] = []
        for request in self._requests:
            numeric += request.rows.numeric
            categorical += request.rows.categorical
        try:
            output: NDArray[Any] = self._engine(*tensors(numeric, categorical, self._count))
            self._outcome = decode(self._spec, output, self._count)
        except Exception as error:  # noqa: BLE001  whatever a model raises is its failure, and must reach those who wait
            self._outcome = Failed(f"the model failed: {type(error).__name__}: {error}")

    def answer(self) -> None:
        """On the loop. A request whose client has gone away is passed over."""
        start = 0
        for request in self._requests:
            stop = start + request.rows.count
            if not request.answer.done():
                if isinstance(self._outcome, Failed):
                    request.answer.set_exception(Failed(str(self._outcome)))
                else:
                    request.answer.set_result(self._outcome.part(start, stop))
            start = stop
