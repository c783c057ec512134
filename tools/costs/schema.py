"""The ledger's tables, and how a line is written in a row.

A row's place in the order (`start`, `id`) is what it is: written twice, it is one row, at once for whoever reads with FINAL.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any, Protocol

from tools.costs.port import MONEY_PLACES, QUANTITY_PLACES, Component, Line, Owner, Pricing
from tools.costs.units import Resource
from tools.values import Window

NAME = "the cost ledger"
_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"

_COLUMNS = (
    ("id", "String"),
    ("key", "String"),
    ("revision", "UInt32"),
    ("place", "UInt32"),
    ("taken_back", "Bool"),
    ("start", "DateTime64(6, 'UTC')"),
    ("end", "DateTime64(6, 'UTC')"),
    ("component", "LowCardinality(String)"),
    ("part", "LowCardinality(String)"),
    ("model", "LowCardinality(String)"),
    ("version", "LowCardinality(String)"),
    ("team", "LowCardinality(String)"),
    ("experiment", "LowCardinality(String)"),
    ("workload", "String"),
    ("resource", "LowCardinality(String)"),
    ("sku", "LowCardinality(String)"),
    ("pricing", "LowCardinality(String)"),
    ("quantity", f"Decimal(38, {QUANTITY_PLACES})"),
    ("unit", "LowCardinality(String)"),
    ("unit_price", f"Decimal(38, {MONEY_PLACES})"),
    ("cost", f"Decimal(38, {MONEY_PLACES})"),
    ("currency", "LowCardinality(String)"),
)
LINE = tuple(name for name, _ in _COLUMNS)

TABLES = (
    f"""
    CREATE TABLE IF NOT EXISTS cost_lines ({", ".join(f"{name} {kind}" for name, kind in _COLUMNS)},
        INDEX by_key key TYPE bloom_filter(0.001) GRANULARITY 4)
    ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(start) ORDER BY (start, id) SETTINGS {_DURABLE}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS cost_usages (key String, revision UInt32, told String, first DateTime64(6, 'UTC'))
    ENGINE = ReplacingMergeTree ORDER BY (key, revision) SETTINGS {_DURABLE}
    """,
)


class Store(Protocol):
    """What the process of the store holds."""

    def client(self) -> Any: ...


def line_id(line: Line) -> str:
    """The same for the same line of the same usage, so that a repetition is the same row."""
    said = "\0".join((line.key, str(line.revision), str(line.place), "back" if line.taken_back else "said"))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def row(line: Line) -> tuple[Any, ...]:
    owner = line.owner
    return (
        line_id(line),
        line.key,
        line.revision,
        line.place,
        line.taken_back,
        line.window.start,
        line.window.end,
        owner.component.value,
        owner.part,
        owner.model,
        owner.version,
        owner.team,
        owner.experiment,
        owner.workload,
        line.resource.value,
        line.sku,
        line.pricing.value,
        line.quantity,
        line.unit,
        line.unit_price,
        line.cost,
        line.currency,
    )


def line(found: tuple[Any, ...]) -> Line:
    """Of a row with the columns `LINE`."""
    said = dict(zip(LINE, found, strict=True))
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
