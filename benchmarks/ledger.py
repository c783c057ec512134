"""The cost ledger: how fast usage is booked, what a breakdown of a million lines takes, and whether its parts are the whole.

    python -m benchmarks.ledger --lines 1000000 --json

Four weeks of a platform's usage (a tenth of it in pieces of a day) are priced and booked day by day, as meters tell them; then
one in a hundred is told anew, late. Every dimension, every pair, days, and filters are asked for, and what comes back is held
against sums made here in integers. Beside it, in the same run: SQLite with the same lines in integers, and pandas with floats.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.memory import cpu_s, peak_mib
from simulations.checks import Checks
from tools.costs.apportioning import total
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.port import MONEY_PLACES, Component, Dimension, Line, Owner, Pricing, Question, Step, Usage
from tools.costs.prices import PriceBook
from tools.costs.pricing import priced, taken_back
from tools.costs.units import Resource
from tools.offload import ChildProcess
from tools.predictions.engine import Engine
from tools.values import Window

_START = datetime(2026, 3, 2, tzinfo=UTC)
_DAYS = 28
_WINDOW = Window(start=_START, end=_START + timedelta(days=_DAYS + 1))
_LATE = 100
"""One in so many is corrected."""
_LENGTHS_H = (1, 1, 1, 2, 3, 4, 6, 8, 12, 24)
_TIMES = 3
_MOST_S = 1.0
"""What a person waits for a page without wondering."""
_LEAST_BOOKED = 5_000
"""Lines a second: a platform with ten thousand things metered by the hour books them in two of each 3,600 seconds."""

_BOOK = PriceBook.model_validate(
    {
        "currency": "USD",
        "prices": [
            {"resource": resource, "sku": sku, "unit": unit, "price": price, "from": since, "pricing": pricing}
            for resource, sku, unit, price, since, pricing in (
                ("cpu", "", "core-hour", "0.0316", "2026-01-01T00:00:00Z", "standard"),
                ("cpu", "", "core-hour", "0.0299", "2026-03-16T00:00:00Z", "standard"),
                ("cpu", "", "core-hour", "0.0110", "2026-01-01T00:00:00Z", "spot"),
                ("memory", "", "GiB-hour", "0.004237", "2026-01-01T00:00:00Z", "standard"),
                ("gpu", "h100", "gpu-hour", "2.98", "2026-01-01T00:00:00Z", "standard"),
                ("storage", "", "GiB-month", "0.04", "2026-01-01T00:00:00Z", "standard"),
            )
        ],
    }
)
_KINDS = (
    (Resource.CPU, "", Pricing.STANDARD, 10**7),
    (Resource.CPU, "", Pricing.SPOT, 10**7),
    (Resource.MEMORY, "", Pricing.STANDARD, 10**17),
    (Resource.GPU, "h100", Pricing.STANDARD, 10**6),
    (Resource.STORAGE, "", Pricing.STANDARD, 10**18),
)

Key = tuple[str, ...]


def _usages(day: int, count: int, seed: random.Random) -> Iterator[tuple[Usage, tuple[Line, ...]]]:
    """Of one day, with at least `count` lines."""
    n = 0
    while count > 0:
        resource, sku, pricing, most = seed.choice(_KINDS)
        start = _START + timedelta(days=day, hours=seed.randrange(24))
        model = seed.randrange(40)
        usage = Usage(
            key=f"meter/{day:03d}/{n:07d}/{resource}",
            resource=resource,
            sku=sku,
            quantity=Decimal(seed.randrange(1, most)).scaleb(-3),
            window=Window(start=start, end=start + timedelta(hours=seed.choice(_LENGTHS_H))),
            pricing=pricing,
            owner=Owner(
                component=seed.choice(list(Component)),
                part=seed.choice(("GPU hours", "storage", "CPU serving", "inference logging")),
                model=f"model-{model}",
                version=str(seed.randrange(1, 12)),
                team=f"team-{model % 9}",
                experiment=seed.choice(("", "", "", f"e-{seed.randrange(30)}")),
                workload=f"job-{seed.randrange(200)}",
            ),
        )
        lines = priced(usage, _BOOK)
        yield usage, lines
        count, n = count - len(lines), n + 1


class _Sums:
    """What the ledger must say, in integers of the smallest unit of money."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def add(self, lines: Sequence[Line]) -> None:
        for line in lines:
            owner = line.owner
            words = (owner.component.value, owner.part, owner.model, owner.version, owner.team, owner.experiment)
            kind = (line.resource.value, line.pricing.value, owner.workload)
            day = line.window.start.strftime("%Y-%m-%d")
            self.rows.append((*words, *kind, day, int(line.cost.scaleb(MONEY_PLACES))))

    def by(self, places: Sequence[int], where: dict[int, str]) -> dict[Key, int]:
        sums: dict[Key, int] = defaultdict(int)
        for row in self.rows:
            if all(row[place] == word for place, word in where.items()):
                sums[tuple(row[place] for place in places)] += row[-1]
        return dict(sums)


_COLUMNS = (*Dimension, "day")
assert [each.value for each in Dimension] == [
    "component", "part", "model", "version", "team", "experiment", "resource", "pricing", "workload",
]  # fmt: skip


def _questions() -> dict[str, Question]:
    single = [(each,) for each in Dimension]
    pairs = list(combinations(Dimension, 2))
    where = {Dimension.TEAM: ("team-3",)}
    found = {"/".join(by): Question(window=_WINDOW, by=by) for by in ((), *single, *pairs)}
    found |= {f"{by[0]} by day": Question(window=_WINDOW, by=by, step=Step.DAY) for by in single}
    found["model/resource of serving by day"] = Question(
        window=_WINDOW, by=(Dimension.MODEL, Dimension.RESOURCE), step=Step.DAY, where={Dimension.COMPONENT: ("serving",)}
    )
    found |= {f"{'/'.join(by)} of a team": Question(window=_WINDOW, by=by, where=where) for by in single}
    return found


async def _ask(ledger: ClickHouseLedger, child: ChildProcess, sums: _Sums, checks: Checks) -> dict[str, object]:
    whole = sum(row[-1] for row in sums.rows)
    took: dict[str, list[float]] = {}
    cpu: dict[str, float] = {}
    wrong, differing, cells = 0, 0, 0
    for name, question in _questions().items():
        times, worked = [], await child.call(cpu_s)
        for _ in range(_TIMES):
            begun = time.perf_counter()
            found = await ledger.breakdown(question)
            times.append(time.perf_counter() - begun)
        took[name] = times
        cpu[name] = (await child.call(cpu_s) - worked) / _TIMES
        cells = max(cells, len(found))
        exact = int(total(each.cost for each in found).scaleb(MONEY_PLACES))
        if not question.where:
            wrong += exact != whole
        if (question.step is None and len(question.by) == 1) or question.where:
            places = [_COLUMNS.index(each) for each in question.by]
            where = {_COLUMNS.index(each): word for each, (word,) in question.where.items()}
            expected = sums.by([*places, *([_COLUMNS.index("day")] if question.step else [])], where)
            said = {
                (*(each.at[one] for one in question.by), *([each.start.strftime("%Y-%m-%d")] if each.start else [])): int(
                    each.cost.scaleb(MONEY_PLACES)
                )
                for each in found
            }
            differing += expected != said
    medians = {name: statistics.median(times) for name, times in took.items()}
    slowest = max(medians, key=lambda name: medians[name])
    checks.at_most("slowest breakdown, median", round(medians[slowest], 3), _MOST_S, "s")
    checks.equal("breakdowns whose parts are not the whole", wrong, 0)
    checks.equal("breakdowns that differ from sums in integers", differing, 0)
    return {
        "questions": len(took),
        "slowest": slowest,
        "breakdown_median_s": round(statistics.median(medians.values()), 4),
        "breakdown_worst_s": round(max(max(times) for times in took.values()), 3),
        "breakdown_cpu_s": round(statistics.median(cpu.values()), 3),
        "breakdown_most_cpu_s": round(max(cpu.values()), 3),
        "most_cells": cells,
        "medians_ms": {name: round(median * 1_000, 1) for name, median in medians.items()},
    }


def _timed(question: Any) -> float:
    times = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        question()
        times.append(time.perf_counter() - begun)
    return round(statistics.median(times), 4)


_BESIDE = ((Dimension.MODEL,), (Dimension.MODEL, Dimension.WORKLOAD))


def _sqlite(sums: _Sums, home: Path) -> dict[str, object]:
    """What comes with Python. Its sums are exact as long as they fit 64 bits."""
    with sqlite3.connect(home / "beside.db") as connection:
        names = ", ".join(f'"{name}"' for name in _COLUMNS)
        connection.execute(f"CREATE TABLE lines ({names}, cost INTEGER)")
        begun = time.perf_counter()
        connection.executemany(f"INSERT INTO lines VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})", sums.rows)
        connection.commit()
        filled = time.perf_counter() - begun
        asked = {
            "/".join(by): _timed(
                lambda by=by: connection.execute(
                    f"SELECT {', '.join(by)}, sum(cost) FROM lines GROUP BY {', '.join(by)}"
                ).fetchall()
            )
            for by in _BESIDE
        }
    connection.close()
    return {"fill_s": round(filled, 2), "breakdown_s": asked}


def _pandas(sums: _Sums) -> dict[str, object]:
    """In memory, in floats."""
    import pandas

    frame = pandas.DataFrame(sums.rows, columns=[*_COLUMNS, "cost"])
    frame["cost"] = frame["cost"].astype(float) / 10**MONEY_PLACES
    asked = {"/".join(by): _timed(lambda by=by: frame.groupby(list(by))["cost"].sum()) for by in _BESIDE}
    return {"breakdown_s": asked}


async def measure(count: int, checks: Checks) -> dict[str, object]:
    seed, sums = random.Random(12), _Sums()
    price_s = book_s = 0.0
    lines, own_cpu = 0, time.process_time()
    with tempfile.TemporaryDirectory() as home:
        child = ChildProcess("predictions", Engine, f"chdb://{home}/store", threads=4)
        await child.start()
        ledger = ClickHouseLedger(child)
        for day in range(_DAYS):
            begun = time.perf_counter()
            told = list(_usages(day, -(-count // _DAYS), seed))
            usages, day_s_lines = [usage for usage, _ in told], [line for _, some in told for line in some]
            price_s, begun = price_s + time.perf_counter() - begun, time.perf_counter()
            booked = await ledger.book(usages, day_s_lines)
            book_s += time.perf_counter() - begun
            sums.add(day_s_lines)
            again = told[::_LATE]
            later = [
                usage.model_copy(update={"revision": 1, "quantity": usage.quantity + Decimal("0.001")}) for usage, _ in again
            ]
            later_lines = [line for usage in later for line in priced(usage, _BOOK)]
            begun = time.perf_counter()
            corrected = await ledger.book(later, later_lines)
            book_s += time.perf_counter() - begun
            sums.add([taken_back(line, 1) for _, some in again for line in some] + later_lines)
            lines += booked.lines + corrected.lines
        own_cpu, engine_cpu = time.process_time() - own_cpu, await child.call(cpu_s)
        begun = time.perf_counter()
        known = await ledger.book(usages[:10_000], [line for _, some in told[:10_000] for line in some])
        again_s = time.perf_counter() - begun
        details = await _ask(ledger, child, sums, checks)
        engine_mib = await child.call(peak_mib)
        await child.close()
        beside = {"sqlite": _sqlite(sums, Path(home)), "pandas": _pandas(sums)}
    checks.equal("lines in the ledger", lines, len(sums.rows))
    checks.at_least("lines", lines, count, "")
    checks.at_least("lines booked in a second", round(lines / book_s), _LEAST_BOOKED, "1/s")
    checks.equal("usages booked twice", known.lines, 0)
    return {
        "lines": lines,
        "price_s": round(price_s, 1),
        "book_s": round(book_s, 1),
        "lines_per_s": round(lines / book_s),
        "fill_cpu_s": {"ours": round(own_cpu, 1), "engine": round(engine_cpu, 1)},
        "book_again_10000_usages_s": round(again_s, 2),
        "engine_peak_mib": engine_mib,
        **details,
        "beside": beside,
    }


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.ledger", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args()
    checks = Checks()
    details = asyncio.run(measure(options.lines, checks))
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
