"""A schema from a sample keeps its own sample, whatever that is, and rows are accounted for."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.validation.drafting import draft
from pipelines.validation.inferring import sample
from pipelines.validation.running import validate
from tests.twins.clock import SteppedClock
from tools.errors import PermanentError
from tools.quality.schema import TableSchema, parse
from tools.sources.opening import Reading, open_source

CLOCK = SteppedClock()


def inferred(path: Path) -> TableSchema:
    return parse(draft(sample(open_source(str(path), Reading(64))), "t", path.name, CLOCK.now()))


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_what_looks_like_a_rule_is_one_with_its_reason(tmp_path: Path) -> None:
    rows = 400
    path = written(
        tmp_path / "a.parquet",
        id=pa.array(range(rows), pa.int64()),
        share=[n / rows for n in range(rows)],
        far=[float(n - 100) for n in range(rows)],
        kind=["bus", "car"] * (rows // 2),
        code=[f"AB-{n % 100:02}" for n in range(rows)],
        note=[f"{'x' * (n % 7)}{n}" for n in range(rows)],
        left=pa.array([n * 1_000_000 for n in range(rows)], pa.timestamp("us")),
        came=pa.array([n * 1_000_000 + n % 3 for n in range(rows)], pa.timestamp("us")),
        maybe=[None if n % 4 == 0 else n for n in range(rows)],
    )
    text = draft(sample(open_source(str(path), Reading())), "t", path.name, CLOCK.now())
    schema = parse(text)
    assert schema.column("id").unique
    assert (schema.column("share").minimum, schema.column("share").maximum) == (0, 1)
    assert schema.column("far").minimum <= -100  # type: ignore[operator]
    assert schema.column("kind").allowed == ("bus", "car")
    assert schema.column("code").pattern == r"[A-Z]{2}\-[0-9]{2}"
    assert schema.column("note").max_length == 18
    assert (schema.column("maybe").nullable, schema.column("maybe").max_nulls) == (True, 0.51)
    assert [each.rule for each in schema.rules] == ["left <= came"]
    assert schema.freshness is not None
    assert "# every value had this shape, such as 'AB-00'" in text
    assert "# 'bus' 200 times, 'car' 200 times" in text


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable() and name == name.strip())
VALUES = {
    "integer": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "small": (st.integers(-3, 3), pa.int8()),
    "number": (st.floats(allow_nan=True), pa.float64()),
    "single": (st.floats(width=32), pa.float32()),
    "text": (st.text(max_size=12), pa.string()),
    "word": (st.sampled_from(["a", "no", "1", "2026-01-01", "~", "é\u2028"]), pa.string()),
    "boolean": (st.booleans(), pa.bool_()),
    "time": (st.integers(0, 2**51), pa.timestamp("us", "UTC")),
    "date": (st.integers(-10_000, 40_000), pa.date32()),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 20))
    repeats = draw(st.sampled_from([1, 1, 12]))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    columns = []
    for _ in names:
        values, kind = VALUES[draw(st.sampled_from(sorted(VALUES)))]
        with_nulls = st.none() | values if draw(st.booleans()) else values
        found = draw(st.lists(with_nulls, min_size=rows, max_size=rows)) * repeats
        columns.append(pa.array(found, kind))
    return pa.Table.from_arrays(columns, names)


@given(tables())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_inferred_schema_accepts_its_own_sample_and_every_row_is_accounted_for(table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        pq.write_table(table, path)
        source = open_source(str(path), Reading(7))
        try:
            schema = inferred(path)
        except PermanentError:
            # Every row had a number that is not finite.
            return
        found, (outcome,) = validate(source, schema, CLOCK)
        assert found.ok, found.faulty
        assert found.rows_written + found.rows_quarantined == found.rows_read == table.num_rows
        assert {each.rule for each in outcome.statistics.broken} <= {"finite"}
        assert all(each.column for each in outcome.statistics.broken)


ROWS = st.lists(
    st.tuples(st.none() | st.integers(-5, 30), st.none() | st.sampled_from(["a", "b", "zz", "no"])), min_size=1, max_size=40
)
STRICT = parse("""
table: t
columns:
- {name: id, type: integer, minimum: 0, maximum: 20}
- {name: word, type: text, nullable: true, allowed: [a, b, zz], pattern: '[a-z]{1,2}'}
rules: [{name: odd, rule: id != 7 or word = 'a'}]
unique: [{columns: [id, word]}]
acceptance: {max_bad_share: 1}
""")


@given(ROWS, st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_rows_are_accepted_or_apart_as_a_plain_reading_of_the_schema_says(
    rows: list[tuple[int | None, str | None]], chunk: int
) -> None:
    seen: set[tuple[int, str]] = set()
    good = 0
    for number, word in rows:
        if number is None or not 0 <= number <= 20 or word == "no" or (number == 7 and word not in (None, "a")):
            continue
        if word is not None:
            if (number, word) in seen:
                continue
            seen.add((number, word))
        good += 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        columns = {
            "id": pa.array([each[0] for each in rows], pa.int64()),
            "word": pa.array([each[1] for each in rows], pa.string()),
        }
        pq.write_table(pa.table(columns), path)
        found, (outcome,) = validate(open_source(str(path), Reading(chunk)), STRICT, CLOCK)
    assert (outcome.statistics.accepted, outcome.statistics.quarantined) == (good, len(rows) - good)
    if not good:
        assert (outcome.verdict, found.rows_read) == ("refused", 0)
        return
    assert found.rows_written + found.rows_quarantined == found.rows_read == len(rows)
