"""The backends of the feature store, and rows to put into them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tests.contract.servers import redis as redis_servers
from tools.features.addresses import Place
from tools.features.columns import TIME
from tools.features.offline import append, created_after, prepared
from tools.features.port import EVENT_TIME, View

if TYPE_CHECKING:
    from tools.features.feast import FeastStore

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

BACKENDS = ("embedded", "redis", "sql registry", "postgres registry")


@contextmanager
def place_of(backend: str, folder: Path, postgres: Callable[[], str]) -> Iterator[Place]:
    match backend:
        case "redis":
            with redis_servers.serving(folder) as url:
                yield Place(folder / "features", online=url)
        case "sql registry":
            yield Place(folder / "features", registry=f"sqlite:///{folder / 'registry-of-several.db'}")
        case "postgres registry":
            yield Place(folder / "features", registry=postgres())
        case _:
            yield Place(folder / "features")


def view(version: str = "000000000001", **more: Any) -> View:
    given: dict[str, Any] = {
        "name": "rides",
        "version": version,
        "entities": {"city": "text", "zone": "integer"},
        "features": {"mean": "number", "count": "integer", "kind": "text", "open": "boolean"},
        "ttl": timedelta(hours=1),
        "owner": "tests",
        "source": "trips",
    }
    return View(**{**given, **more})


def row(minute: float, city: str = "bonn", zone: int = 1, **values: Any) -> dict[str, Any]:
    given = {"mean": 0.5, "count": 2, "kind": "x", "open": True}
    return {"city": city, "zone": zone, EVENT_TIME: START + minute * MINUTE, **given, **values}


def add(store: "FeastStore", of: View, rows: Sequence[Mapping[str, Any]], at: float = 0) -> None:
    """As one batch, which came so many minutes after START."""
    created = created_after(START + at * MINUTE, store.offline.batches(of))
    kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    columns = {name: kinds[kind] for name, kind in (*of.entities.items(), *of.features.items())} | {EVENT_TIME: TIME}
    table = pa.Table.from_pylist([dict(each) for each in rows], schema=pa.schema(list(columns.items())))
    stored = append(
        store.offline.lake,
        of.id,
        f"{created.isoformat()}",
        prepared(of, table, created),
        times=EVENT_TIME,
        newest=max(each[EVENT_TIME] for each in rows),
        inputs=[created.isoformat()],
        source=of.source,
        now=created,
    )
    assert stored
