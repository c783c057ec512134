"""Raw files into the lake: each once, as a whole, and what does not fit apart with its reason."""

import fcntl
import gzip
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.checked import Checked
from pipelines.ingest import Options, ingest
from tests.pipelines.lakes import Lake
from tools.errors import PermanentError
from tools.lake.parquet import ParquetLake
from tools.lake.port import InUse
from tools.sources.opening import open_source
from tools.sources.reading import Reading


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def text(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz", "jsonl", "ndjson.gz"])
def test_a_file_of_every_kind_is_stored_with_its_types(ending: str, tmp_path: Path, lake: Lake) -> None:
    path = tmp_path / f"trips.{ending}"
    rows = [{"id": n, "far": n / 2, "who": f"w{n}"} for n in range(5)]
    if ending == "parquet":
        parquet(path, id=[0, 1, 2, 3, 4], far=[0.0, 0.5, 1.0, 1.5, 2.0], who=[f"w{n}" for n in range(5)])
    else:
        lines = (
            [json.dumps(row) for row in rows]
            if "json" in ending
            else ["id,far,who", *(f"{r['id']},{r['far']},{r['who']}" for r in rows)]
        )
        content = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    found = lake.ingest(path)
    assert (found.ok, found.rows_read, found.rows_written, found.batches) == (True, 5, 5, 1)
    assert lake.rows() == rows


def test_the_same_file_twice_is_once_and_a_changed_one_is_another(tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", "x", "1", "2")
    lake.ingest(path)
    again = lake.ingest(path)
    assert (again.batches, again.skipped, again.rows_written) == (0, 1, 0)
    text(path, "x", "1", "2", "3")
    assert lake.ingest(path).rows_written == 3
    assert [row["x"] for row in lake.rows()] == [1, 2, 1, 2, 3]


def test_a_folder_is_a_batch_for_each_file_and_a_broken_one_holds_up_no_other(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    parquet(folder / "a.parquet", x=[1, 2])
    whole = parquet(folder / "b.parquet", x=list(range(5_000))).read_bytes()
    (folder / "b.parquet").write_bytes(whole[: len(whole) // 2])
    parquet(folder / "c.parquet", x=[3])
    found = lake.ingest(folder)
    assert (found.ok, found.batches, found.rows_written) == (False, 2, 3)
    ((broken),) = found.faulty
    assert "b.parquet" in broken.reason
    assert not broken.refused
    (folder / "b.parquet").write_bytes(whole)
    mended = lake.ingest(folder)
    assert (mended.ok, mended.skipped, mended.rows_written) == (True, 2, 5_000)


def test_a_file_is_the_same_from_wherever_it_is_asked_for(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "d").mkdir()
    text(folder / "a.csv", "x", "1")
    text(folder / "b.csv", "x", "1")
    assert lake.ingest(folder).batches == 2  # of other names, they are two
    monkeypatch.chdir(tmp_path)
    for source in (".", "d", "d/a.csv", f"{tmp_path}/*/?.csv"):
        found = lake.ingest(source)
        assert (found.batches, found.warnings) == (0, ())
    assert len(lake.rows()) == 2


def test_files_of_one_name_and_content_are_one_and_that_is_said(tmp_path: Path, lake: Lake) -> None:
    for folder in ("may", "june"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        text(tmp_path / "in" / folder / "a.csv", "x", "1")
    for batches in (1, 0):
        found = lake.ingest(tmp_path / "in")
        assert (found.batches, found.skipped) == (batches, 2 - batches)
        ((warning),) = found.warnings
        assert "may/a.csv is called the same and holds the same as" in warning


def test_files_of_the_lake_are_none_of_a_source_that_it_is_in(tmp_path: Path, lake: Lake) -> None:
    text(tmp_path / "a.csv", "x", "1")
    for batches in (1, 0, 0):
        assert lake.ingest(tmp_path).batches == batches
    for source in (lake.folder, *lake.folder.glob("t/batch=*/part-*.parquet")):
        with pytest.raises(PermanentError, match="of the lake that"):
            lake.ingest(source)
    assert Lake(tmp_path / "other").ingest(lake.folder).rows_written == 1  # into another one they may go


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["y", "1"], "column 'x' is missing"),
        (["x,y", "1,2"], "column 'y' is not in the table"),
        (["x,x", "1,2"], "'x' is there twice"),
    ],
)
def test_other_columns_are_named_and_nothing_is_stored(lines: list[str], said: str, tmp_path: Path, lake: Lake) -> None:
    lake.ingest(text(tmp_path / "a.csv", "x", "1"))
    found = lake.ingest(text(tmp_path / "b.csv", *lines))
    ((broken),) = found.faulty
    assert said in broken.reason
    assert "b.csv" in broken.reason
    assert len(lake.rows()) == 1


def test_rows_that_do_not_fit_are_kept_apart_with_row_column_and_value(tmp_path: Path, lake: Lake) -> None:
    lake.ingest(text(tmp_path / "a.csv", "x,y", "1,1.5"))
    found = lake.ingest(text(tmp_path / "b.csv", "x,y", "2,2.5", "three,3.5", "4,inf", "5.5,nan"))
    assert (found.ok, found.rows_read, found.rows_written, found.rows_quarantined) == (True, 4, 1, 3)
    assert [row["x"] for row in lake.rows()] == [1, 2]
    numbered = dict(lake.quarantined())
    assert set(numbered) == {2, 3, 4}
    assert "x: 'three' is not a whole number" in numbered[2]
    assert "y: inf is not finite" in numbered[3]


@pytest.mark.parametrize("written", ["nan", "NaN", "-nan", "inf"])
def test_a_number_that_is_not_finite_is_quarantined_whatever_the_format(written: str, tmp_path: Path, lake: Lake) -> None:
    lake.ingest(parquet(tmp_path / "a.parquet", y=[1.5, float(written)]))
    lake.ingest(text(tmp_path / "a.csv", "y", "1.5", written, "NA"))
    said = f"y: {float(written)} is not finite"
    assert lake.quarantined() == [(2, said)] * 2
    assert [row["y"] for row in lake.rows()] == [1.5, 1.5, None]
    whole = Lake(tmp_path / "whole")
    whole.ingest(text(tmp_path / "b.csv", "n", "1", written))
    assert whole.quarantined() == [(2, said.replace("y", "n"))]
    kept = Lake(tmp_path / "kept")
    assert kept.ingest(tmp_path / "a.csv", options=Options(finite=False)).rows_written == 3


def test_not_finite_numbers_are_kept_where_that_is_wanted(tmp_path: Path, lake: Lake) -> None:
    path = parquet(tmp_path / "a.parquet", y=[1.0, float("inf"), float("nan"), None])
    assert lake.ingest(path).rows_quarantined == 2
    kept = Lake(tmp_path / "other")
    assert kept.ingest(path, options=Options(finite=False)).rows_written == 4


def test_a_batch_of_which_nothing_fits_is_refused_and_that_is_on_record(tmp_path: Path, lake: Lake) -> None:
    lake.ingest(text(tmp_path / "a.csv", "x", "1"))
    found = lake.ingest(text(tmp_path / "b.csv", "x", "one", "two"))
    assert [each.refused for each in found.faulty] == [True]
    assert "none of its 2 rows fits" in lake.refused()[0]


def test_lines_that_are_no_json_are_quarantined_with_their_number(tmp_path: Path, lake: Lake) -> None:
    found = lake.ingest(text(tmp_path / "a.jsonl", '{"x": 1}', "oops", '{"x": 3}', '{"x": "four"}'))
    assert (found.rows_written, found.rows_quarantined) == (2, 2)
    assert [number for number, _ in lake.quarantined()] == [2, 4]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-01T00:00:59Z", "2026-11-01T00:00:59+00:00"),
        ("2026-11-01T02:00:59+02:00", "2026-11-01T00:00:59+00:00"),
        ("2026-11-01 02:00:59.5+0200", "2026-11-01T00:00:59.5+00:00"),
        ("2026-11-01T00:00:59.123456Z", "2026-11-01T00:00:59.123456+00:00"),
        ("2026-11-01T00:00:59", "2026-11-01T00:00:59"),
        ("2026-11-01T00:00:59.5", "2026-11-01T00:00:59.5"),
    ],
)
def test_times_are_stored_as_such_with_a_zone_or_without(
    ending: str, written: str, moment: str, tmp_path: Path, lake: Lake
) -> None:
    lines = ["t,v", f"{written},1"] if ending == "csv" else [json.dumps({"t": written, "v": 1})]
    assert lake.ingest(text(tmp_path / f"a.{ending}", *lines)).ok
    ((row),) = lake.rows()
    assert datetime.fromisoformat(str(row["t"])) == datetime.fromisoformat(moment)
    assert ending == "csv" or lake.lake.read("t").schema().field("t").type.unit == "us"  # type: ignore[union-attr]


def test_times_of_nanoseconds_and_those_within_are_times_and_text_is_text(tmp_path: Path, lake: Lake) -> None:
    rows = [
        {"n": "2026-11-01T00:00:59.123456789Z", "s": {"t": "2026-11-01T00:00:59Z"}, "l": ["2026-11-01T00:00:59Z"], "x": "2026"},
        {"n": "2026-11-01T00:00:59Z", "s": {"t": "2026-11-01T01:00:59.5+01:00"}, "l": [], "x": "2026-11-01T00:00:59Z"},
    ]
    assert lake.ingest(text(tmp_path / "a.jsonl", *map(json.dumps, rows))).rows_written == 2
    zoned = pa.timestamp("us", "UTC")
    found = lake.lake.read("t").schema()
    assert found is not None
    assert found.types == [pa.timestamp("ns", "UTC"), pa.struct([("t", zoned)]), pa.list_(zoned), pa.string()]
    assert lake.rows()[1]["s"]["t"] == datetime(2026, 11, 1, 0, 0, 59, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_time_without_a_zone_among_others_is_utc(ending: str, tmp_path: Path, lake: Lake) -> None:
    times = ["2026-11-01T00:00:01Z", "2026-11-01T00:00:02", "2026-11-01T02:00:03+02:00"]
    first = text(tmp_path / f"a.{ending}", *(["t", times[0]] if ending == "csv" else [json.dumps({"t": times[0]})]))
    lake.ingest(first)
    lines = ["t", *times, "soon"] if ending == "csv" else [json.dumps({"t": each}) for each in (*times, "soon")]
    found = lake.ingest(text(tmp_path / f"b.{ending}", *lines))
    assert (found.rows_written, found.rows_quarantined) == (3, 1)
    assert [row["t"].second for row in lake.rows()] == [1, 1, 2, 3]


def test_ten_thousand_categories_are_stored(tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", "c", *(f"category {n}" for n in range(10_000)))
    assert lake.ingest(path).rows_written == 10_000
    assert len({row["c"] for row in lake.rows()}) == 10_000


def test_an_empty_file_says_so_and_a_header_alone_is_an_empty_batch(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    assert "empty.csv" in lake.ingest(tmp_path / "empty.csv").faulty[0].reason
    found = lake.ingest(text(tmp_path / "header.csv", "x"))
    assert (found.ok, found.batches, found.rows_written) == (True, 1, 0)


@pytest.mark.parametrize("source", ["nowhere.csv", "nowhere"])
def test_what_failed_leaves_no_table(source: str, tmp_path: Path, lake: Lake) -> None:
    with pytest.raises(PermanentError), lake.lake.open("t") as table:
        ingest(open_source(str(tmp_path / source), Reading()), table)
    assert not (lake.folder / "t").exists()
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    assert not lake.ingest(broken).ok
    assert not (lake.folder / "t").exists()
    lake.ingest(text(tmp_path / "a.csv", "x", "1"))
    assert len(lake.rows()) == 1


@pytest.mark.parametrize("source", ["nowhere.csv", "gopher://x/y", "ftp://x/y"])
def test_what_is_no_source_is_said(source: str, tmp_path: Path, lake: Lake) -> None:
    with pytest.raises(PermanentError, match=source.split(":", maxsplit=1)[0].removesuffix(".csv")):
        lake.ingest(source if ":" in source else tmp_path / source)


def test_a_check_accepts_quarantines_and_refuses(tmp_path: Path, lake: Lake) -> None:
    def few(rows: pa.Table) -> Checked:
        kept = pa.array([value < 3 for value in rows["x"].to_pylist()])
        rest = rows.filter(pa.array([not each for each in kept.to_pylist()]))
        return Checked(rows.filter(kept), rest.append_column("_reason", pa.array(["too many"] * rest.num_rows, pa.string())))

    found = lake.ingest(text(tmp_path / "a.csv", "x", "1", "2", "3", "4"), check=few)
    assert (found.rows_written, found.rows_quarantined, [reason for _, reason in lake.quarantined()]) == (
        2,
        2,
        ["too many"] * 2,
    )
    no = lake.ingest(text(tmp_path / "b.csv", "x", "9"), check=lambda rows: Checked(rows, rows.slice(0, 0), "not today"))
    assert (no.faulty[0].refused, lake.refused()) == (True, ["not today"])


def test_two_writers_at_once_are_told(tmp_path: Path, lake: Lake) -> None:
    with lake.lake.open("t"), pytest.raises(InUse), ParquetLake(tmp_path / "lake").open("t"):
        pass


def test_a_lock_that_was_taken_away_with_its_folder_is_taken_anew(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process ends, and takes the folder away, between our opening of the lock and our taking it."""
    locked, ended = fcntl.flock, []

    def late(lock: Any, how: int) -> None:
        if not ended:
            ended.append(True)
            shutil.rmtree(lake.folder / "t")
        locked(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with lake.lake.open("t"), pytest.raises(InUse), ParquetLake(tmp_path / "lake").open("t"):
        pass
    with pytest.raises(FileNotFoundError), lake.lake.open("t"):
        raise FileNotFoundError


def test_memory_is_that_of_some_batches_and_not_of_the_file(tmp_path: Path) -> None:
    """600 MB of text, of which a reader that runs ahead holds some 150 to 340 MB at most, whatever the file's length."""
    path = tmp_path / "large.csv"
    line = ",".join(["12345.678"] * 10)
    with path.open("w") as file:
        file.write(",".join(f"c{n}" for n in range(10)) + "\n")
        for _ in range(6_000):
            file.write(f"{line}\n" * 1_000)
    command = [sys.executable, "-m", "tests.pipelines.hungry_ingest", str(path), str(tmp_path / "lake")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    rows, grown = map(int, done.stdout.split())
    path.unlink()
    assert rows == 6_000_000
    assert grown < 500


def test_the_command_tells_what_it_did(tmp_path: Path) -> None:
    path = text(tmp_path / "trips.csv", "x,y", "1,2", "3,4")
    command = [sys.executable, "-m", "api.cli", "data", "ingest", str(path), "--to", str(tmp_path / "lake"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert (told["ok"], told["table"], told["rows_written"], told["skipped"]) == (True, "trips", 2, 0)
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (again["rows_written"], again["skipped"]) == (0, 1)
    command[5] = str(tmp_path / "nowhere.csv")
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "nowhere.csv" in failed.stderr


def test_the_command_stores_in_the_embedded_clickhouse(tmp_path: Path) -> None:
    path = text(tmp_path / "trips.csv", "x,y", "1,2", "3,4", "5,inf")
    command = [sys.executable, "-m", "api.cli", "data", "ingest", str(path), "--to", f"chdb://{tmp_path}/lake", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (told["ok"], told["table"], told["rows_written"], told["rows_quarantined"]) == (True, "trips", 2, 1)
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (again["rows_written"], again["skipped"]) == (0, 1)


def test_the_command_stores_on_a_server_and_shows_no_password(tmp_path: Path, clickhouse_url: str, name: str) -> None:
    path, parts = text(tmp_path / "trips.csv", "x,y", "1,2", "3,4"), urlsplit(clickhouse_url)
    url = f"clickhouse://{parts.username}@{parts.hostname}:{parts.port}{parts.path}"
    command = [sys.executable, "-m", "api.cli", "data", "ingest", str(path), "--table", name, "--json", "--to"]
    apart = {**os.environ, "OPPEN_LAKE_PASSWORD": unquote(parts.password or "")}
    first = subprocess.run([*command, url], capture_output=True, text=True, check=True, env=apart)
    again = subprocess.run([*command, clickhouse_url], capture_output=True, text=True, check=True)
    for done, written in ((first, 2), (again, 0)):
        told = json.loads(done.stdout)
        assert (told["ok"], told["to"], told["rows_written"]) == (True, url, written)
        assert not parts.password or parts.password not in done.stdout + done.stderr


def test_a_file_is_profiled_column_by_column(tmp_path: Path) -> None:
    path = text(tmp_path / "trips.csv", "far,who", "1.5,a", "2.5,a", ",b")
    command = [sys.executable, "-m", "api.cli", "data", "profile", str(path)]
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    far, who = told["columns"]
    assert (far["type"], far["rows"], far["nulls"], far["mean"], far["maximum"]) == ("numeric", 3, 1, 2.0, 2.5)
    assert (who["distinct"], who["top"][0]) == (2, {"value": "a", "count": 2})
    assert "trips" not in (shown := subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "who" in shown
