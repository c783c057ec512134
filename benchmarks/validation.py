"""Rows held to a schema: time and memory, at two sizes in processes of their own.

    python -m benchmarks.validation --json [--rows 1000000]

Ten columns (numbers, words, codes, times; one unique key, one rule between columns), one row in a hundred bad, nothing known of
earlier batches, so that outliers are told by a second look. Memory is the most that was resident beyond the imports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mib
from tools.tables.memory import frugal

_BLOCK = 250_000
_GROWTH_MIB = 64
"""A batch of four times the rows may need so much more: noise of allocators, not rows."""
_MOST_S = 30.0
"""For a million rows on two cores, with room for a busy machine."""

SCHEMA = """
table: t
columns:
- {name: id, type: integer, minimum: 0, unique: true}
- {name: n0, type: number, minimum: -10, maximum: 10}
- {name: n1, type: number, nullable: true, max_nulls: 0.2}
- {name: n2, type: number, minimum: 0}
- {name: n3, type: integer, minimum: 0, maximum: 999}
- {name: c0, type: text, allowed: [a, b, c]}
- {name: c1, type: text, max_length: 8}
- {name: code, type: text, pattern: 'AB[0-9]{8}'}
- {name: left, type: time}
- {name: came, type: time}
rules: [{name: in order, rule: came >= left}]
freshness: {column: left}
"""


def _write(path: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = np.random.default_rng(7)
    writer = None
    for start in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - start)
        number = np.arange(start, start + count)
        odd = chance.random(count) < 0.01
        left = number * 1_000_000
        table = pa.table(
            {
                "id": number,
                "n0": np.where(odd & (number % 2 == 0), 99.0, np.clip(chance.normal(size=count), -9, 9)),
                "n1": pa.array(chance.normal(size=count), mask=chance.random(count) < 0.1),
                "n2": chance.exponential(size=count),
                "n3": chance.integers(0, 1_000, count),
                "c0": chance.choice(["a", "b", "c"], count),
                "c1": chance.choice([f"k{n}" for n in range(1_000)], count),
                "code": [f"AB{n:08}" for n in number],
                "left": pa.array(left, pa.timestamp("us", "UTC")),
                "came": pa.array(np.where(odd & (number % 2 == 1), left - 1, left + 60), pa.timestamp("us", "UTC")),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _side(path: str) -> dict[str, Any]:
    frugal()
    import pandas  # noqa: F401 - part of the baseline
    import pandera.pandas  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    from pipelines.validation.running import validate
    from tools.clock import SystemClock
    from tools.quality.schema import parse
    from tools.sources.opening import Reading, open_source

    before, started, used = peak_mib(), time.perf_counter(), time.process_time()
    found, (outcome,) = validate(open_source(path, Reading()), parse(SCHEMA), SystemClock())
    seconds = time.perf_counter() - started
    assert found.ok, found.faulty
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "mib": peak_mib() - before,
        "rows": found.rows_read,
        "accepted": found.rows_written,
        "quarantined": found.rows_quarantined,
        "verdict": outcome.verdict,
    }


def _measured(rows: int, folder: Path) -> dict[str, Any]:
    path = folder / f"{rows}.parquet"
    _write(path, rows)
    command = [sys.executable, "-m", "benchmarks.validation", "--side", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    path.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(_side(given.side)))
        return
    with tempfile.TemporaryDirectory() as folder:
        quarter, whole = (_measured(rows, Path(folder)) for rows in (given.rows // 4, given.rows))
    lost = whole["rows"] - whole["accepted"] - whole["quarantined"]
    limit = round(_MOST_S * max(1.0, given.rows / 1_000_000), 1)
    checks = [
        {"name": "seconds", "value": whole["seconds"], "limit": limit, "unit": "s", "ok": whole["seconds"] <= limit},
        {
            "name": "memory that four times the rows need more",
            "value": whole["mib"] - quarter["mib"],
            "limit": _GROWTH_MIB,
            "unit": "MiB",
            "ok": whole["mib"] - quarter["mib"] <= _GROWTH_MIB,
        },
        {"name": "rows lost", "value": lost, "limit": 0, "unit": "", "ok": lost == 0},
    ]
    result = {"ok": all(each["ok"] for each in checks), "checks": checks, "quarter": quarter, "whole": whole}
    print(json.dumps(result) if given.json else "\n".join(f"{each['name']}: {each['value']} {each['unit']}" for each in checks))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
