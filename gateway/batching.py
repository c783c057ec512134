"""Micro-batching: requests that arrive while the workers are busy are computed together.

Nothing ever waits while there is nothing else to do. A free worker takes what is there as soon as a turn of the loop has
brought nothing new; as long as each turn reads more requests they join, for a millisecond at most. What comes while all workers
are busy goes with the next batch. So batches grow by themselves exactly when there is load: with eight clients that each wait
for their answer, gathering doubles the rows per batch and nearly halves the time per request.

That is so unless a model is told to wait (`PUT /admin/batching/{m}`): then a batch that is not full stays until its first
request has waited so long, whether a worker is free or not. It takes less processor time per row, and every request longer.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gateway.batch_tally import BatchTally
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
    since: float
    """By the loop's clock."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    rows: int
    """Rows per batch; a larger request is a batch of its own."""
    queued_rows: int
    """What may wait per version; beyond it a request is refused at once rather than late."""
    wait_s: float = 0.0
    """For a batch that is not full."""


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
        self._timer: asyncio.TimerHandle | None = None
        self._waited = False
        """The first in the queue has waited as long as it has to."""
        self.queued_rows = 0
        self.tally = BatchTally()

    async def infer(self, rows: Rows) -> Outputs:
        """Raises Overloaded when the queue is full, Failed when the model raises, Away when its runtime does not answer. Scores
        may be non-finite."""
        if self._queue and self.queued_rows + rows.count > self._limits.queued_rows:
            raise Overloaded(f"{self.queued_rows} rows are waiting; try again")
        waiting = _Waiting(rows, self._loop.create_future(), self._loop.time())
        self._queue.append(waiting)
        self.queued_rows += rows.count
        self._workers.arrivals += 1
        self._offer()
        return await waiting.answer

    def limit(self, limits: BatchLimits) -> None:
        """From now on; who waits already, waits by the new ones."""
        self._limits = limits
        self._forget_timer()
        if self._queue:
            self._offer()

    def take(self) -> Work | None:
        if self._queue and not self._ripe:
            self._listed = False
            self._offer()
            return None
        batch: list[_Waiting] = []
        count = 0
        while self._queue and (not batch or count + self._queue[0].rows.count <= self._limits.rows):
            batch.append(self._queue.popleft())
            count += batch[-1].rows.count
        if not batch:
            self._listed = False
            return None
        self._waited = False
        self.queued_rows -= count
        self._observe_rows(count)
        return _Batch(self._engine, self._spec, self._cost, self.tally, batch, count, here=self._here)

    @property
    def _ripe(self) -> bool:
        return self._waited or not self._limits.wait_s or self.queued_rows >= self._limits.rows

    def _offer(self) -> None:
        """Stand in line for a worker, or wait for more first."""
        if self._listed:
            return
        if self._ripe:
            self._forget_timer()
            self._listed = True
            self._workers.want(self)
        elif self._timer is None:
            self._timer = self._loop.call_at(self._queue[0].since + self._limits.wait_s, self._wait_over)

    def _wait_over(self) -> None:
        self._timer = None
        # Not by looking at the clock again: a loop may call a little too early.
        self._waited = True
        self._offer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Batch:
    def __init__(
        self,
        engine: Engine,
        spec: ServingSpec,
        cost: Estimate,
        tally: BatchTally,
        requests: list[_Waiting],
        count: int,
        *,
        here: bool,
    ) -> None:
        self._tally = tally
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
        if self._here and isinstance(self._outcome, Outputs):
            self._tally.add(len(self._requests), self._count, cpu_s)
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
