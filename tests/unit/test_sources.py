"""What sources are made of: columns of values, ways of paging, secrets that are named."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tools.errors import PermanentError
from tools.sources import columns
from tools.sources.paging import Page, at, paging
from tools.sources.secrets import expand, is_secret, shown

PLUS_TWO = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], pa.bool_()),
        ([1, None], pa.int64()),
        ([2**70], pa.decimal128(38, 0)),
        ([1, 1.5], pa.float64()),
        ([1, Decimal("1.5")], columns.UNBOUNDED),
        ([datetime(2026, 1, 1, tzinfo=PLUS_TWO)], pa.timestamp("us", "UTC")),
        ([date(2026, 1, 1)], pa.date32()),
        ([b"x"], pa.binary()),
        ([1, "x"], pa.string()),
        ([None], pa.string()),
    ],
)
def test_the_type_of_a_column_is_that_of_all_its_values(values: list[Any], kind: pa.DataType) -> None:
    assert columns.inferred(values) == kind


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        (pa.int64(), 2.0, 2),
        (pa.int64(), Decimal(3), 3),
        (pa.bool_(), 1, True),
        (pa.decimal128(8, 2), 1.1, Decimal("1.10")),
        (pa.timestamp("us", "UTC"), datetime(2026, 1, 1, 12, tzinfo=PLUS_TWO), datetime(2026, 1, 1, 10, tzinfo=UTC)),
        (pa.timestamp("us", "UTC"), "2026-01-01T12:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        (pa.string(), {"a": [1]}, '{"a": [1]}'),
        (pa.string(), 5, "5"),
        (pa.binary(), memoryview(b"x"), b"x"),
    ],
)
def test_a_value_that_is_exactly_one_of_its_column_is_stored(kind: pa.DataType, value: Any, stored: Any) -> None:
    found = columns.chunk(pa.schema([pa.field("x", kind)]), [(value,)], 1)
    assert (found.rows["x"].to_pylist(), found.misread) == ([stored], ())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), 1.5),
        (pa.int64(), "1"),
        (pa.int64(), 2**63),
        (pa.bool_(), 2),
        (pa.float64(), 2**60 + 1),
        (pa.float64(), "x"),
        (pa.decimal128(3, 1), Decimal("1.25")),
        (pa.timestamp("us"), 1_700_000_000),
        (pa.timestamp("us", "UTC"), "soon"),
        (pa.date32(), 5),
        (pa.binary(), "x"),
        (pa.list_(pa.int64()), [[1]]),
    ],
)
def test_one_that_is_not_is_told_apart_by_its_row(kind: pa.DataType, value: Any) -> None:
    found = columns.chunk(pa.schema([pa.field("n", pa.int64()), pa.field("x", kind)]), [(1, None), (2, value), (3, None)], 10)
    assert found.rows["n"].to_pylist() == [1, 3]
    assert found.numbers.tolist() == [10, 12]
    ((misread),) = found.misread
    assert misread.row == 11
    assert misread.reason.startswith(f"x: {value!r:.60} is not of type")
    assert '"n": 2' in misread.record


@pytest.mark.parametrize(
    ("way", "body", "links", "after"),
    [
        ("link", [], {"next": "/b?x=1"}, "http://h/b?x=1"),
        ("link", [], {}, None),
        ("next=a.0.b", {"a": [{"b": "?p=2"}]}, {}, "http://h/a?p=2"),
        ("next=a.b", {"a": {"b": None}}, {}, None),
        ("cursor=c:after", {"c": 7}, {}, "http://h/a?q=1&after=7"),
        ("cursor=c:after", {"c": ""}, {}, None),
        ("page=p:0", {}, {}, "http://h/a?q=1&p=1"),
        ("offset=skip:take:50", {}, {}, "http://h/a?q=1&take=50&skip=3"),
        ("offset=skip", {}, {}, "http://h/a?q=1&skip=3"),
    ],
)
def test_the_page_after_a_page(way: str, body: Any, links: dict[str, str], after: str | None) -> None:
    pages = paging(way)
    assert pages is not None
    assert pages.next(Page(pages.first("http://h/a?q=1"), body, links, 3)) == after


@pytest.mark.parametrize("way", ["pages", "next", "cursor=a", "cursor=:b", "page=", "page=p:x", "offset=o:l:0", "link=x"])
def test_what_is_no_way_of_paging_is_said(way: str) -> None:
    with pytest.raises(PermanentError, match="is no way of paging: link, next=PATH"):
        paging(way)


def test_a_path_that_leads_nowhere_is_nothing() -> None:
    assert at({"a": [1]}, "a.1") is None
    assert at({"a": 1}, "a.b") is None
    assert at([5], "") == [5]


def test_secrets_are_named_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("PASS", "p4ss")
    assert expand(f"${{PASS}} and ${{file:{tmp_path / 'token'}}}, $5") == "p4ss and t0ken, $5"
    with pytest.raises(PermanentError, match=r"the secret in .*none cannot be read"):
        expand(f"${{file:{tmp_path / 'none'}}}")
    assert is_secret("x", "${X}")
    assert is_secret("apiKey", "")
    assert not is_secret("author", "x")
    assert shown("https://u:p4ss@h:8/a?access_token=x&q=1#f") == "https://h:8/a?access_token=***&q=1"
