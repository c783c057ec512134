"""The ledger's tables, and what a line is in them.

cost_lines     one row per line; its place in the order (`start`, `id`) is what it is: written twice, it is one row, at once
               for whoever reads with FINAL
cost_usages    key, revision -> what was told, and by which booking: a usage is booked when it is here
cost_bookings  booking -> 'begun' and 'done'
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tools.costs.port import MONEY_PLACES, QUANTITY_PLACES, Component, Line, Owner, Pricing
from tools.costs.units import Resource
from tools.errors import PermanentError
from tools.values import Window

NAME = "the cost ledger"
_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""What lies beyond is a broken clock; one row of it would make a partition of its own."""
_PLACE = re.compile(r"([0-9a-f]{16})([0-9a-f]{32})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

QUANTITY = f"Decimal(38, {QUANTITY_PLACES})"
MONEY = f"Decimal(38, {MONEY_PLACES})"
MOMENT = "DateTime64(6, 'UTC')"

COLUMNS = {
    "id": "String",
    "key": "String",
    "revision": "UInt32",
    "place": "UInt32",
    "taken_back": "Bool",
    "start": MOMENT,
    "end": MOMENT,
    "component": "LowCardinality(String)",
    "part": "LowCardinality(String)",
    "model": "LowCardinality(String)",
    "version": "LowCardinality(String)",
    "team": "LowCardinality(String)",
    "experiment": "LowCardinality(String)",
    "workload": "String",
    "resource": "LowCardinality(String)",
    "sku": "LowCardinality(String)",
    "pricing": "LowCardinality(String)",
    "quantity": QUANTITY,
    "unit": "LowCardinality(String)",
    "unit_price": MONEY,
    "cost": MONEY,
    "currency": "LowCardinality(String)",
}
"""Of a line; its row has the `booking` behind them."""

TABLES = (
    f"""
    CREATE TABLE IF NOT EXISTS cost_lines ({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())}, booking String,
        INDEX by_key key TYPE bloom_filter(0.001) GRANULARITY 4)
    ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(start) ORDER BY (start, id) SETTINGS {_DURABLE}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS cost_usages (key String, revision UInt32, told String, quantity {QUANTITY}, start {MOMENT},
        end {MOMENT}, booking String)
    ENGINE = ReplacingMergeTree ORDER BY (key, revision) SETTINGS {_DURABLE}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS cost_bookings (booking String, sign Int8, at {MOMENT}, start {MOMENT}, end {MOMENT})
    ENGINE = CollapsingMergeTree(sign) ORDER BY booking SETTINGS {_DURABLE}
    """,
)


class Store(Protocol):
    """What the process of the store holds."""

    def client(self) -> Any: ...


def line_id(line: Line) -> str:
    """The same for the same line of the same usage, so that a repetition is the same row."""
    said = "\0".join((line.key, str(line.revision), str(line.place), "back" if line.taken_back else "said"))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def line_place(id: str, start: datetime) -> str:
    """The id by which a line is known outside: such ids are in the order of time."""
    return f"{microseconds(start):016x}{id}"


def place_of(said: str) -> tuple[datetime, str]:
    """When the line begins that is known outside by this, and its id. Raises PermanentError for what is no such place."""
    found = _PLACE.fullmatch(said)
    since_epoch = int(found[1], 16) if found is not None else 0
    if found is None or not microseconds(EARLIEST) <= since_epoch <= microseconds(LATEST):
        raise PermanentError("after: it is no id of a line; take the last one of the page before")
    return moment(since_epoch), found[2]


def line(found: tuple[Any, ...]) -> Line:
    """Of a row with the columns `COLUMNS`."""
    said = dict(zip(COLUMNS, found, strict=True))
    owner = {name: said.pop(name) for name in ("part", "model", "version", "team", "experiment", "workload")}
    return Line(
        key=said["key"],
        revision=said["revision"],
        place=said["place"],
        taken_back=said["taken_back"],
        resource=Resource(said["resource"]),
        sku=said["sku"],
        window=Window(start=in_utc(said["start"]), end=in_utc(said["end"])),
        quantity=said["quantity"],
        unit=said["unit"],
        unit_price=said["unit_price"],
        pricing=Pricing(said["pricing"]),
        cost=said["cost"],
        currency=said["currency"],
        owner=Owner(component=Component(said["component"]), **owner),
    )


def in_utc(moment: datetime) -> datetime:
    """The client says times of UTC without their zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def microseconds(moment: datetime) -> int:
    """Since the epoch, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(since_epoch: int) -> datetime:
    return _EPOCH + since_epoch * _MICROSECOND
