"""The backends of the lake's port, and batches to put into them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tools.lake.parquet import ParquetLake
from tools.lake.port import QUARANTINE, Lake, LakeReader, LakeTable, Receipt

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(params=["parquet"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return ParquetLake(tmp_path / "lake")


def receipt(key: str, number: int = 0, **more: Any) -> Receipt:
    """Of the batch that came so many minutes after START."""
    return Receipt(key=key, source="trips", name=key, at=START + timedelta(minutes=number), **more)


def numbers(*values: int | None) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def misfits(*reasons: str) -> pa.Table:
    rows = [(place, reason, json.dumps({"x": reason})) for place, reason in enumerate(reasons, 1)]
    return pa.Table.from_pylist([dict(zip(QUARANTINE.names, row, strict=True)) for row in rows], schema=QUARANTINE)


def store(
    table: LakeTable, key: str, *chunks: pa.Table, number: int = 0, reasons: tuple[str, ...] = (), said: str = "", **more: Any
) -> bool:
    staged = table.stage()
    for chunk in chunks:
        staged.write(chunk)
    if reasons:
        staged.quarantine(misfits(*reasons))
    if said:
        staged.describe(said)
    rows = sum(chunk.num_rows for chunk in chunks)
    return staged.commit(receipt(key, number, rows=rows, quarantined=len(reasons), **more))


def rows(table: LakeReader, *keys: str) -> list[dict[str, Any]]:
    return [row for batch in table.rows(keys or None) for row in batch.to_pylist()]


def values(table: LakeReader, *keys: str) -> list[Any]:
    return [row["x"] for row in rows(table, *keys)]
