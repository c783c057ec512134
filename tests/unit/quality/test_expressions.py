"""Rules between columns: a small language, read by its own grammar and evaluated on Arrow."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.validation.evaluating import holds
from tools.errors import PermanentError
from tools.quality.expressions import parse

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROWS = pa.table(
    {
        "a": pa.array([1, 2, None], pa.int32()),
        "b": [1.5, 1.0, 3.0],
        "word": ["x", "y", None],
        "left": pa.array([NOON] * 3, pa.timestamp("us", "UTC")),
        "came": pa.array([(NOON + timedelta(hours=n)).replace(tzinfo=None) for n in range(3)], pa.timestamp("us")),
        "day": pa.array([date(2026, 3, 2)] * 3),
        "due date": pa.array([date(2026, 3, 1), None, date(2026, 3, 3)]),
        "done": [True, False, None],
    }
)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("a >= b", [False, True, True]),
        ("a + b > 2.6 or a = 1", [True, True, True]),
        ("-a * 2 < b - 4", [False, True, True]),
        ("a / 0 > 1", [True, True, True]),
        ("came - left <= 1h", [True, True, False]),
        ("came >= left and came < left + 1h30m", [True, True, False]),
        ("left >= day", [True, True, True]),
        ("day = '2026-03-02'", [True, True, True]),
        ("came > '2026-03-02T12:30:00'", [False, True, True]),
        ("word in ['x', 'z']", [True, False, True]),
        ("word not in ['x']", [False, True, True]),
        ("a in [1, 2.5]", [True, False, True]),
        ("word is not null", [True, True, False]),
        ("`due date` is null or `due date` <= day", [True, True, False]),
        ("done = true", [True, False, True]),
        ("not (a = 1 and b > 1)", [False, True, True]),
        ("word != 'it\\'s'", [True, True, True]),
    ],
)
def test_a_rule_holds_row_by_row_and_a_null_leaves_it_open(rule: str, said: list[bool]) -> None:
    assert holds(parse(rule), ROWS).to_pylist() == said
    assert holds(parse(rule), ROWS.slice(0, 0)).to_pylist() == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("a + 1", "no condition"),
        ("a >", "at character 4: a column or a value is due"),
        ("a = 1 = 2", "at character 7: the end is due"),
        ("__import__('os').system('x') = 1", "cannot be read"),
        ("a.b > 1", "cannot be read"),
        ("a in [1, 'x']", "of one kind"),
        ("a < 9223372036854775808", "at character 5: 9223372036854775808 is beyond what a number of 64 bits can be"),
        ("a in [1, 1e999]", "at character 10: 1e999 is beyond"),
        ("(" * 31 + "a = 1" + ")" * 31, "more than 30 brackets"),
        ("not " * 31 + "a = 1", "more than 30 brackets"),
        ("lambda: 1", "cannot be read"),
    ],
)
def test_what_is_no_rule_is_told_with_its_place(rule: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(rule)


@pytest.mark.parametrize("rule", ["word > 3", "done + 1 > 0", "left < 5", "word in [1]"])
def test_types_that_do_not_compare_are_told(rule: str) -> None:
    with pytest.raises(PermanentError, match="cannot be evaluated"):
        holds(parse(rule), ROWS)


@given(st.text(max_size=60) | st.text("ab()<>=+-*/'`\"[],.0123456789 andornotisnull", max_size=60))
def test_any_text_is_a_rule_or_a_told_fault(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert all(isinstance(name, str) for name in found.names)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-50, 50))
def test_arithmetic_is_that_of_everybody(a: int, b: int, c: int) -> None:
    rows = pa.table({"a": [a], "b": [b], "c": [c]})
    assert holds(parse("a + b * c - (a - b) >= c * -1"), rows).to_pylist() == [a + b * c - (a - b) >= c * -1]
