"""Tables in files: read alike in every format, and refused with the reason when they are broken."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pipelines.ingest import ingest
from tools.errors import PermanentError
from tools.lake.parquet import ParquetLake
from tools.sources.opening import Reading, open_source
from tools.tables.files import FileTable
from tools.tables.opening import open_table
from tools.tables.profiling import profile_together

TABLE = pa.table({"x": [1.5, None, 3.5], "word": ["a", "b", None]})


def _write(folder: Path, kind: str) -> Path:
    path = folder / f"table.{kind}"
    match kind:
        case "parquet":
            pyarrow.parquet.write_table(TABLE, path)
        case "csv":
            pyarrow.csv.write_csv(TABLE, path)
        case "csv.gz":
            plain = folder / "plain.csv"
            pyarrow.csv.write_csv(TABLE, plain)
            path.write_bytes(gzip.compress(plain.read_bytes()))
        case "jsonl" | "ndjson":
            path.write_text('{"x": 1.5, "word": "a"}\n{"x": null, "word": "b"}\n{"x": 3.5}\n')
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "jsonl", "ndjson"])
def test_every_format_holds_the_same(tmp_path: Path, kind: str) -> None:
    table = FileTable(_write(tmp_path, kind))
    found = profile_together(table, table).pairs
    assert (dict(found["x"][0].values), found["x"][0].nulls) == ({1.5: 1, 3.5: 1}, 1)
    assert (dict(found["word"][0].values), found["word"][0].nulls) == ({"a": 1, "b": 1}, 1)


def test_a_truncated_file_is_refused_by_its_name(tmp_path: Path) -> None:
    path = _write(tmp_path, "parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PermanentError, match=r"table\.parquet: .*(magic|Parquet)"):
        FileTable(path)


def test_a_row_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,word\n1,a\n2\n")
    with pytest.raises(PermanentError, match=r"table\.csv: .*Expected 2 columns, got 1"):
        list(FileTable(path).batches())


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("")
    with pytest.raises(PermanentError, match="Empty CSV file"):
        FileTable(path)


def test_lines_that_are_no_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text('{"x": 1}\n{"x": \n')
    with pytest.raises(PermanentError, match=r"table\.jsonl: "):
        list(FileTable(path).batches())


@pytest.mark.parametrize("name", ["table.xlsx", "absent.parquet"])
def test_what_is_not_there_or_of_no_known_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(PermanentError, match=name):
        FileTable(tmp_path / name)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"table.{kind}"
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    (pyarrow.csv.write_csv if kind == "csv" else pyarrow.parquet.write_table)(table, path)
    with pytest.raises(PermanentError, match="two columns of the name 'x'"):
        FileTable(path)


def test_a_word_of_a_csv_file_is_what_it_is_and_a_number_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('country,x,y,note\nNA,1,1.5,"two\nlines"\nnull,NA,NaN,\nDE,3,,null\n')
    table = FileTable(path)
    found = {name: both[0] for name, both in profile_together(table, table).pairs.items()}
    assert dict(found["country"].values) == {"NA": 1, "null": 1, "DE": 1}
    assert (dict(found["x"].values), found["x"].nulls) == ({1.0: 1, 3.0: 1}, 1)
    assert (dict(found["y"].values), found["y"].nulls, found["y"].not_finite) == ({1.5: 1}, 1, 1)
    assert (dict(found["note"].values), found["note"].nulls) == ({"two\nlines": 1, "null": 1}, 1)


def test_a_csv_file_is_read_as_it_is_brought_into_the_lake(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("country,x\nNA,1\nnull,2\n,3\nN/A,4\n")
    with ParquetLake(tmp_path / "lake").open("t") as table:
        ingest(open_source(str(path), Reading(2)), table)
    stored = [row for batch in open_table(str(tmp_path / "lake" / "t")).batches() for row in batch.to_pylist()]
    assert [row for batch in FileTable(path).batches() for row in batch.to_pylist()] == [
        {"country": row["country"], "x": row["x"]} for row in stored
    ]


def test_a_csv_file_of_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("country,x\n")
    table = FileTable(path)
    assert (table.schema.names, sum(batch.num_rows for batch in table.batches())) == (["country", "x"], 0)
