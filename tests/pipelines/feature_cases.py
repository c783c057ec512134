"""A small world of events, and views over it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipelines.features import Aggregate, FeatureView
from tools.features.columns import TIME
from tools.lake.port import Lake, Receipt

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WINDOWS = {"1h": HOUR, "3h": 3 * HOUR}

Event = tuple[str, int, float | None]
"""Key, minutes after START, value."""


def as_they_are(raw: pa.Table) -> pa.Table:
    return raw


def over_windows(**more: Any) -> FeatureView:
    counts = {f"count_{name}": Aggregate("count", over) for name, over in WINDOWS.items()}
    means = {f"mean_{name}": Aggregate("mean", over, "value") for name, over in WINDOWS.items()}
    edges = {"min_3h": Aggregate("minimum", 3 * HOUR, "value"), "max_3h": Aggregate("maximum", 3 * HOUR, "value")}
    given: dict[str, Any] = {
        "name": "happened",
        "owner": "tests",
        "description": "",
        "source": "events",
        "entities": {"key": "text"},
        "event_time": "at",
        "ttl": 3 * HOUR,
        "transform": as_they_are,
        "aggregates": counts | means | edges | {"sum_3h": Aggregate("sum", 3 * HOUR, "value")},
    }
    return FeatureView(**{**given, **more})


def of_facts(**more: Any) -> FeatureView:
    given: dict[str, Any] = {
        "name": "stated",
        "owner": "tests",
        "description": "",
        "source": "events",
        "entities": {"key": "text"},
        "event_time": "at",
        "ttl": 2 * HOUR,
        "transform": as_they_are,
        "features": {"value": "number"},
    }
    return FeatureView(**{**given, **more})


def events(several: Sequence[Event]) -> pa.Table:
    return pa.table(
        {
            "key": pa.array([key for key, _, _ in several], pa.string()),
            "at": pa.array([START + minute * MINUTE for _, minute, _ in several], TIME),
            "value": pa.array([value for _, _, value in several], pa.float64()),
        }
    )


def bring(lake: Lake, key: str, rows: pa.Table, table: str = "events", number: int = 0) -> None:
    with lake.open(table) as opened:
        staged = opened.stage()
        staged.write(rows)
        moment = START + timedelta(days=30, minutes=number)
        assert staged.commit(Receipt(key=key, source="tests", name=key, rows=rows.num_rows, at=moment))


def by_hand(several: Sequence[Event], key: str, minute: int) -> dict[str, Any] | None:
    """What the windows before the last full hour hold of what was known strictly before it; None: nothing was for 3 h."""
    hour = minute // 60 * 60
    held = {
        name: [value for mine, at, value in several if mine == key and hour - over // MINUTE <= at < hour]
        for name, over in WINDOWS.items()
    }
    found: dict[str, Any] = {f"count_{name}": len(each) for name, each in held.items()}
    for name, each in held.items():
        known = [value for value in each if value is not None]
        found[f"mean_{name}"] = sum(known) / len(known) if known else None
    known = [value for value in held["3h"] if value is not None]
    return found | {
        "min_3h": min(known, default=None),
        "max_3h": max(known, default=None),
        "sum_3h": float(sum(known)),
    }
