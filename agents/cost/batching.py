"""Whether larger batches would take less processor time, and how long they may wait for it.

A batch costs a fixed part and a part per row. Both are read off the batches that were computed: seconds over rows, a straight
line by least squares from sums (Draper and Smith, Applied Regression Analysis, 3rd ed., 1.3 to 1.4). Larger batches save the
fixed part, again and again; the wait for them is added to every request, so that it ends where the promised latency does.

How large batches become under a wait is a forecast: rows that come meanwhile, if clients do not wait for one another. Half of
them are counted for the cautious end of the interval. Verification, and the ledger, have the last word.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from statistics import NormalDist
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.actions import Name, Risk
from agents.cost.inefficiency import Inefficiency, Rebatching, Saving
from agents.cost.prices import core_second
from agents.evidence import Evidence
from agents.wording import share
from tools.costs.port import Pricing
from tools.costs.prices import NoPrice, PriceBook
from tools.serving.port import Batches
from tools.serving.port import Batching as Chosen
from tools.values import Frozen, Share, Window

WAITS_MS = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 100.0)
"""Tried: in whole milliseconds, which is as fine as the gateway's timers are."""
_CAUTIOUS = 0.5
"""Of the rows that would come within a wait. Clients that wait for their answers before they ask again come more rarely."""


_MOST_OF_IT = 0.8
"""Of the largest cautious saving: the shortest wait that brings so much is taken. The last fifth is not worth the wait."""


class BatchingRules(Frozen):
    headroom: Share = 0.2
    """Of the promised p99 that stays free: a forecast is not to end at the limit."""
    least_batches: int = Field(default=500, ge=10)
    """Of a version, below which its line is not drawn."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Of the interval of a batch's fixed cost."""
    least_coverage: Share = 0.8
    """Of the rows, that must be of versions whose line is known."""
    least_share: Share = 0.05
    """Of what serving the model costs, that has to be saved at the least: below it nobody should be made to wait."""
    least_hours: int = Field(default=24, ge=1)
    """Of traffic, because a batch fills by day as it does not by night."""
    longest_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 20.0
    """However much the promise would allow: users feel more than that."""


class Batched(Frozen):
    """A model's batches of late, and its traffic."""

    model: Name
    batching: Chosen
    batches: tuple[Batches, ...]
    window: Window
    hourly_rows: tuple[Annotated[int, Field(ge=0)], ...]
    """Rows answered in each hour of the window."""
    p99_ms: float | None
    """Of its answers in the busiest part of the window."""
    slo_p99_ms: float | None
    """None: nothing is promised, so nothing says how long a wait may be."""

    @model_validator(mode="after")
    def _hours(self) -> Self:
        if len(self.hourly_rows) != round(self.window.length.total_seconds() / 3600):
            raise ValueError("hourly_rows: one for each hour of the window")
        return self


class Line(Frozen):
    """Processor seconds of a batch: `fixed` (between `low` and `high`), and `row` for each of its rows."""

    fixed: float
    low: float
    high: float
    row: float
    row_high: float

    def seconds(self, rows: float) -> float:
        """At most, with the confidence of the interval."""
        return max(0.0, self.high) + max(0.0, self.row_high) * rows


def line(batches: Batches, confidence: float) -> Line | None:
    """None where sizes do not differ, so that the two parts cannot be told apart."""
    n = batches.count
    if n < 3:
        return None
    mean_rows, mean_cpu = batches.rows / n, batches.cpu_s / n
    spread = batches.rows_squared - n * mean_rows**2
    if spread <= 1e-9 * max(1, batches.rows_squared):
        return None
    common = batches.rows_cpu - n * mean_rows * mean_cpu
    row = common / spread
    fixed = mean_cpu - row * mean_rows
    left = max(0.0, batches.cpu_squared - n * mean_cpu**2 - row * common)
    deviation = math.sqrt(left / (n - 2))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    error = z * deviation * math.sqrt(1 / n + mean_rows**2 / spread)
    return Line(fixed=fixed, low=fixed - error, high=fixed + error, row=row, row_high=row + z * deviation / math.sqrt(spread))


def small(batched: Batched, rules: BatchingRules, book: PriceBook, at: datetime) -> Inefficiency | None:
    """None where larger batches would not pay within the promise, and where that cannot be told."""
    if batched.p99_ms is None or batched.slo_p99_ms is None or len(batched.hourly_rows) < rules.least_hours:
        return None
    flows = _flows(batched, rules)
    if not flows:
        return None
    try:
        price = core_second(book, at, Pricing.STANDARD)
    except NoPrice:
        return None
    spent = sum(flow.spent() for flow in flows)
    able: list[_Forecast] = []
    for wait_ms in WAITS_MS:
        if not batched.batching.wait_ms < wait_ms <= min(rules.longest_wait_ms, batched.batching.longest_wait_ms):
            continue
        found = _forecast(batched, flows, wait_ms)
        if found.p99_ms > (1 - rules.headroom) * batched.slo_p99_ms:
            continue
        if found.low >= rules.least_share * spent and found.low > 0:
            able.append(found)
    if not able:
        return None
    most = max(found.low for found in able)
    best = next(found for found in able if found.low >= _MOST_OF_IT * most)
    day = Decimal(repr(24 / len(batched.hourly_rows)))
    low, high = ((price * Decimal(repr(part)) * day).quantize(Decimal("0.000001")) for part in (best.low, best.high))
    if low <= 0:
        return None  # less than a millionth
    now = batched.batching
    return Inefficiency(
        kind="set_batching",
        subject=batched.model,
        evidence=_evidence(batched, flows, best, spent),
        expected=Saving(low=low, high=high, currency=book.currency),
        risk=Risk.LOW,
        what=f"batches of {batched.model} have {flows[0].mean:.1f} rows on average, and each costs "
        f"{1000 * flows[0].line.fixed:.2f} ms of a core before its first row: a wait of {best.wait_ms:g} ms for more saves "
        f"{share(best.low / spent)} to {share(min(1.0, best.high / spent))} of its processor time; p99 would be about "
        f"{best.p99_ms:.0f} ms. Where workers are billed while they are held, only fewer of them (scale_down) turn that "
        "into money",
        remedy=Rebatching(
            model=batched.model,
            from_rows=now.rows,
            from_wait_ms=now.wait_ms,
            from_generation=now.generation,
            rows=best.rows,
            wait_ms=best.wait_ms,
        ),
    )


class _Flow:
    """The traffic of one version, with the line of its batches."""

    def __init__(self, batches: Batches, drawn: Line, hourly: Sequence[float]) -> None:
        self.version = batches.version
        self.line = drawn
        self.hourly = hourly
        self.count = batches.count
        self.mean = batches.rows / batches.count
        self.request = batches.rows / batches.requests
        self._measured = batches.rows / batches.seconds
        """Rows a second, when the mean size was measured."""

    def spent(self) -> float:
        """Core-seconds in all the hours, as batches are now."""
        return sum(rows * (max(0.0, self.line.fixed) / self.mean + max(0.0, self.line.row)) for rows in self.hourly)

    def size(self, rows: float, *, busiest: bool) -> float:
        """Of batches now, in an hour of so many rows. `busiest`: as if they grew as the traffic does."""
        grown = self.mean * max(1.0, rows / 3600 / self._measured) if busiest else self.mean
        return max(self.request, grown)

    def waiting(self, rows: float, wait_s: float, most: int, part: float) -> float:
        """Of batches under a wait."""
        return min(float(most), self.request + part * rows / 3600 * wait_s)


class _Forecast(Frozen):
    wait_ms: float
    rows: int
    low: float
    high: float
    """Core-seconds saved in all the hours."""
    p99_ms: float
    mean_rows: float


def _flows(batched: Batched, rules: BatchingRules) -> list[_Flow]:
    """The largest first; empty where too little of the traffic can be told about."""
    total = sum(each.rows for each in batched.batches)
    if not total:
        return []
    found = []
    covered = 0
    for each in sorted(batched.batches, key=lambda batches: -batches.rows):
        drawn = line(each, rules.confidence) if each.count >= rules.least_batches and each.seconds > 0 else None
        if drawn is None or drawn.low <= 0:
            continue
        covered += each.rows
        found.append(_Flow(each, drawn, [rows * each.rows / total for rows in batched.hourly_rows]))
    return found if covered >= rules.least_coverage * total else []


def _forecast(batched: Batched, flows: Sequence[_Flow], wait_ms: float) -> _Forecast:
    wait_s = wait_ms / 1000
    peak = max(flow.waiting(max(flow.hourly), wait_s, batched.batching.most_rows, 1.0) for flow in flows)
    # Room for twice of what comes in the busiest hour: a batch that fills goes at once, which is no harm.
    rows = max(batched.batching.rows, min(batched.batching.most_rows, 2 ** math.ceil(math.log2(max(1.0, 2 * peak)))))
    low = high = batches = total = 0.0
    for flow in flows:
        for hour in flow.hourly:
            if not hour:
                continue
            few, many = flow.size(hour, busiest=True), flow.size(hour, busiest=False)
            careful = max(few, flow.waiting(hour, wait_s, rows, _CAUTIOUS))
            hopeful = max(many, flow.waiting(hour, wait_s, rows, 1.0))
            low += hour * flow.line.low * (1 / few - 1 / careful)
            high += hour * flow.line.high * (1 / many - 1 / hopeful)
            batches += hour / hopeful
            total += hour
    # A request waits its time, for a batch before its own, and for its own.
    slowest = 2000 * max(flow.line.seconds(peak) for flow in flows)
    p99 = (batched.p99_ms or 0.0) + wait_ms + slowest
    return _Forecast(
        wait_ms=wait_ms, rows=rows, low=low, high=max(low, high), p99_ms=p99, mean_rows=total / batches if batches else 0
    )


def _evidence(batched: Batched, flows: Sequence[_Flow], best: _Forecast, spent: float) -> tuple[Evidence, ...]:
    query = f"Serving.batches({batched.model})"
    found = []
    for flow in flows:
        fixed = flow.line
        found.append(
            Evidence(
                id=f"batches.v{flow.version}.rows",
                statement=f"a batch of version {flow.version} has {flow.mean:.2f} rows on average",
                source="serving",
                query=query,
                value=flow.mean,
                unit="rows",
                limit=batched.batching.rows,
                sample_size=flow.count,
            )
        )
        found.append(
            Evidence(
                id=f"batches.v{flow.version}.fixed",
                statement=f"it takes {1000 * fixed.fixed:.3f} ms of a core (between {1000 * fixed.low:.3f} and "
                f"{1000 * fixed.high:.3f}) before its first row, and {1000 * fixed.row:.3f} ms for each row",
                source="serving",
                query=query,
                value=1000 * fixed.fixed,
                unit="ms",
                sample_size=flow.count,
            )
        )
    found.append(
        Evidence(
            id="latency.p99",
            statement=f"p99 is {batched.p99_ms:.1f} ms now and {best.p99_ms:.1f} ms with a wait of {best.wait_ms:g} ms; "
            f"{batched.slo_p99_ms:g} ms are promised",
            source="predictions",
            query="PredictionReader.versions",
            value=batched.p99_ms,
            unit="ms",
            limit=batched.slo_p99_ms,
            window=batched.window,
        )
    )
    found.append(
        Evidence(
            id="batches.forecast",
            statement=f"of {spent:.0f} core-seconds in {len(batched.hourly_rows)} hours, {best.low:.0f} to {best.high:.0f} "
            f"would be saved; batches would have {best.mean_rows:.1f} rows",
            source="predictions",
            query="PredictionReader.volume",
            value=best.low,
            unit="core-seconds",
            sample_size=sum(batched.hourly_rows),
            window=batched.window,
        )
    )
    return tuple(found)
