"""What a version's own tag says of the data that it has learnt from."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.beside import seen_until, unread_end
from tools.registry.port import ModelVersion
from tools.values import Window

END = datetime(2026, 11, 8, tzinfo=UTC)
WEEK = Window(start=END - timedelta(days=7), end=END)


def version(tag: str | None) -> ModelVersion:
    tags = {"data.to": tag} if tag is not None else {}
    return ModelVersion(model="m", version="3", created_at=END, run_id="r", status="READY", format="pt2", tags=tags)


@pytest.mark.parametrize("tag", ["2026-11-08T00:00:00+00:00", "2026-11-08T00:00:00", "2026-11-08", "2026-11-08T05:00:00+05:00"])
def test_a_time_without_a_zone_is_utc(tag: str) -> None:
    assert seen_until(version(tag), (WEEK,)) == END
    assert seen_until(version(tag), (WEEK.shifted(timedelta(days=7)),)) is None
    assert seen_until(version(tag), ()) is None
    assert unread_end(version(tag)) == ""


@pytest.mark.parametrize("tag", ["last week", "", "2026-13-01", "0001-01-01T00:00:00+14:00", "x" * 5_000])
def test_what_is_no_time_is_told(tag: str) -> None:
    assert seen_until(version(tag), (WEEK,)) is None
    assert unread_end(version(tag)) == (tag[:100] or "empty")


def test_who_says_nothing_claims_nothing() -> None:
    assert (seen_until(version(None), (WEEK,)), unread_end(version(None))) == (None, "")
