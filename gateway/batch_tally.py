"""What the batches of one version took over the last hour, as sums: enough for the line of processor time over rows.

What a batch costs by itself, and what each row adds, tells what larger batches would save; the gateway measures it on whatever
comes, so nobody has to try it out.
"""

import time

from tools.serving.port import Batches

SPAN_S = 3600
_STEP_S = 60
_STEPS = SPAN_S // _STEP_S


class BatchTally:
    """From the event loop only. Seven sums for each of the last sixty minutes."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._steps = [-1] * _STEPS
        self._sums = [[0.0] * 7 for _ in range(_STEPS)]

    def add(self, requests: int, rows: int, cpu_s: float) -> None:
        step = int(time.monotonic()) // _STEP_S
        place = step % _STEPS
        sums = self._sums[place]
        if self._steps[place] != step:
            self._steps[place] = step
            sums[:] = [0.0] * 7
        sums[0] += 1
        sums[1] += requests
        sums[2] += rows
        sums[3] += rows * rows
        sums[4] += cpu_s
        sums[5] += cpu_s * cpu_s
        sums[6] += rows * cpu_s

    def total(self, version: str) -> Batches:
        now = time.monotonic()
        oldest = int(now) // _STEP_S - _STEPS
        recent = [sums for step, sums in zip(self._steps, self._sums, strict=True) if step > oldest]
        count, requests, rows, rows_squared, cpu_s, cpu_squared, rows_cpu = (
            sum(sums[place] for sums in recent) for place in range(7)
        )
        return Batches(
            version=version,
            seconds=min(now - self._since, float(SPAN_S)),
            count=int(count),
            requests=int(requests),
            rows=int(rows),
            rows_squared=int(rows_squared),
            cpu_s=cpu_s,
            cpu_squared=cpu_squared,
            rows_cpu=rows_cpu,
        )
