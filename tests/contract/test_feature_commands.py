"""`oppen features`, the job behind it and the process of the service, on a real store with everything embedded.

Beside the contract because they import Feast too, which is done once.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from agents.policies import FeatureStore as Rules
from api.cli import app
from api.work.features import JobProcess, Materializing
from pipelines.feature_jobs import Job, last_run, run
from tests.pipelines.feature_cases import HOUR, MINUTE, START, bring, events
from tests.twins.clock import SteppedClock
from tools.errors import PermanentError
from tools.features.addresses import Place
from tools.features.columns import TIME
from tools.features.offloaded import OffloadedFeatures
from tools.features.port import Features, Unanswerable
from tools.lake.parquet import ParquetLake

pytestmark = [
    pytest.mark.xdist_group("feast"),
    pytest.mark.filterwarnings("ignore:Field name .* shadows an attribute:UserWarning"),
]

DEFINITIONS = "tests.pipelines.feature_views"
AT = "2026-03-02T02:30:00Z"


@pytest.fixture
def oppen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, with a lake of two keys."""
    monkeypatch.setenv("OPPEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPEN_FEATURES", str(tmp_path / "features"))
    monkeypatch.setenv("OPPEN_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("OPPEN_FEATURE_DEFINITIONS", DEFINITIONS)
    bring(ParquetLake(tmp_path / "lake"), "first", events([("a", 10, 1.0), ("a", 70, 3.0), ("b", 100, 5.0)]))

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["features", *arguments])

    return call


def _json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_materialize_list_and_look_up(oppen: Any, tmp_path: Path) -> None:
    done = _json(oppen("materialize", "--until", AT, "--json"))
    assert (done["ok"], done["cancelled"]) == (True, False)
    assert {each["view"]: (each["rows_read"], each["published"]) for each in done["views"]} == {
        "happened": (3, True),
        "stated": (3, True),
    }
    traced = (tmp_path / "home" / "lineage.jsonl").read_text()
    assert {each["version"] in traced for each in done["views"]} == {True}, "where the rows came from is told"
    again = _json(oppen("materialize", "--until", AT, "--json"))
    assert [each["rows_read"] for each in again["views"]] == [0, 0]
    listed = _json(oppen("list", "--json"))["items"]
    assert {each["name"]: each["current"] for each in listed} == {"happened": True, "stated": True}
    assert listed[0]["newest"] == "2026-03-02T01:40:00Z"
    names = ["happened:mean_3h", "happened:count_1h", "stated:value"]
    found = _json(oppen("lookup", *names, "--entity", '{"key": "a"}', "--entity", '{"key": "c"}', "--at", AT, "--json"))
    assert [each["values"] for each in found["items"]] == [
        {"happened:mean_3h": 2.0, "happened:count_1h": 1, "stated:value": 3.0},
        dict.fromkeys(names),
    ]
    assert "happened:mean_3h = 2.0" in oppen("lookup", *names, "--entity", '{"key": "a"}', "--at", AT).stdout
    piped = oppen("list").stdout
    assert all(f"{each['name']} (key)" in piped and each["version"] in piped for each in listed)
    assert piped.count("2026-03-02 02:30") == 2
    assert "…" not in piped
    unknown = oppen("lookup", "nothing:x", "--entity", '{"key": "a"}')
    assert (unknown.exit_code, "nothing:x: there is none" in str(unknown.exception)) == (1, True)


def test_a_training_set_from_a_file_to_a_file(oppen: Any, tmp_path: Path) -> None:
    _json(oppen("materialize", "--json"))
    moments = pa.array([START + minute * MINUTE for minute in (5, 130, 200)], TIME)
    known = pa.array([START + HOUR, START + 3 * HOUR, None], TIME)
    pq.write_table(
        pa.table({"key": ["a", "a", "b"], "at": moments, "known": known, "label": [0, 1, 0]}), tmp_path / "rows.parquet"
    )
    wanted = ("--feature", "happened:count_3h", "--feature", "stated", "--time", "at")
    out = str(tmp_path / "set.parquet")
    told = _json(oppen("training-set", str(tmp_path / "rows.parquet"), *wanted, "--out", out, "--json"))
    assert (told["rows"], told["left_out"]) == (3, 0)
    found = pq.read_table(out)
    assert found["happened:count_3h"].to_pylist() == [None, 2, 1]
    assert found["stated:value"].to_pylist() == [None, 3.0, 5.0]
    assert found["label"].to_pylist() == [0, 1, 0]
    only = ("--label-time", "known", "--known-by", "2026-03-02T02:00:00Z")
    told = _json(oppen("training-set", str(tmp_path / "rows.parquet"), *wanted, *only, "--out", out, "--json"))
    assert (told["rows"], told["left_out"]) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("lookup", "stated", "--entity", "a"), 2, "is no JSON"),
        (("lookup", "stated", "--entity", "[]"), 2, "write an object"),
        (("lookup", "stated", "--entity", "{}", "--at", "yesterday"), 2, "write a time as"),
        (("lookup", "stated", "--entity", "{}", "--at", "2026-03-02T02:30:00"), 2, "needs its zone"),
        (("materialize", "--until", "2999-01-01T00:00:00Z"), 2, "--until: 2999-01-01T00:00:00Z is ahead of now"),
        (("materialize", "--definitions", "no.such.module"), 1, "is it on PYTHONPATH"),
        (("training-set", "none.parquet", "--feature", "stated", "--out", "x"), 2, "none.parquet: there is no such file"),
        (("training-set", __file__, "--feature", "stated", "--out", "x"), 1, "cannot be read as Parquet"),
        (("training-set", "x", "--feature", "s", "--out", "x", "--known-by", AT), 2, "go together"),
    ],
)
def test_what_cannot_be_done_says_why(oppen: Any, arguments: tuple[str, ...], code: int, said: str) -> None:
    from api.terminal import Refused

    result = oppen(*arguments)
    assert isinstance(result.exception, Refused)
    assert (result.exception.exit_code, said in str(result.exception)) == (code, True)


def test_without_a_store_it_is_asked_for(oppen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPPEN_FEATURES")
    assert "OPPEN_FEATURES" in str(oppen("list").exception)


@pytest.mark.parametrize(
    "arguments", [("list",), ("lookup", "stated", "--entity", "{}"), ("training-set", "ROWS", "--feature", "s", "--out", "x")]
)
def test_a_store_that_is_not_there_is_told_and_not_made(oppen: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "rows.parquet")
    given = [str(tmp_path / "rows.parquet") if each == "ROWS" else each for each in arguments]
    result = oppen(*given)
    assert result.exit_code == 1
    assert f"there is no feature store at {tmp_path / 'features'}: `oppen features materialize` makes one" in str(
        result.exception
    )
    assert not (tmp_path / "features").exists()


def test_a_store_with_an_empty_name_is_none(oppen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPPEN_FEATURES", "")
    assert "name the feature store with --store or OPPEN_FEATURES" in str(oppen("list").exception)
    assert not (tmp_path / "registry.db").exists()


@pytest.mark.parametrize("scheme", ["", "file://", "chdb://"])
def test_a_lake_that_is_not_there_is_told_and_nothing_is_made_or_moved(oppen: Any, tmp_path: Path, scheme: str) -> None:
    result = oppen("materialize", "--lake", f"{scheme}{tmp_path / 'nolake'}")
    assert result.exit_code == 1
    assert f"there is no lake at {tmp_path / 'nolake'}" in str(result.exception)
    assert not (tmp_path / "nolake").exists()
    assert not (tmp_path / "features").exists()


def test_a_lake_without_the_table_does_not_move_how_far_it_is_online(oppen: Any, tmp_path: Path) -> None:
    _json(oppen("materialize", "--until", AT, "--json"))
    (tmp_path / "other").mkdir()
    result = oppen("materialize", "--lake", str(tmp_path / "other"), "--json")
    assert result.exit_code == 1
    assert all("the lake has no rows in a table 'events'" in each["error"] for each in json.loads(result.stdout)["views"])
    assert {each["materialized_until"] for each in _json(oppen("list", "--json"))["items"]} == {AT}
    assert _json(oppen("materialize", "--json"))["ok"]


def test_a_view_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    """And its old version stays what it was."""
    lake = ParquetLake(tmp_path / "lake")
    bring(lake, "first", events([("a", 10, 1.0)]))
    job = Job(Place(tmp_path / "features"), str(tmp_path / "lake"), DEFINITIONS)
    assert run(job).ok
    bring(lake, "second", events([("a", 20, 2.0)]).drop_columns(["value"]), number=1)
    done = run(job)
    assert not done.ok
    assert all(each.error and "no column" in each.error for each in done.views)
    last = last_run(job.place.folder)
    assert last is not None
    assert not last.ok


@pytest.mark.slow
async def test_the_service_computes_and_looks_up_in_processes_of_its_own(tmp_path: Path) -> None:
    bring(ParquetLake(tmp_path / "lake"), "first", events([("a", 10, 1.0)]))
    clock = SteppedClock(START + 2 * HOUR)
    (tmp_path / "clock").mkdir()
    job = Job(Place(tmp_path / "features"), str(tmp_path / "lake"), DEFINITIONS)
    materializing = Materializing(JobProcess(job), Rules, clock)
    features = OffloadedFeatures(job.place, clock)
    assert isinstance(features, Features)
    try:
        assert await materializing.once()
        assert not await materializing.once()
        await features.ping()
        (found,) = await features.lookup([{"key": "a"}], ["stated:value"])
        assert found.values == {"stated:value": 1.0}
        with pytest.raises(Unanswerable) as told:
            await features.lookup([{"key": 1}], ["stated:value"])
        assert (told.value.field, told.value.detail) == ("entities", "stated needs key, as a text")
        states = await features.states()
        assert [(each.view.name, each.current) for each in states] == [("happened", True), ("stated", True)]
    finally:
        await features.close()
    broken = Materializing(JobProcess(Job(job.place, job.lake, "no.such.module")), Rules, clock)
    with pytest.raises(PermanentError, match="is it on PYTHONPATH"):
        await broken.once()
