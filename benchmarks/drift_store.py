"""Drift of a model whose predictions are in the embedded store: how long both halves of a day take to compare."""

import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.drift.rules import DriftRules
from agents.drift.verdicts import Comparison, compare
from benchmarks.memory import peak_mib
from tools.offload import ChildProcess
from tools.predictions.clickhouse import ClickHouseStore
from tools.predictions.engine import Engine
from tools.predictions.kinds import FeatureKind
from tools.predictions.schema import predictions_table
from tools.tables.port import Distributions
from tools.values import Window

_DAY = Window(start=datetime(2026, 3, 2, tzinfo=UTC), end=datetime(2026, 3, 3, tzinfo=UTC))
_HALF = timedelta(hours=12)
_AT_ONCE = 500_000
_LAWS = ("randNormal(0, 1, {})", "randLogNormal(0, 1, {})", "toFloat64(randPoisson(20, {}))", "randExponential(1, {})")
_NUMBERS = 18
_WORDS = {"few": 12, "some": 300}
_MOVED = "number0"
"""By a quarter of its standard deviation, in the second half of the day."""


class Filled(Engine):
    """The engine, which fills itself: what is measured here is the comparison."""

    def fill(self, model: str, rows: int) -> None:
        kinds: dict[str, FeatureKind] = {f"number{n}": "numeric" for n in range(_NUMBERS)}
        kinds |= dict.fromkeys(_WORDS, "categorical")
        columns = ", ".join(feature.column for feature in self._catalogue.admit(model, kinds))
        values = [_LAWS[n % len(_LAWS)].format(n) for n in range(_NUMBERS)]
        values[0] += f" + if(number >= {rows // 2}, 0.25, 0)"
        values += [f"concat('value ', toString(rand({n}) % {count}))" for n, count in enumerate(_WORDS.values(), _NUMBERS)]
        at = f"fromUnixTimestamp64Micro(toInt64({int(_DAY.start.timestamp())}000000 + number * 86400000000 / {rows}), 'UTC')"
        for start in range(0, rows, _AT_ONCE):
            self._connection.client().command(
                f"INSERT INTO {predictions_table(model)} "
                f"(id, version, at, entity, latency_us, prediction, score, source, {columns}) "
                f"SELECT hex(number), '1', {at}, 'customer', 2000, if(rand(99) % 3 = 0, 'late', 'on time'), "
                f"randUniform(0, 1, 98), 'benchmark', {', '.join(values)} FROM numbers({start}, {min(_AT_ONCE, rows - start)})"
            )


async def measure(home: Path, rows: int, times: int) -> dict[str, Any]:
    """Seconds (medians of `times`) and MiB. `compare_s`: both halves counted, and a verdict on every feature and answer."""
    child = ChildProcess("drift", Filled, f"chdb://{home / 'store'}")
    store = ClickHouseStore(child)
    await child.call(Filled.fill, "model", rows)
    await store.close()
    # Opened anew: what filling it took is no memory of the comparison.
    child = ChildProcess("drift", Filled, f"chdb://{home / 'store'}")
    store = ClickHouseStore(child)
    await store.ping()
    opened = await child.call(peak_mib)
    took: dict[str, list[float]] = {"reference": [], "current": [], "compare": []}
    for _ in range(times):
        begun = time.perf_counter()
        reference = await store.distributions("model", Window(start=_DAY.start, end=_DAY.start + _HALF))
        counted = time.perf_counter()
        current = await store.distributions("model", Window(start=_DAY.start + _HALF, end=_DAY.end), like=reference)
        found = _judged(reference, current)
        ended = time.perf_counter()
        for name, seconds in (("reference", counted - begun), ("current", ended - counted), ("compare", ended - begun)):
            took[name].append(seconds)
    peak = await child.call(peak_mib)
    await store.close()
    claimed = [feature.name for feature in found.features if feature.drifted]
    if claimed != [_MOVED] or reference.rows + current.rows != rows:
        raise RuntimeError(f"{claimed} were claimed of {reference.rows} and {current.rows} rows")
    medians = {f"{name}_s": round(statistics.median(each), 3) for name, each in took.items()}
    return {**medians, "child_opened_mib": opened, "child_peak_mib": peak}


def _judged(reference: Distributions, current: Distributions) -> Comparison:
    return compare(zip(reference.features, current.features, strict=True), DriftRules())
