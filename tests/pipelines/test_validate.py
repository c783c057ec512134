"""Rows held to a schema on their way into the lake: what does not keep it is apart with its reason, nothing lost or twice."""

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from api.cli_data import data
from api.terminal import WrongUse
from pipelines.ingest import Ingested, ingest
from pipelines.validate import Outcome, Validation
from pipelines.validation import keys
from pipelines.validation.running import validate
from tests.twins.clock import SteppedClock
from tools.errors import PermanentError
from tools.lake.parquet import ParquetLake
from tools.lake.port import LakeReader
from tools.quality import statistics
from tools.quality.schema import TableSchema, parse
from tools.sources.opening import Reading, open_source

CLOCK = SteppedClock()
NOW = CLOCK.now()
COLUMNS = """
table: t
columns:
- {name: id, type: integer, minimum: 0}
- {name: far, type: number, minimum: 0, maximum: 100, nullable: true}
- {name: kind, type: text, allowed: [bus, car]}
"""
GOOD = ["id,far,kind", *(f"{n},{n % 50}.5,{'bus' if n % 2 else 'car'}" for n in range(40))]


class Lake:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = ParquetLake(folder)

    def ingest(self, path: Path, schema: str | TableSchema, batch_rows: int = 7) -> tuple[Ingested, tuple[Outcome, ...]]:
        rules = parse(schema) if isinstance(schema, str) else schema
        with self.lake.open("t") as table, closing(Validation.of_table(rules, table, CLOCK)) as checks:
            found = ingest(open_source(str(path), Reading(batch_rows)), table, checks=checks, clock=CLOCK)
        assert found.rows_written + found.rows_quarantined == found.rows_read
        return found, tuple(checks.outcomes)

    @property
    def reader(self) -> LakeReader:
        return self.lake.read("t")

    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.reader.rows() for row in batch.to_pylist()]

    def apart(self) -> dict[int, str]:
        return {row["_row"]: row["_reason"] for batch in self.reader.quarantined() for row in batch.to_pylist()}

    def refused(self) -> list[str]:
        return [each.refused for each in self.reader.receipts() if each.refused is not None]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def text(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_batch_that_keeps_its_schema_is_accepted_and_described(tmp_path: Path, lake: Lake) -> None:
    found, (outcome,) = lake.ingest(text(tmp_path / "a.csv", *GOOD), COLUMNS)
    assert (found.rows_written, outcome.verdict) == (40, "accepted")
    ((receipt, described),) = lake.reader.statistics()
    measured = statistics.read(described)
    assert (receipt.rows, measured.accepted, measured.quarantined) == (40, 40, 0)
    assert [each.name for each in measured.columns] == ["id", "far", "kind"]
    assert measured.columns[2].top == (("bus", 20), ("car", 20))


def test_rows_that_do_not_keep_it_are_apart_with_row_column_value_and_rule(tmp_path: Path, lake: Lake) -> None:
    bad = ["-1,1,bus", "41,101,car", "42,,tram", "43,far,bus", ",1,bus", "45,inf,bus"]
    found, (outcome,) = lake.ingest(text(tmp_path / "a.csv", *GOOD, *bad), COLUMNS + "acceptance: {max_bad_share: 0.2}")
    assert (found.rows_written, found.rows_quarantined, outcome.verdict) == (40, 6, "partly accepted")
    assert lake.apart() == {
        41: "id: -1 is below the minimum, 0",
        42: "far: 101.0 is above the maximum, 100",
        43: "kind: 'tram' is not one of 'bus', 'car'",
        44: "far: 'far' is not a number (double)",
        45: "id: there is no value",
        46: "far: inf is not finite",
    }
    rules = {(each.column, each.rule): each.rows for each in outcome.statistics.broken}
    assert rules == {
        ("id", "minimum"): 1,
        ("far", "maximum"): 1,
        ("kind", "allowed"): 1,
        ("id", "not null"): 1,
        ("far", "type"): 1,
        ("far", "finite"): 1,
    }


def test_a_batch_with_too_many_bad_rows_is_refused_with_the_reasons(tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", *GOOD, *["-1,1,bus"] * 10)
    found, (outcome,) = lake.ingest(path, COLUMNS)
    assert (found.ok, lake.rows(), outcome.verdict) == (False, [], "refused")
    assert "10 of its 50 rows (20.0%)" in lake.refused()[0]
    assert "id: -1 is below the minimum" in lake.refused()[0]
    mended, _ = lake.ingest(path, COLUMNS + "acceptance: {max_bad_share: 0.3}")
    assert (mended.rows_written, mended.rows_quarantined, lake.refused()) == (40, 10, [])


def test_rules_between_columns_hold_row_by_row(tmp_path: Path, lake: Lake) -> None:
    schema = """
table: t
columns:
- {name: left, type: time}
- {name: came, type: time, nullable: true}
rules: [{name: in order, rule: came >= left}]
acceptance: {max_bad_share: 1}
"""
    path = text(tmp_path / "a.csv", "left,came", "2026-01-01T10:00:00,2026-01-01T09:00:00", "2026-01-01T10:00:00,")
    lake.ingest(path, schema)
    assert lake.apart() == {1: "in order: came >= left does not hold (came = 2026-01-01T09:00:00, left = 2026-01-01T10:00:00)"}


UNIQUE = """
table: t
columns: [{name: id, type: integer}, {name: word, type: text, nullable: true}]
acceptance: {max_bad_share: 1}
"""


def test_what_has_to_be_unique_is_so_across_chunks_and_the_first_good_row_stays(tmp_path: Path, lake: Lake) -> None:
    schema = UNIQUE.replace("{name: id, type: integer}", "{name: id, type: integer, unique: true, maximum: 50}")
    lines = ["id,word", *(f"{n % 20},w" for n in range(30)), "99,w", "99,w"]
    lake.ingest(text(tmp_path / "a.csv", *lines), schema)
    assert [row["id"] for row in lake.rows()] == list(range(20))
    assert set(lake.apart()) == set(range(21, 33))
    assert lake.apart()[21] == "id: 0 is there already in this batch"
    assert lake.apart()[32] == "id: 99 is above the maximum, 50"


def test_two_columns_are_unique_together_and_a_null_is_like_no_other(tmp_path: Path, lake: Lake) -> None:
    path = text(
        tmp_path / "a.jsonl",
        *(json.dumps({"id": i, "word": w}) for i, w in [(1, "a"), (1, "b"), (1, "a"), (2, None), (2, None)]),
    )
    lake.ingest(path, UNIQUE + "unique: [{columns: [id, word]}]")
    assert lake.apart() == {3: "id: 1, word: 'a' is there already in this batch"}


def test_a_row_that_one_key_turns_down_takes_no_place_in_another(tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", "id,word", "1,a", "1,b", "2,b")
    lake.ingest(path, UNIQUE + "unique: [{columns: [id]}, {columns: [word]}]")
    assert lake.rows() == [{"id": 1, "word": "a"}, {"id": 2, "word": "b"}]


@pytest.mark.parametrize("held", [1 << 21, 8])
def test_unique_across_batches_is_so_also_where_the_keys_lie_in_files(
    held: int, tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_IN_MEMORY", held)
    schema = UNIQUE + "unique: [{columns: [id], across_batches: true}]"
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):  # 0-49, 30-79, 60-109
        text(folder / f"{number}.csv", "id,word", *(f"{n},w" for n in range(30 * number, 30 * number + 50)))
    lake.ingest(folder, schema)
    assert sorted(row["id"] for row in lake.rows()) == list(range(110))
    text(tmp_path / "late.csv", "id,word", "3,w", "109,w", "110,w")
    found, _ = lake.ingest(tmp_path / "late.csv", schema)
    assert (found.rows_written, found.rows_quarantined) == (1, 2)
    assert "id: 109 is there already in the table" in lake.apart().values()


def test_a_refused_batch_takes_no_keys(tmp_path: Path, lake: Lake) -> None:
    schema = UNIQUE.replace("max_bad_share: 1", "max_bad_share: 0.2") + "unique: [{columns: [id], across_batches: true}]"
    folder = tmp_path / "in"
    folder.mkdir()
    text(folder / "a.csv", "id,word", "1,w", "1,w", "1,w")
    text(folder / "b.csv", "id,word", "1,w")
    found, outcomes = lake.ingest(folder, schema)
    assert [each.verdict for each in outcomes] == ["refused", "accepted"]
    assert (found.rows_written, len(lake.rows())) == (1, 1)


ODD = """
table: t
columns: [{name: x, type: number}, {name: kind, type: text}]
outliers: {action: ACTION, min_share: 0.002}
"""


def odd(path: Path, rows: int = 1_200) -> Path:
    lines = [f"{n % 97 / 10},{'ab'[n % 2]}" for n in range(rows)]
    lines[500], lines[700] = "4000,a", "3,zebra"
    return text(path, "x,kind", *lines)


@pytest.mark.parametrize(("action", "apart", "notes"), [("note", 0, 2), ("quarantine", 2, 0), ("nothing", 0, 0)])
def test_outliers_are_noted_quarantined_or_nothing_as_the_schema_says(
    action: str, apart: int, notes: int, tmp_path: Path, lake: Lake
) -> None:
    """Nothing came before: the batch is held against itself, wherever in it the odd ones are."""
    _, (outcome,) = lake.ingest(odd(tmp_path / "a.csv"), ODD.replace("ACTION", action), batch_rows=100)
    assert (len(lake.apart()), len(outcome.notes)) == (apart, notes)
    if apart:
        assert "x: 4000.0 is an outlier: the median of its batch is 4.7" in lake.apart()[501]
        assert lake.apart()[701] == "kind: 'zebra' is rare of its batch"


def test_what_is_usual_comes_from_the_batches_before(tmp_path: Path, lake: Lake) -> None:
    schema = ODD.replace("ACTION", "quarantine")
    lake.ingest(odd(tmp_path / "a.csv"), schema)
    few = text(tmp_path / "b.csv", "x,kind", "5,a", "900,b", "6,lion", *["4,b"] * 57)
    lake.ingest(few, schema)
    assert "the median of the batch before" in lake.apart()[2]
    assert lake.apart()[3] == "kind: 'lion' is rare of the batch before"


def test_a_long_tail_is_no_heap_of_outliers(tmp_path: Path, lake: Lake) -> None:
    rows = [*(f"{n % 10},a" for n in range(1_000)), *(f"{n * n},a" for n in range(30, 130))]
    _, (outcome,) = lake.ingest(text(tmp_path / "a.csv", "x,kind", *rows), ODD.replace("ACTION", "note"))
    assert outcome.notes == ()


CLOCKED = """
table: t
columns: [{name: at, type: time}]
freshness: {column: at, max_age: 2d, max_future: 5m, stale: STALE}
acceptance: {max_bad_share: 0.5}
"""


def moments(path: Path, *away: timedelta) -> Path:
    return text(path, "at", *((NOW + each).isoformat() for each in away))


def test_rows_of_a_clock_that_is_ahead_are_apart(tmp_path: Path, lake: Lake) -> None:
    path = moments(tmp_path / "a.csv", timedelta(0), timedelta(minutes=4), timedelta(minutes=6))
    lake.ingest(path, CLOCKED.replace("STALE", "note"))
    assert list(lake.apart()) == [3]
    assert "is in the future: later than" in lake.apart()[3]
    ((_, described),) = lake.reader.statistics()
    assert statistics.read(described).newest == NOW + timedelta(minutes=4)


@pytest.mark.parametrize(("stale", "verdict"), [("note", "accepted"), ("refuse", "refused")])
def test_a_stale_batch_is_noted_or_refused(stale: str, verdict: str, tmp_path: Path, lake: Lake) -> None:
    path = moments(tmp_path / "a.csv", timedelta(days=-3))
    _, (outcome,) = lake.ingest(path, CLOCKED.replace("STALE", stale))
    assert outcome.verdict == verdict
    assert "older than 2 days" in "".join([*outcome.notes, outcome.refused or ""])


def test_an_empty_window_is_refused_unless_the_schema_allows_it(tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", "id,far,kind")
    lake.ingest(path, COLUMNS)
    assert "it has 0 rows, and at least 1 are due" in lake.refused()[0]
    found, _ = lake.ingest(path, COLUMNS + "acceptance: {min_rows: 0}")
    assert (found.ok, found.batches, found.rows_written) == (True, 1, 0)


def test_too_many_nulls_refuse_a_batch(tmp_path: Path, lake: Lake) -> None:
    schema = COLUMNS.replace("nullable: true", "nullable: true, max_nulls: 0.1")
    lake.ingest(text(tmp_path / "a.csv", *GOOD, *["50,,bus"] * 10), schema)
    assert lake.refused() == ["far: 20.0% of the rows have no value, more than 10.0%"]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("id,far", "column 'kind' is missing"),
        ("id,far,kind,more", "column 'more' is not in the schema"),
        ("id,far,kind,kind", "column 'kind' is there twice"),
    ],
)
def test_a_file_of_other_columns_is_told_and_nothing_of_it_is_stored(head: str, said: str, tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", head, ",".join("1" for _ in head.split(",")))
    found, outcomes = lake.ingest(path, COLUMNS)
    assert said in found.faulty[0].reason
    assert (lake.rows(), outcomes) == ([], ())


def test_columns_that_may_be_missing_are_nulls_and_others_are_kept_where_that_is_said(tmp_path: Path, lake: Lake) -> None:
    schema = COLUMNS.replace("nullable: true", "nullable: true, required: false") + "extra_columns: keep"
    lake.ingest(text(tmp_path / "a.csv", "id,kind,more", "1,bus,x"), schema)
    assert lake.rows() == [{"id": 1, "far": None, "kind": "bus", "more": "x"}]


def test_a_schema_of_other_types_than_the_table_is_told(tmp_path: Path, lake: Lake) -> None:
    lake.ingest(text(tmp_path / "a.csv", *GOOD), COLUMNS)
    path = text(tmp_path / "b.csv", "id,far,kind", "x,1,bus")
    found, _ = lake.ingest(path, COLUMNS.replace("name: id, type: integer, minimum: 0", "name: id, type: text"))
    assert "column 'id' is text in the schema and int64 in the table" in found.faulty[0].reason


def test_truncated_parquet_is_told_and_comes_whole_when_it_is_mended(tmp_path: Path, lake: Lake) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(5_000), "far": [1.5] * 5_000, "kind": ["bus"] * 5_000}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found, outcomes = lake.ingest(path, COLUMNS)
    assert (found.ok, "a.parquet" in found.faulty[0].reason, outcomes) == (False, True, ())
    path.write_bytes(whole)
    found, _ = lake.ingest(path, COLUMNS)
    assert (found.ok, found.rows_written) == (True, 5_000)


def test_the_same_batch_twice_is_once(tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.csv", *GOOD)
    lake.ingest(path, COLUMNS)
    found, outcomes = lake.ingest(path, COLUMNS)
    assert (found.skipped, found.rows_written, outcomes, len(lake.rows())) == (1, 0, (), 40)


def test_ten_thousand_categories_keep_their_rule_and_are_no_rare_values(tmp_path: Path, lake: Lake) -> None:
    schema = "table: t\ncolumns: [{name: c, type: text, pattern: 'category [0-9]+'}]"
    path = text(tmp_path / "a.csv", "c", *(f"category {n}" for n in range(10_000)), "other")
    found, (outcome,) = lake.ingest(path, schema, batch_rows=4_096)
    assert (found.rows_written, outcome.notes) == (10_000, ())
    assert list(lake.apart().values()) == ["c: 'other' does not match category [0-9]+"]
    assert outcome.statistics.columns[0].distinct == 10_000


def test_a_rule_that_the_types_do_not_allow_is_told_before_anything_is_stored(tmp_path: Path, lake: Lake) -> None:
    found, _ = lake.ingest(text(tmp_path / "a.csv", *GOOD), COLUMNS + "rules: [{name: odd, rule: kind > 3}]")
    assert "rule 'odd' (kind > 3): it cannot be evaluated" in found.faulty[0].reason
    assert lake.rows() == []


def test_validating_twice_says_the_same_and_stores_nothing(tmp_path: Path) -> None:
    path = odd(tmp_path / "a.csv")
    rules = parse(ODD.replace("ACTION", "quarantine"))
    first, second = (validate(open_source(str(path), Reading(50)), rules, CLOCK)[1] for _ in range(2))
    assert first == second
    assert first[0].statistics.quarantined == 2


def test_variables_of_the_environment_do_not_turn_it_off(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from pandera import config

    monkeypatch.setattr(config.CONFIG, "validation_enabled", False)
    lake.ingest(text(tmp_path / "a.csv", *GOOD, "-1,1,bus"), COLUMNS)
    assert list(lake.apart()) == [41]


def command(*words: str) -> Result:
    return CliRunner().invoke(data, words)


def test_the_commands_infer_validate_and_ingest(tmp_path: Path) -> None:
    path, schema = text(tmp_path / "trips.csv", *GOOD), tmp_path / "schema.yaml"
    inferred = command("infer", str(path))
    schema.write_text(inferred.stdout)
    assert "name: kind" in inferred.stdout
    good = command("validate", str(path), "--schema", str(schema), "--json")
    assert (good.exit_code, json.loads(good.stdout)["rows_accepted"]) == (0, 40)
    bad = text(tmp_path / "bad.csv", "id,far,kind", *["-1,1,bus"] * 3)
    refused = command("validate", str(bad), "--schema", str(schema))
    assert (refused.exit_code, "refused" in refused.stdout, "-1 is below the minimum" in refused.stdout) == (1, True, True)
    stored = command("ingest", str(path), "--to", str(tmp_path / "lake"), "--schema", str(schema), "--json")
    told = json.loads(stored.stdout)
    assert (told["table"], told["validation"]["batches"][0]["verdict"], told["rows_written"]) == ("trips", "accepted", 40)
    schema.write_text("table: t\ncolumns: 3\n")
    wrong = command("validate", str(path), "--schema", str(schema))
    assert isinstance(wrong.exception, WrongUse)
    assert "columns" in str(wrong.exception)


def test_the_command_tells_the_history_of_a_table(tmp_path: Path, lake: Lake) -> None:
    lake.ingest(text(tmp_path / "a.csv", *GOOD, "-1,1,bus"), COLUMNS)
    told = command("quality", "t", "--lake", str(lake.folder))
    assert "partly accepted, 40 rows, 2.4% quarantined" in told.stdout
    assert "Too few batches" in told.stdout
    (batch,) = json.loads(command("quality", "t", "--lake", str(lake.folder), "--json").stdout)["batches"]
    assert (batch["rows"], batch["broken"][0]["example"]) == (40, "id: -1 is below the minimum, 0")
    assert "there is no such table" in str(command("quality", "none", "--lake", str(lake.folder)).exception)


@pytest.mark.parametrize("written", ["2026-11-01T00:00:59Z", "2026-11-01T02:00:59.5+02:00"])
def test_times_of_json_are_inferred_and_fit(written: str, tmp_path: Path, lake: Lake) -> None:
    path = text(tmp_path / "a.jsonl", json.dumps({"at": written}))
    assert "type: time" in command("infer", str(path)).stdout
    found, _ = lake.ingest(path, "table: t\ncolumns: [{name: at, type: time}]\n")
    assert (found.ok, found.rows_written) == (True, 1)


def test_where_no_row_has_the_types_of_the_first_one_that_does_not_is_told(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "x,y", "inf,1", "-inf,2")
    from pipelines.validation.inferring import sample

    with pytest.raises(PermanentError, match=r"such as row 1 of .*a\.csv: x: inf is not finite"):
        sample(open_source(str(path), Reading()))


def test_what_cannot_be_inferred_from_is_told(tmp_path: Path) -> None:
    from pipelines.validation.inferring import sample

    with pytest.raises(PermanentError, match="no rows to learn from"):
        sample(open_source(str(text(tmp_path / "a.csv", "x")), Reading()))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1_767_268_800_123_456_789, None], pa.timestamp("ns")),
        pa.array([1_767_268_800_123_456_789, None], pa.timestamp("ns", "UTC")),
        pa.array([datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    ],
)
def test_freshness_is_asked_of_times_of_any_unit(values: pa.Array, tmp_path: Path, lake: Lake) -> None:
    pq.write_table(pa.table({"at": values}), tmp_path / "a.parquet")
    _, (outcome,) = lake.ingest(tmp_path / "a.parquet", CLOCKED.replace("STALE", "note"))
    assert outcome.statistics.newest is not None
    assert f"{outcome.statistics.newest:%Y-%m-%d}" == "2026-01-01"


def test_freshness_is_asked_of_dates_too(tmp_path: Path, lake: Lake) -> None:
    days = pa.array([date(2026, 1, 1), date(9999, 12, 31)])
    pq.write_table(pa.table({"at": days}), tmp_path / "a.parquet")
    _, (outcome,) = lake.ingest(tmp_path / "a.parquet", CLOCKED.replace("STALE", "note").replace("type: time", "type: date"))
    assert outcome.statistics.newest is not None
    assert f"{outcome.statistics.newest:%Y-%m-%d}" == "2026-01-01"
