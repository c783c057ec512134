"""How long raw rows take into every lake, and how much memory: `python -m benchmarks.lake [--rows N] [--server URL]`.

Each lake in a fresh process, from the same Parquet file of ten columns; prints JSON. Memory is the peak of the program itself
beyond its imports, and, of the embedded engine, the peak of the process that it runs in.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import peak_mib


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--server", default="", help="clickhouse://...: into this one, too.")
    parser.add_argument("--child", nargs=2, metavar=("SOURCE", "LAKE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = _written(Path(folder) / "rows.parquet", options.rows)
        lakes = {"parquet": f"{folder}/lake", "clickhouse, embedded": f"chdb://{folder}/engine"}
        if options.server:
            lakes["clickhouse, server"] = options.server
        found = {name: _measured(source, url) for name, url in lakes.items()}
    print(json.dumps({"rows": options.rows, "columns": 10, "lakes": found}, indent=2))


def _written(path: Path, count: int) -> Path:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(1)
    step = 100_000
    writer = None
    for start in range(0, count, step):
        size = min(step, count - start)
        columns = {
            "id": pa.array(np.arange(start, start + size)),
            "at": pa.array(np.arange(start, start + size) * 1_000_000, pa.timestamp("us", "UTC")),
            "late": pa.array(random.random(size) < 0.2),
            "city": pa.array([f"city {n}" for n in random.integers(0, 500, size)]),
            "note": pa.array([f"{n:x}" for n in random.integers(0, 2**60, size)]),
            **{f"x{n}": pa.array(random.normal(size=size)) for n in range(5)},
        }
        rows = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, rows.schema)
        writer.write_table(rows)
    if writer is not None:
        writer.close()
    return path


def _measured(source: Path, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.lake", "--child", str(source), url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _child(source: str, url: str) -> None:
    from tools.tables.memory import frugal

    frugal()
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401 - part of the baseline

    from pipelines.ingest import ingest
    from tools.lake.opening import open_lake
    from tools.sources.opening import Reading, open_source

    before = peak_mib()
    lake = open_lake(url)
    table = f"bench_{os.getpid()}"
    began = time.perf_counter()
    with lake.open(table) as opened:
        ready = time.perf_counter()
        stored = ingest(open_source(source, Reading()), opened)
    took = time.perf_counter() - ready
    began_reading = time.perf_counter()
    read = sum(rows.num_rows for rows in lake.read(table).rows())
    reading = time.perf_counter() - began_reading
    assert read == stored.rows_written, (read, stored)
    engine = _engine_mib()
    lake.close()
    found = {
        "opened_s": ready - began,
        "stored_s": took,
        "read_s": reading,
        "program_mib": peak_mib() - before,
        "engine_mib": engine,
    }
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


def _engine_mib() -> int:
    """Of the child processes, the one with the highest peak."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    # The engine is a child of the thread that drives it.
    for task in Path("/proc/self/task").iterdir():
        children += (task / "children").read_text().split()
    peaks = [
        int(line.split()[1]) // 1024
        for child in children
        for line in Path(f"/proc/{child}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return max(peaks, default=0)


if __name__ == "__main__":
    main()
