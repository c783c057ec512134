"""`python -m pipelines retrain --feature-view ...`: the reference training on the set that the feature store makes, with real
flights, a real Feast store and a real registry."""

import asyncio
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.feature_jobs import OFF, Job, reading, run
from pipelines.flight_features import VIEWS, entity_rows, flights_table, weather_table
from pipelines.flights import Flights
from pipelines.held_out import Rows, Source, hold_out
from pipelines.joined import joined
from pipelines.training_sets import training_set
from tests.pipelines.feature_cases import bring
from tests.pipelines.windows import window
from tools.errors import PermanentError
from tools.features.addresses import Place
from tools.inference.engines import read_spec
from tools.lake.parquet import ParquetLake
from tools.registry.mlflow import open_reader
from tools.registry.serving_spec import NumericFeature, ServingSpec
from tools.values import Window

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
WHOLE = window("2013-01-08", "2013-01-29")
HELD_OUT = Window(start=datetime(2013, 1, 22, tzinfo=UTC), end=WHOLE.end)
WANTED = ("carrier_delays:late_rate_24h", "origin_departures:dep_delay_1h")
VERSIONS = {each.name: each.version for each in VIEWS}


@pytest.fixture(scope="module")
def place(year: Flights, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """January, computed and online as `oppen features materialize` does."""
    folder = tmp_path_factory.mktemp("features")
    lake = ParquetLake(folder / "lake")
    bring(lake, "weather", weather_table(), table="weather")
    bring(lake, "flights", flights_table(year.departing(window("2013-01-01", "2013-02-01"))), table="flights")
    place = Place(folder / "store")
    run(Job(place, str(folder / "lake"), "pipelines.flight_features", lineage=OFF), until=WHOLE.end)
    return place


@pytest.fixture(scope="module")
def trained(place: Place, mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, object]]:
    """The registry's address, and what the command has said."""
    home = tmp_path_factory.mktemp("training")
    (home / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    uri, asked = f"sqlite:///{home}/mlflow.db", {"model": "flights", "champion": "1"}
    times = {"window_start": WHOLE.start, "window_end": WHOLE.end, "held_out_start": HELD_OUT.start}
    (home / "training.json").write_text(json.dumps(asked | {name: at.isoformat() for name, at in times.items()}))
    command = [sys.executable, "-m", "pipelines", "retrain", "--features", str(place.folder)]
    command += [word for name in WANTED for word in ("--feature-view", name)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri}
    environment |= {"OPPEN_JOB": "job-1", "OPPEN_JOB_CONFIG": str(home)}
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    return uri, json.loads(done.stdout.splitlines()[-1])


def test_the_version_takes_the_stores_features_and_says_of_which_version_they_are(
    trained: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    uri, said = trained

    async def found() -> tuple[dict[str, str], dict[str, str], ServingSpec]:
        async with open_reader(uri) as reader:
            version = await reader.version("flights", str(said["version"]))
            made = await reader.training_run("flights", version.version)
            assert made is not None
            return version.tags, made.tags, read_spec(await reader.fetch("flights", version.version, tmp_path))

    version, run_tags, spec = asyncio.run(found())
    views = ", ".join(f"{name}@{VERSIONS[name]}" for name in ("carrier_delays", "origin_departures"))
    assert (version["feature.view"], run_tags["feature.view"]) == (views, views)
    assert {feature.name for feature in spec.features} >= {*WANTED, "dep_delay", "carrier"}
    assert version["data.to"] == HELD_OUT.start.isoformat(), "nothing of what is held out is learnt from"


def test_each_flight_has_what_the_store_knew_at_its_departure(year: Flights, place: Place) -> None:
    day = year.departing(window("2013-01-15", "2013-01-16"))
    with reading(place) as store:
        table = training_set(store, entity_rows(day), list(WANTED))
    found = joined(day, WANTED, place)
    for column, name in enumerate(WANTED, start=len(day.numeric_names)):
        assert found.flights.numeric_names[column] == name
        right = [value if value is not None else math.nan for value in table[name].to_pylist()]
        assert found.flights.numeric[:, column].tolist() == pytest.approx(right, rel=1e-6, nan_ok=True)


def test_candidates_are_held_to_rows_with_the_same_features(place: Place, trained: object, tmp_path: Path) -> None:
    rows = Rows()
    environment = {"OPPEN_FEATURE_VIEW": ",".join(WANTED), "OPPEN_FEATURES": str(place.folder)}
    spec = ServingSpec(features=(NumericFeature(name="hour"),), task="binary", classes=("on_time", "late"))
    hold_out(rows, Source("flights", "", "", 1_000), spec, HELD_OUT, (), tmp_path, environment)
    assert {*WANTED, "dep_delay"} <= {*pq.read_schema(rows.parts["held_out"]).names}


def test_what_the_store_has_not_is_named(year: Flights, place: Place) -> None:
    with pytest.raises(PermanentError, match="no_such_view"):
        joined(year.departing(window("2013-01-15", "2013-01-16")), ["no_such_view"], place)
