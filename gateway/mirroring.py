"""A shadow: a version that gets copies of a model's requests, and whose answers nobody is given.

It must not be felt. A copy is made after the request's own answer is written; it waits where nothing else waits, is encoded and
computed by a worker of its own, and is let go of, and counted, wherever it would have to wait for more than memory of a fixed
size: when too much waits already, when the shadow is not loaded, when its log is full. A copy is never copied.

What is written down says how the shadow would have answered in place of the version that did: under the prediction's own id, so
that one label is for both, at the prediction's own time, and with the latency of the request in which the processor time of its
batch (where somebody else computes: the time that it was waited for) is exchanged for that of the shadow's.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.compute import Workers
from gateway.features import Rows
from gateway.metrics import Metrics
from gateway.protocol import Tensor
from gateway.refusals import Refused
from gateway.segments import SegmentLog
from gateway.versions import Version
from tools.inference.engines import tensors
from tools.inference.outputs import Outputs, decode
from tools.predictions.records import Record, ShadowRecord

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Served:
    """A request whose answer is written."""

    inputs: list[Tensor]
    size: int
    """Bytes of its body."""
    ids: list[str]
    """Of its predictions, one per row."""
    at: int
    """Microseconds since the epoch."""
    elapsed_s: float
    took_s: float
    """Of the batch that it was in, as in `Outputs`; 0 where that failed."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """What all shadows of a gateway share."""

    log: SegmentLog
    metrics: Metrics
    rows: int
    """Of copies of one model that wait or are computed; beyond it copies are dropped."""
    bytes: int
    """Of the bodies of those copies: a row may have a few bytes, or all that a body may have."""
    batch_rows: int


class Mirror:
    """Of one model, for one route. From the event loop only."""

    def __init__(self, version: Version, percent: int, workers: Workers, mirrors: Mirrors) -> None:
        self.version = version
        self._percent = percent
        self._workers = workers
        self._mirrors = mirrors
        self._waiting: deque[Served] = deque()
        self._listed = False
        self._count: Callable[[str, int], None] = mirrors.metrics.mirrored(version.model, version.version)
        self.rows = 0
        """That wait or are computed."""
        self._bytes = 0

    def offer(self, served: Served) -> None:
        """Copy a request, if it is among those that are, and there is room."""
        rows = len(served.ids)
        if self._percent < 100 and random.randrange(100) >= self._percent:
            return
        most = self._mirrors
        full = self.rows > 0 and (self.rows + rows > most.rows or self._bytes + served.size > most.bytes)
        if full or self.version.state != "ready" or not self._mirrors.log.reserve(rows):
            self._count("dropped", rows)
            return
        self.rows += rows
        self._bytes += served.size
        self.version.begin()
        self._waiting.append(served)
        self._workers.arrivals += 1
        if not self._listed:
            self._listed = True
            self._workers.want(self)

    def take(self) -> "_Copies | None":
        batch: list[Served] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0].ids) <= self._mirrors.batch_rows):
            batch.append(self._waiting.popleft())
            count += len(batch[-1].ids)
        if not batch:
            self._listed = False
            return None
        return _Copies(self, batch)

    def stop(self) -> None:
        """Copies that wait are dropped; those that are computed are still written."""
        while self._waiting:
            dropped = self._waiting.popleft()
            self._mirrors.log.release(len(dropped.ids))
            self._count("dropped", len(dropped.ids))
            self._done(dropped)

    def write(self, served: Served, outcome: "Outputs | str", took_s: float, cpu_us: float | None) -> None:
        """`outcome`: the answer, or why there is none. `cpu_us`: of each row."""
        failed = isinstance(outcome, str)
        latency_s = max(took_s, served.elapsed_s - served.took_s + took_s)
        records: list[Record] = [
            ShadowRecord(
                id=prediction,
                model=self.version.model,
                version=self.version.version,
                at=served.at,
                latency_us=int(latency_s * 1_000_000),
                cpu_us=cpu_us,
                prediction=None if isinstance(outcome, str) or outcome.predictions is None else outcome.predictions[row],
                score=None if isinstance(outcome, str) else outcome.scores[row],
                error=outcome if isinstance(outcome, str) else None,
            )
            for row, prediction in enumerate(served.ids)
        ]
        self._mirrors.log.append(records)
        self._count("failed" if failed else "answered", len(records))
        self._done(served)

    def _done(self, served: Served) -> None:
        self.rows -= len(served.ids)
        self._bytes -= served.size
        self.version.end()


class _Copies:
    """`Work`: a batch of copies. Encoded here as well, where nobody waits for it."""

    expected_s = float("inf")
    """Never on the loop, however quick."""

    def __init__(self, mirror: Mirror, batch: list[Served]) -> None:
        self._mirror = mirror
        self._batch = batch
        self._outcomes: list[Outputs | str] = []
        self._took_s = 0.0
        self._rows = 0

    def compute(self) -> None:
        version = self._mirror.version
        encoded: list[Rows | str] = []
        for served in self._batch:
            try:
                encoded.append(version.encoder.encode(served.inputs, len(served.ids)))
            except Refused as refusal:
                # A client that it answered would have been refused.
                encoded.append(str(refusal))
        known = [rows for rows in encoded if not isinstance(rows, str)]
        self._rows = sum(rows.count for rows in known)
        outcome: Outputs | str = ""
        if known:
            numeric = [number for rows in known for number in rows.numeric]
            categorical = [code for rows in known for code in rows.categorical]
            clock = time.thread_time if version.here else time.perf_counter
            started = clock()
            try:
                outcome = decode(version.spec, version.engine(*tensors(numeric, categorical, self._rows)), self._rows)
            except Exception as error:  # noqa: BLE001  whatever a model raises is its failure
                outcome = f"the model failed: {type(error).__name__}: {error}"
            self._took_s = clock() - started
        start = 0
        for rows in encoded:
            if isinstance(rows, str):
                self._outcomes.append(rows)
                continue
            stop = start + rows.count
            self._outcomes.append(outcome if isinstance(outcome, str) else _finite(outcome.part(start, stop)))
            start = stop

    def answer(self, cpu_s: float) -> None:  # noqa: ARG002 - that is with the encoding
        here = self._mirror.version.here
        cpu_us = round(1_000_000 * self._took_s / max(self._rows, 1), 1) if here else None
        for served, outcome in zip(self._batch, self._outcomes, strict=True):
            self._mirror.write(served, outcome, self._took_s, cpu_us)


def _finite(outputs: Outputs) -> Outputs | str:
    """What is no answer of a version that serves is none of a shadow."""
    for row, score in enumerate(outputs.scores):
        if score - score != 0.0:  # NaN or infinite
            return f"it gave {score} for row {row} of its request"
    return outputs
