"""The reference features on real flights: what was known at a departure, and no lateness of a flight in the air."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from pipelines.cancelling import Cancellation
from pipelines.feature_runs import compute
from pipelines.flight_features import VIEWS, entity_rows, flights_table, weather_table
from pipelines.flights import Flights
from tests.pipelines.feature_cases import bring
from tests.pipelines.windows import window
from tests.twins.clock import SteppedClock
from tools.features.columns import TIME
from tools.features.joining import as_of, taken
from tools.features.offline import OfflineTables
from tools.features.port import EVENT_TIME
from tools.lake.parquet import ParquetLake

_HOUR = timedelta(hours=1)
_BY_NAME = {each.name: each for each in VIEWS}


@pytest.fixture(scope="module")
def offline(year: Flights, tmp_path_factory: pytest.TempPathFactory) -> OfflineTables:
    """January, in four batches."""
    folder = tmp_path_factory.mktemp("january")
    lake, tables, raw = ParquetLake(folder / "lake"), OfflineTables(folder / "features"), _january(year)
    bring(lake, "weather", weather_table(), table="weather")
    for number, start in enumerate(range(0, raw.num_rows, 7_000)):
        bring(lake, f"b{number}", raw.slice(start, 7_000), table="flights", number=number)
    for definition in VIEWS:
        compute(definition, lake, tables, SteppedClock(), Cancellation())
    return tables


def _january(year: Flights) -> pa.Table:
    return flights_table(year.departing(window("2013-01-01", "2013-02-01")))


def _seen(offline: OfflineTables, name: str, feature: str, rows: pa.Table) -> list[object]:
    view = _BY_NAME[name].view
    right = offline.rows(view, [feature])
    return list(taken(right[feature], as_of(rows, right, list(view.entities), "at", view.ttl)).to_pylist())


def test_a_rate_is_that_of_the_flights_that_had_landed(offline: OfflineTables, year: Flights) -> None:
    flights, dice = _january(year).to_pylist(), random.Random(11)
    asked = [dice.choice(flights) for _ in range(60)]
    rows = pa.table(
        {
            **{name: [each[name] for each in asked] for name in ("carrier", "origin", "dest")},
            "at": pa.array([each["departed"] for each in asked], TIME),
        }
    )
    rates = _seen(offline, "carrier_delays", "late_rate_24h", rows)
    counts = _seen(offline, "route_delays", "landed_7d", rows)
    for each, rate, count in zip(asked, rates, counts, strict=True):
        hour = each["departed"].replace(minute=0)
        day = [
            other["late"]
            for other in flights
            if other["carrier"] == each["carrier"] and hour - 24 * _HOUR <= other["arrived"] < hour
        ]
        assert rate == (pytest.approx(sum(day) / len(day)) if day else None)
        week = [
            other
            for other in flights
            if (other["origin"], other["dest"]) == (each["origin"], each["dest"])
            and hour - 168 * _HOUR <= other["arrived"] < hour
        ]
        assert (count or 0) == len(week)


def test_an_hour_s_weather_is_known_when_it_is_over(offline: OfflineTables) -> None:
    raw = weather_table().to_pylist()[200]
    rows = pa.table(
        {
            "origin": [raw["origin"]] * 2,
            "at": pa.array([raw["hour"] + _HOUR - timedelta(seconds=1), raw["hour"] + _HOUR], TIME),
        }
    )
    before, after = _seen(offline, "origin_weather", "temp", rows)
    assert after == raw["temp"]
    assert before != after


def test_a_training_set_starts_from_the_flights_whose_label_was_known(year: Flights) -> None:
    moment = datetime(2013, 1, 10, 18, tzinfo=UTC)
    rows = entity_rows(year, known_by=moment)
    assert max(rows["label_time"].to_pylist()) <= moment
    assert {"event_timestamp", "label_time", "late", "carrier"} <= {*rows.column_names}
    assert entity_rows(year).num_rows == len(year)


def test_the_raw_data_is_written_for_who_wants_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "--to", str(tmp_path / "raw"), "--json"])
    assert ended.value.code == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == 14
    assert sum(pq.read_metadata(each).num_rows for each in files) == 327_346 + 26_115 + 327_346
    rows = pq.read_schema(tmp_path / "raw" / "rows.parquet")
    assert {EVENT_TIME, "label_time", "late", *(name for view in VIEWS for name in view.entities)} <= {*rows.names}
    assert {rows.field(name).type.tz for name in (EVENT_TIME, "label_time")} == {"UTC"}
