"""What is said of a source on a command line."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from api.cli_data import data
from api.terminal import WrongUse
from pipelines.__main__ import main
from pipelines.options import takes_reading
from tools.sources.reading import HttpReading, Reading, S3Reading, SqlReading


def said(*options: str) -> Any:
    """The reading that a command gets, or what it was told."""
    app, got = typer.Typer(), []

    @takes_reading
    def command(reading: Reading, source: str, other: int = 3) -> None:
        got.append((reading, source, other))

    app.command()(command)
    ended = CliRunner().invoke(app, ["a.csv", *options])
    return got[0] if got else (ended.exit_code, ended.stderr)


def test_without_options_a_reading_is_the_default_one() -> None:
    assert said("--other", "4") == (Reading(), "a.csv", 4)


def test_options_become_the_reading_of_their_source() -> None:
    sql = SqlReading("orders", "", "changed", timedelta(minutes=10), timedelta(hours=1))
    assert said("--from", "orders", "--watermark=changed", "--lookback=10m", "--lag=1h")[0] == Reading(sql=sql)
    assert said("--query", "SELECT 1", "--lookback=50")[0] == Reading(sql=SqlReading(query="SELECT 1", lookback=50))
    http = HttpReading("data.items", "link", ("A: 1", "B: 2"), timedelta(seconds=5))
    told = ("--items=data.items", "--paging=link", "--header", "A: 1", "--header", "B: 2", "--silence=5s")
    assert said(*told)[0] == Reading(http=http)
    s3 = S3Reading("http://127.0.0.1:9000", "eu-central-1", True)
    assert said("--endpoint=http://127.0.0.1:9000", "--region=eu-central-1", "--anonymous")[0] == Reading(s3=s3)
    assert said("--key=k", "--batch-rows=7", "--commit-rows=8")[0] == Reading(7, "k", 8)


@pytest.mark.parametrize("wrong", [["--lag=5"], ["--lag=soon"], ["--lookback=1.5"], ["--silence="], ["--batch-rows=0"]])
def test_wrong_use_ends_with_2(wrong: list[str]) -> None:
    code, told = said(*wrong)
    assert code == 2
    assert wrong[0].partition("=")[0] in told


@pytest.mark.parametrize("program", [["api.cli", "data", "ingest"], ["pipelines", "ingest"]])
def test_a_database_is_brought_in_by_either_command(program: list[str], tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 1 AS id, '2026-01-01T00:00:00Z' AS at UNION SELECT 2, NULL")
        connection.commit()
    asked = [f"sqlite:///{tmp_path / 'x.db'}", "--from", "orders", "--watermark", "at", "--to", str(tmp_path / "lake")]
    command = [sys.executable, "-m", *program, *asked, *(["--json"] if program[0] == "api.cli" else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["ok"], told["table"], told["rows_written"], told["held_back"]) == (
        True,
        "orders",
        1,
        {"with no value in 'at'": 1},
    )


@pytest.mark.parametrize("program", [["api.cli", "data", "ingest"], ["pipelines", "ingest"]])
def test_what_cannot_be_done_ends_with_1_and_the_reason(program: list[str], tmp_path: Path) -> None:
    url = "postgresql://user:p4ssw0rd@127.0.0.1:1/shop"
    command = [sys.executable, "-m", *program, url, "--from", "orders", "--to", str(tmp_path / "lake")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "sql:postgresql://127.0.0.1:1/shop#orders" in done.stderr
    assert "p4ssw0rd" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        ("sqlite:///x.db", [], "--from"),
        ("sqlite:///x.db", ["--from", "orders", "--lag", "5m"], "watermark"),
        ("https://127.0.0.1:1/", ["--paging", "backwards"], "is no way of paging"),
        ("https://127.0.0.1:1/", ["--header", "nothing"], "'Name: value'"),
        ("simulated://shop?row=7", [], "simulated://shop: row"),
        ("simulated://shop", ["--from", "orders"], "does not go with"),
        ("gopher://x", [], "is no source"),
    ],
)
def test_what_is_said_wrongly_of_a_source_is_wrong_use_of_either_command(
    source: str, options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ingest", source, *options, "--to", str(tmp_path / "lake")]
    with pytest.raises(WrongUse, match=told):
        CliRunner().invoke(data, [*arguments, "--lineage", "off"], catch_exceptions=False)
    assert main(arguments) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()
