"""From files to a registered model and back, over HTTP: which raw batches is this version made from?"""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from api.store.records import LineageEventRecord
from api.web.auth import Role
from pipelines import lineage
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform, give_key
from tests.unit.lineage import stories
from tests.unit.lineage.test_projection import outside
from tools.lake.parquet import ParquetLake
from tools.lineage.http import HttpLineage
from tools.lineage.openlineage import as_openlineage
from tools.registry.library import artifact_location, library

JSON = {"Content-Type": "application/json"}
WRONG_MEDIA = "unsupported-media-type"
STORY = [as_openlineage(event) for event in stories.story()]


async def graph(platform: Platform, node: str, **query: Any) -> dict[str, Any]:
    answer = await platform.viewer.get("/v1/lineage", params={"node": node, **query})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(found: dict[str, Any], kind: str) -> set[str]:
    return {node["id"] for node in found["nodes"] if node["kind"] == kind}


async def ingested(file: Path, lake: Path, url: str, key: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "api.cli", "data", "ingest", str(file), "--to", str(lake), "--table", "trips", "--json"]
    environment = {**os.environ, "OPPEN_LINEAGE": url, "OPPEN_KEY": key, "OPPEN_HOME": str(lake.parent / "home")}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _train(uri: str, rows: list[list[float]]) -> tuple[str, str]:
    """A line through the points, registered in MLflow; its version and its run. In a process of its own: it has warnings."""
    import sklearn
    from sklearn.linear_model import LinearRegression

    mlflow = library()
    mlflow.set_tracking_uri(uri)
    data = np.array(rows)
    experiment = mlflow.create_experiment("fares", artifact_location=artifact_location(uri))
    with mlflow.start_run(experiment_id=experiment) as run:
        fitted = LinearRegression().fit(data[:, :1], data[:, 1])
        logged = mlflow.sklearn.log_model(
            fitted,
            name="model",
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
            registered_model_name="fares",
        )
    return str(logged.registered_model_version), run.info.run_id


@pytest.mark.slow
async def test_a_version_is_traced_back_to_the_batches_it_was_made_from(
    platform: Platform, mlflow_process: ProcessPoolExecutor, mlflow_uri: str, tmp_path: Path
) -> None:
    key = await give_key(platform.services, "a-job", Role.OPERATOR)
    url, lake = f"{platform.url}/v1/lineage", tmp_path / "lake"
    for name, fares in {"monday": (2, 4, 6), "tuesday": (8, 10, 12), "wednesday": (99, 99, 99)}.items():
        file = tmp_path / f"{name}.csv"
        file.write_text("far,fare\n" + "".join(f"{fare / 2},{fare}\n" for fare in fares))
        told = await ingested(file, lake, url, key)
        assert (told["ok"], told["rows_written"]) == (True, 3)

    # Wednesday is left out: it came after the features were computed.
    with ParquetLake(lake).open("trips") as table:
        keys = [receipt.key for receipt in table.receipts() if "wednesday" not in receipt.name]
        rows = [[row["far"], row["fare"]] for batch in table.rows() for row in batch.to_pylist() if row["fare"] < 50]
    version, run_id = await asyncio.to_thread(mlflow_process.submit(_train, mlflow_uri, rows).result, 110)
    writer = HttpLineage(url, key, tmp_path / "spool.jsonl")

    def tell() -> None:
        lineage.features_computed(writer, "fare_features", "v1", batches={"trips": keys}, rows=6)
        lineage.training_set_built(writer, "fares", "abc", features=[("fare_features", "v1")], rows=6)
        lineage.trained(writer, "fares", version, mlflow_run=run_id, training_set=("fares", "abc"))

    await asyncio.to_thread(tell)
    writer.close()
    found = await graph(platform, f"model:fares/{version}", direction="up")
    assert ids(found, "batch") == {f"batch:trips/{key}" for key in keys} | {"batch://training/fares/abc"}
    assert ids(found, "features") == {"features:fare_features@v1"}
    assert ids(found, "dataset") == {f"dataset:file/{tmp_path}/{name}.csv" for name in ("monday", "tuesday")}
    training = next(node for node in found["nodes"] if node["job"] == "job:oppen/train.fares")
    assert training["facets"]["oppen_mlflow"] == {"runId": run_id, "experiment": "fares"}
    assert training["facets"]["oppen_code"]["package"] == "oppen"
    rows_of = {node["version"]: node["facets"]["batch"]["rows"] for node in found["nodes"] if node["version"] in keys}
    assert rows_of == dict.fromkeys(keys, 3)
    down = await graph(platform, f"batch:trips/{keys[0]}", direction="down")
    assert ids(down, "model") == {f"model:fares/{version}"}
    command = [sys.executable, "-m", "api.cli", "lineage", "show", f"model:fares/{version}", "--up", "--from", platform.url]
    shown = await asyncio.to_thread(
        subprocess.run, command, env={**os.environ, "OPPEN_KEY": key}, capture_output=True, text=True, check=True
    )
    assert f"batch:trips/{keys[0]}  (3 rows, 0 quarantined)" in shown.stdout


async def test_who_may_tell_and_who_may_look(platform: Platform) -> None:
    event = STORY[0]
    refused(await platform.anybody.post("/v1/lineage", json=event), 401, "unauthenticated")
    refused(await platform.viewer.post("/v1/lineage", json=event), 403, "forbidden")
    refused(await platform.anybody.get("/v1/lineage", params={"node": "job:a/b"}), 401, "unauthenticated")
    assert (await platform.operator.post("/v1/lineage", json=event)).status_code == 200


async def test_the_same_event_twice_is_once(platform: Platform) -> None:
    answers = [(await platform.operator.post("/v1/lineage", json=STORY[1])).json() for _ in range(2)]
    assert [answer["new"] for answer in answers] == [True, False]
    assert {answer["run"] for answer in answers} == {f"run:{STORY[1]['run']['runId']}"}
    found = await graph(platform, answers[0]["run"])
    assert len(found["nodes"]) == 5


async def test_what_comes_late_and_without_its_start_is_put_together(platform: Platform) -> None:
    ends = [event for event in STORY if event["eventType"] == "COMPLETE"]
    for event in reversed(ends):
        assert (await platform.operator.post("/v1/lineage", json=event)).status_code == 200
    found = await graph(platform, "model:flights/1", direction="up")
    assert ids(found, "batch") == {"batch:trips/a", "batch:trips/b"}
    assert {node["started_at"] for node in found["nodes"]} == {None}
    starts = [event for event in STORY if event["eventType"] == "START"]
    for event in starts:
        await platform.operator.post("/v1/lineage", json=event)
    runs = [node for node in (await graph(platform, "model:flights/1", direction="up"))["nodes"] if node["kind"] == "run"]
    assert all(node["state"] == "COMPLETE" and node["started_at"] < node["ended_at"] for node in runs)


async def test_a_circle_does_not_hang(platform: Platform) -> None:
    for number, (source, target) in enumerate([("a", "b"), ("b", "c"), ("c", "a")], 1):
        event = outside(
            run={"runId": f"00000000-0000-0000-0000-00000000000{number}"},
            inputs=[{"namespace": "x", "name": source}],
            outputs=[{"namespace": "x", "name": target}],
        )
        assert (await platform.operator.post("/v1/lineage", json=event)).status_code == 200
    for direction in ("up", "down", "both"):
        found = await graph(platform, "dataset:x/a", direction=direction, depth=100)
        assert ids(found, "dataset") == {"dataset:x/a", "dataset:x/b", "dataset:x/c"}


async def test_what_is_no_event_is_refused_by_its_field_and_leaves_nothing(platform: Platform) -> None:
    problem = refused(await platform.operator.post("/v1/lineage", json=outside(eventTime="yesterday")), 422, "invalid")
    assert fields(problem) == ["eventTime"]
    refused(await platform.operator.post("/v1/lineage", json=[STORY[0]]), 422, "invalid")
    refused(await platform.operator.post("/v1/lineage", content=b"{", headers=JSON), 400, "malformed")
    refused(await platform.operator.post("/v1/lineage", content=b"[" * 60_000, headers=JSON), 400, "malformed")
    refused(await platform.operator.post("/v1/lineage", content=b"[" * 70_000, headers=JSON), 413, "too-large")
    refused(
        await platform.operator.post("/v1/lineage", content=b"a: b", headers={"Content-Type": "text/yaml"}), 415, WRONG_MEDIA
    )
    refused(await platform.viewer.get("/v1/lineage", params={"node": "job:spark/load"}), 404, "not-found")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "node"),
        ({"node": "flights"}, "node"),
        ({"node": "model:flights/1", "cursor": "7"}, "cursor"),
        ({"node": "model:flights/1", "depth": 101}, "depth"),
        ({"node": "model:flights/1", "direction": "sideways"}, "direction"),
    ],
)
async def test_a_wrong_question_is_refused_by_its_field(platform: Platform, query: dict[str, Any], field: str) -> None:
    for event in STORY:
        await platform.operator.post("/v1/lineage", json=event)
    assert fields(refused(await platform.viewer.get("/v1/lineage", params=query), 422, "invalid")) == [field]


async def test_secrets_that_other_tools_send_are_not_kept(platform: Platform) -> None:
    facets = {
        "environmentVariables": {"environmentVariables": [{"name": "DB_PASSWORD", "value": "hunter2"}]},
        "sql": {"query": "COPY t FROM 's3://k:hunter2@raw/t' CREDENTIALS 'password=hunter2'", "nul": "a\0b\ud800"},
    }
    event = outside(
        run={"runId": "00000000-0000-0000-0000-0000000000a1", "facets": facets},
        inputs=[{"namespace": "postgres://ada:hunter2@warehouse:5432", "name": "trips"}],
    )
    assert (await platform.operator.post("/v1/lineage", content=json.dumps(event), headers=JSON)).status_code == 200
    answer = await platform.viewer.get("/v1/lineage", params={"node": "dataset:postgres://warehouse:5432/trips"})
    assert answer.status_code == 200
    assert "hunter2" not in answer.text
    async with platform.database.read() as session:
        kept = str(list(await session.scalars(select(LineageEventRecord.event))))
    assert "hunter2" not in kept
    assert "DB_PASSWORD" in kept
