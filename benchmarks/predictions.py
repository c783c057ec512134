"""The embedded prediction store: how fast it loads, what its queries take, and whether the event loop runs on meanwhile.

    python -m benchmarks.predictions --records 200000 --features 20 --json

A day's traffic is written as a gateway writes it, then loaded while a task does nothing but ask the loop for a turn every
millisecond: the longest it waits is the stall. The questions of an investigation (versions, profiles of a window and of another
on the same bins, slices, volume) are then asked, one after the other and together, on everything and on ten thousand.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.memory import peak_mib
from simulations.checks import Checks
from tools.offload import ChildProcess
from tools.predictions.clickhouse import ClickHouseStore
from tools.predictions.engine import Engine
from tools.predictions.loader import Loader
from tools.predictions.records import FeatureValue, LabelRecord, PredictionRecord
from tools.values import Window

_START = datetime(2026, 3, 2, tzinfo=UTC)
_DAY = timedelta(days=1)
_WINDOW = Window(start=_START, end=_START + _DAY)
_FEW = 10_000
_SEGMENT = 20_000
"""Records of one segment."""
_TURN_S = 0.001
_TIMES = 7
_MOST_STALL_MS = 100.0
"""In-process, the same engine held the loop for up to two seconds."""


def _records(model: str, count: int, features: int) -> Iterator[tuple[PredictionRecord, LabelRecord]]:
    values = random.Random(20)
    begin, step = int(_START.timestamp()) * 1_000_000, int(_DAY.total_seconds() * 1_000_000) // count
    for n in range(count):
        row: dict[str, FeatureValue] = {f"number{k}": values.gauss(0, 1) for k in range(features * 3 // 4)}
        row |= {f"category{k}": values.choice("abcdefghij") for k in range(features - len(row))}
        prediction, label = values.choice(("late", "on time")), values.choice(("late", "on time"))
        id, at = f"{begin + n * step:012x}{n:016x}", begin + n * step
        latency = values.randrange(1_000, 9_000)
        yield (
            PredictionRecord(id, model, str(1 + n % 2), at, str(n % 1000), latency, row, prediction, values.random()),
            LabelRecord(id, model, at + 60_000_000, label),
        )


def _write(folder: Path, model: str, count: int, features: int) -> None:
    folder.mkdir(exist_ok=True)
    encoder = msgspec.json.Encoder()
    pairs = _records(model, count, features)
    for start in range(0, count, _SEGMENT):
        some = list(islice(pairs, _SEGMENT))
        for kind, records in (
            ("predictions", [pair[0] for pair in some]),
            ("labels", [pair[1] for pair in some[::2]]),
        ):
            path = folder / f"{kind}-{some[0][0].at:016d}-{model}-{start:06d}.ndjson"
            path.write_bytes(encoder.encode_lines(records))


async def _stall_ms(work: Awaitable[object]) -> float:
    """The longest that a task which wants a turn every millisecond had to wait for one while `work` was done."""
    longest, done = 0.0, asyncio.ensure_future(work)
    while not done.done():
        asked = time.perf_counter()
        await asyncio.sleep(_TURN_S)
        longest = max(longest, time.perf_counter() - asked - _TURN_S)
    await done
    return longest * 1_000


async def _ask(store: ClickHouseStore, model: str) -> dict[str, float]:
    """Milliseconds, medians; `together` is all of them at once."""
    half = Window(start=_START, end=_START + _DAY / 2)
    reference = await store.feature_profiles(model, half)
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "versions": lambda: store.versions(model, _WINDOW),
        "profiles": lambda: store.feature_profiles(model, _WINDOW),
        "profiles_like": lambda: store.feature_profiles(model, _WINDOW, like=reference),
        "slices": lambda: store.slices(model, "1", _WINDOW),
        "volume": lambda: store.volume(model, _WINDOW, _DAY / 12),
        "ping": store.ping,
    }
    took: dict[str, list[float]] = {name: [] for name in (*questions, "together")}
    for _ in range(_TIMES):
        for name, question in questions.items():
            begun = time.perf_counter()
            await question()
            took[name].append((time.perf_counter() - begun) * 1_000)
        begun = time.perf_counter()
        await asyncio.gather(*(question() for question in questions.values()))
        took["together"].append((time.perf_counter() - begun) * 1_000)
    return {name: round(statistics.median(times), 1) for name, times in took.items()}


async def measure(records: int, features: int, checks: Checks) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "segments"
        for model, count in (("few", _FEW), ("many", records)):
            _write(folder, model, count, features)
        size = sum(path.stat().st_size for path in folder.iterdir())
        child = ChildProcess("predictions", Engine, f"chdb://{home}/store", threads=4)
        store = ClickHouseStore(child)
        begun = time.perf_counter()
        await store.ping()
        ready, begun = time.perf_counter() - begun, time.perf_counter()
        stall = await _stall_ms(Loader(store, folder).sweep())
        loaded = time.perf_counter() - begun
        found = {model: sum(each.count for each in await store.versions(model, _WINDOW)) for model in ("few", "many")}
        queries = {str(count): await _ask(store, model) for model, count in (("few", _FEW), ("many", records))}
        child_mib = await child.call(peak_mib)
        await store.close()
    checks.equal("predictions in the store", sum(found.values()), _FEW + records)
    checks.at_most("longest stall of the event loop while loading", round(stall, 1), _MOST_STALL_MS, "ms")
    return {
        "features": features,
        "segments_mib": round(size / 2**20, 1),
        "engine_ready_s": round(ready, 2),
        "load_s": round(loaded, 2),
        "predictions_per_s": round((_FEW + records) / loaded),
        "child_peak_mib": child_mib,
        "queries_ms": queries,
    }


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.predictions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args()
    checks = Checks()
    details = asyncio.run(measure(options.records, options.features, checks))
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
