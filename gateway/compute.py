"""The workers of a model: how many of its batches are computed at once, and how busy they were.

torch and onnxruntime let go of the interpreter while they compute, so threads are enough, and weights are in memory once.
Everything here but `_work` runs on the event loop; a worker takes a job, and its result comes back to the loop.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

Job = Callable[[], None]
"""Blocking work that keeps its own result and raises nothing."""


class Source(Protocol):
    """Somebody with work to do."""

    def take(self) -> tuple[Job, Callable[[], None]] | None:
        """The next job and what the loop does when it is done; None when the source has run dry."""
        ...


class Workers:
    def __init__(self, workers: int, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Job, Callable[[], None]] | None] = SimpleQueue()
        self._waiting: deque[Source] = deque()
        self._pumping = False
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
        # At the end of this turn of the loop, so that all requests that came in with it make one batch.
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        while self._waiting and self._busy < self.workers:
            source = self._waiting.popleft()
            work = source.take()
            if work is not None:
                self._busy += 1
                self._jobs.put(work)
                self._waiting.append(source)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            job, done = work
            started = time.perf_counter()
            job()
            try:
                self._loop.call_soon_threadsafe(self._finish, started, time.perf_counter(), done)
            except RuntimeError:  # the loop is closed: nobody is left to hear of it
                return

    def _finish(self, started: float, ended: float, done: Callable[[], None]) -> None:
        self._busy -= 1
        self._meter.add(started, ended)
        done()
        self._pump_soon()


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
