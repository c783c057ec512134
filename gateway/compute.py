"""The workers of a model: how many of its batches are computed at once, and how busy they were.

torch and onnxruntime let go of the interpreter while they compute, so threads are enough, and weights are in memory once.
A batch that is expected to take less than `_HERE_S` is computed on the event loop itself: for small models the hand-over and
the struggle for the interpreter cost more than the model (a fifth of the throughput, a third of the p99).
"""

import asyncio
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Protocol

_HERE_S = 0.0005
"""The longest that the loop may be held up by one batch."""
_GATHER_S = 0.001
"""The longest that requests are gathered while more keep coming."""
_QUIET_TURNS = 2
"""A request that is read in one turn of the loop is decoded in the next."""


class Work(Protocol):
    @property
    def expected_s(self) -> float: ...

    def compute(self) -> None:
        """Blocking; keeps its own result and raises nothing."""
        ...

    def answer(self, cpu_s: float) -> None:
        """On the loop, once it is computed."""
        ...


class Source(Protocol):
    """Somebody with work to do."""

    def take(self) -> Work | None:
        """None when the source has run dry; it then stands in no queue."""
        ...


class Workers:
    def __init__(self, workers: int, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Work | None] = SimpleQueue()
        self._waiting: deque[Source] = deque()
        self._gathering = False
        self.arrivals = 0
        self._busy = 0
        self._threads = 0
        self._meter = BusyMeter()
        self.limit = limit
        self.workers = 0
        self.resize(workers)

    def resize(self, workers: int) -> None:
        self.workers = workers
        while self._threads < workers:
            self._threads += 1
            threading.Thread(target=self._work, name="gateway-worker", daemon=True).start()
        while self._threads > workers:
            self._threads -= 1
            self._jobs.put(None)
        self._pump_soon()

    def want(self, source: Source) -> None:
        """`source` has work now and stands in no queue."""
        self._waiting.append(source)
        self._pump_soon()

    def utilisation(self) -> float:
        """Share of the last minute that the workers were busy, 0 to 1."""
        return min(1.0, self._meter.busy_s(time.perf_counter()) / (BusyMeter.SPAN_S * max(self.workers, 1)))

    def close(self) -> None:
        self.resize(0)

    def _pump_soon(self) -> None:
        if not self._gathering:
            self._gathering = True
            self._gather(-1, 0, time.perf_counter())

    def _gather(self, seen: int, quiet: int, since: float) -> None:
        """Hand out work once the loop has read all that had come in: see `gateway.batching`."""
        quiet = quiet + 1 if self.arrivals == seen else 0
        if quiet >= _QUIET_TURNS or time.perf_counter() - since > _GATHER_S:
            self._gathering = False
            self._pump()
        else:
            self._loop.call_soon(self._gather, self.arrivals, quiet, since)

    def _pump(self) -> None:
        while self._waiting and self._busy < self.workers:
            source = self._waiting.popleft()
            work = source.take()
            if work is None:
                continue
            self._waiting.append(source)
            self._busy += 1
            if work.expected_s <= _HERE_S:
                self._finish(work, *_timed(work))
                # The rest in the next turn, so that the loop reads and writes in between.
                return
            self._jobs.put(work)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            times = _timed(work)
            try:
                self._loop.call_soon_threadsafe(self._finish, work, *times)
            except RuntimeError:  # the loop is closed: nobody is left to hear of it
                return

    def _finish(self, work: Work, started: float, ended: float, cpu_s: float) -> None:
        self._busy -= 1
        self._meter.add(started, ended)
        work.answer(cpu_s)
        self._pump_soon()


def _timed(work: Work) -> tuple[float, float, float]:
    """Start and end on the clock, and the processor time in between."""
    started, cpu = time.perf_counter(), time.thread_time()
    work.compute()
    return started, time.perf_counter(), time.thread_time() - cpu


class BusyMeter:
    """Seconds of work in the last minute, in a ring of one-second buckets."""

    SPAN_S = 60

    def __init__(self) -> None:
        self._buckets = [0.0] * self.SPAN_S
        self._seconds = [-1] * self.SPAN_S

    def add(self, started: float, ended: float) -> None:
        while started < ended:
            second = int(started)
            until = min(ended, second + 1.0)
            index = second % self.SPAN_S
            if self._seconds[index] != second:
                self._seconds[index] = second
                self._buckets[index] = 0.0
            self._buckets[index] += until - started
            started = until

    def busy_s(self, now: float) -> float:
        oldest = int(now) - self.SPAN_S
        return sum(bucket for bucket, second in zip(self._buckets, self._seconds, strict=True) if second > oldest)
