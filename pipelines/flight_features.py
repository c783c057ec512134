"""The reference features: how late flights have lately been where a flight leaves, with whom it flies and on its way.

Raw rows are those of `flights_table` and `weather_table`. When a fact was known decides everything: a delay of departure is
known at departure, but that a flight was late only when it has landed, so what counts lateness goes by `arrived`.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.features import Aggregate, FeatureView
from pipelines.flights import CATEGORICAL, NUMERIC, Flights, load, weather
from tools.features.columns import TIME
from tools.features.port import EVENT_TIME

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
_REPORTED_AFTER = timedelta(hours=1)
"""An hour's weather is known when the hour is over."""
_OWNER = "mlops"


def flights_table(flights: Flights) -> pa.Table:
    """As raw rows: `departed`, `arrived`, `number`, what is known at departure, and `late`."""
    columns: dict[str, Any] = {
        "departed": _times(flights.departed),
        "arrived": _times(flights.arrived),
        "number": pa.array(flights.numbers.astype(np.int64)),
    }
    for place, name in enumerate(CATEGORICAL):
        columns[name] = pa.array(np.asarray(flights.names[place], dtype=object)[flights.codes[:, place]], pa.string())
    for place, name in enumerate(NUMERIC):
        values = flights.numeric[:, place].astype(np.float64)
        columns[name] = pa.array(values, mask=np.isnan(values))
    columns["late"] = pa.array(flights.late)
    return pa.table(columns)


def weather_table() -> pa.Table:
    """As raw rows: `origin`, `hour` (its beginning) and what was measured in it. Raises DataMissing."""
    table = weather()
    names = ("temp", "wind_speed", "precip", "visib")
    numbers = {name: table[name].cast(pa.float64()) for name in names}
    return pa.table(
        {"origin": table["origin"], "hour": table["time_hour"].cast(pa.timestamp("s", "UTC")).cast(TIME), **numbers}
    )


def entity_rows(flights: Flights, known_by: datetime | None = None) -> pa.Table:
    """What a training set starts from: each flight as of its departure, with `late`, its label, and `label_time`.

    `known_by`: without flights that had not landed by then.
    """
    found = flights_table(flights if known_by is None else flights.arrived_by(known_by))
    return found.rename_columns({"departed": EVENT_TIME, "arrived": "label_time"})


def export(folder: Path) -> list[str]:
    """Both as files of Parquet, flights by month, and `rows.parquet`, which a training set starts from; their paths. Raises
    DataMissing and OSError."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    loaded = load()
    flights = flights_table(loaded)
    months = pc.month(flights["departed"])
    tables = {f"flights-2013-{month:02}": flights.filter(pc.equal(months, month)) for month in range(1, 13)}
    paths = []
    for name, table in {**tables, "weather": weather_table(), "rows": entity_rows(loaded)}.items():
        paths.append(str(folder / f"{name}.parquet"))
        pq.write_table(table, paths[-1], compression="zstd")
    return paths


def landed(raw: pa.Table) -> pa.Table:
    return raw.select(["origin", "carrier", "dest", "arrived", "late"])


def departed(raw: pa.Table) -> pa.Table:
    return raw.select(["origin", "carrier", "departed", "dep_delay"])


def reported(raw: pa.Table) -> pa.Table:
    return raw.append_column("reported", pc.add(raw["hour"], pa.scalar(_REPORTED_AFTER)))


def _delays() -> dict[str, Aggregate]:
    windows = {"1h": _HOUR, "24h": _DAY, "7d": _WEEK}
    rates = {f"late_rate_{name}": Aggregate("mean", over, "late") for name, over in windows.items()}
    return rates | {f"landed_{name}": Aggregate("count", over) for name, over in windows.items()}


def _times(moments: Any) -> pa.Array:
    return pa.array(moments.astype("datetime64[us]").astype(np.int64)).cast(TIME)


VIEWS = (
    FeatureView(
        name="carrier_delays",
        owner=_OWNER,
        description="How many of a carrier's flights landed, and which share of them late.",
        source="flights",
        entities={"carrier": "text"},
        event_time="arrived",
        ttl=_WEEK + _DAY,
        transform=landed,
        aggregates=_delays(),
    ),
    FeatureView(
        name="origin_delays",
        owner=_OWNER,
        description="The same of the flights that left from an airport.",
        source="flights",
        entities={"origin": "text"},
        event_time="arrived",
        ttl=_WEEK + _DAY,
        transform=landed,
        aggregates=_delays(),
    ),
    FeatureView(
        name="route_delays",
        owner=_OWNER,
        description="The same of the flights from one airport to another.",
        source="flights",
        entities={"origin": "text", "dest": "text"},
        event_time="arrived",
        ttl=_WEEK + _DAY,
        transform=landed,
        aggregates=_delays(),
    ),
    FeatureView(
        name="origin_departures",
        owner=_OWNER,
        description="How many flights left from an airport, and how long after their time, in minutes.",
        source="flights",
        entities={"origin": "text"},
        event_time="departed",
        ttl=2 * _DAY,
        transform=departed,
        aggregates={
            "departed_1h": Aggregate("count", _HOUR),
            "departed_24h": Aggregate("count", _DAY),
            "dep_delay_1h": Aggregate("mean", _HOUR, "dep_delay"),
            "dep_delay_24h": Aggregate("mean", _DAY, "dep_delay"),
            "dep_delay_max_1h": Aggregate("maximum", _HOUR, "dep_delay"),
        },
    ),
    FeatureView(
        name="origin_weather",
        owner=_OWNER,
        description="The last weather reported at an airport: °F, mph, inches, miles.",
        source="weather",
        entities={"origin": "text"},
        event_time="reported",
        ttl=timedelta(hours=6),
        transform=reported,
        features={"temp": "number", "wind_speed": "number", "precip": "number", "visib": "number"},
    ),
)
