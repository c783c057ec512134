"""Drift of two tables beside Evidently's `DataDriftPreset`, on the same files in one run; and of ten million rows in the store.

    python -m benchmarks.drift --json

Both sides run one after the other, each in a process of its own. Time: from Parquet files to verdicts (`files`), and from
tables in memory to verdicts (`held`: pandas frames for Evidently, Arrow tables for us); Evidently once, we in the median of
several. Memory: the most that was resident while going from files to verdicts, less what was resident when everything had been
imported; the whole is told beside it. Verdicts are compared like with like: a score that reaches Evidently's default threshold.
Ours proper (`claimed`) asks for significance too.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from simulations.checks import Checks
from simulations.stage import Stage

SIZES = (100_000, 1_000_000)
LEAST_FASTER = 300.0
MOST_MEMORY = 0.1
WITHIN = (0.02, 0.005)
"""A score may be off by so much of Evidently's, or by so much."""
TIMES = 7
STORE_ROWS = (1_000_000, 10_000_000)
MOST_STORE_S = 5.0
MOST_STORE_GROWTH = 1.25
"""Memory of the engine's process at the larger size over the smaller; it holds caches of fixed size."""


def side(name: str, reference: Path, current: Path, times: int = 1) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.drift_side", name, str(reference), str(current), str(times)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "DO_NOT_TRACK": "1"})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def against_evidently(stage: Stage, checks: Checks, folder: Path, rows: int) -> dict[str, Any]:
    from benchmarks.drift_data import write

    reference, current = (write(folder / f"{name}.parquet", place, rows) for place, name in enumerate(("reference", "current")))
    files, held = side("files", reference, current, TIMES), side("held", reference, current, TIMES)
    stage.say(f"{rows:,} rows: ours {files['files_s']:.3f} s from files, {held['held_s']:.3f} s in memory")
    peer = side("evidently", reference, current)
    stage.say(f"{rows:,} rows: Evidently {peer['files_s']:.1f} s from files, {peer['held_s']:.1f} s in memory")

    verdicts = sum(
        files["columns"][name]["method"] == each["method"] and files["columns"][name]["drifted"] == each["drifted"]
        for name, each in peer["columns"].items()
    )
    checks.equal(f"same_verdict_at_{rows}", verdicts, len(peer["columns"]))
    far = max(_off(files["columns"][name]["score"], each["score"]) for name, each in peer["columns"].items())
    checks.at_most(f"scores_off_at_{rows}", round(far, 4), 1.0, f"of what is allowed ({WITHIN[0]:.0%} or {WITHIN[1]})")
    grown, theirs = files["peak_mib"] - files["baseline_mib"], peer["peak_mib"] - peer["baseline_mib"]
    times = {"files": peer["files_s"] / files["files_s"], "held": peer["held_s"] / held["held_s"]}
    if rows == max(SIZES):
        # In memory, as the preset takes its tables.
        checks.at_least(f"faster_at_{rows}", round(times["held"], 1), LEAST_FASTER, "times")
        checks.at_most(f"memory_at_{rows}", round(grown / theirs, 3), MOST_MEMORY, "of Evidently's")
    return {
        "evidently": peer,
        "ours": files,
        "ours_in_memory": {key: value for key, value in held.items() if key != "columns"},
        "faster": times,
        "memory": grown / theirs,
        "whole_memory": files["peak_mib"] / peer["peak_mib"],
    }


def _off(ours: float, theirs: float) -> float:
    """1 is the most that is allowed."""
    return abs(ours - theirs) / max(WITHIN[0] * theirs, WITHIN[1])


async def in_the_store(stage: Stage, checks: Checks, sizes: tuple[int, ...]) -> dict[str, Any]:
    from benchmarks.drift_store import measure

    found: dict[str, Any] = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as home:
            found[str(rows)] = await measure(Path(home), rows, TIMES)
        stage.say(f"{rows:,} rows in the store: {found[str(rows)]['compare_s']:.2f} s")
    small, large = (found[str(rows)] for rows in (sizes[0], sizes[-1]))
    checks.at_most(f"store_at_{sizes[-1]}", round(large["compare_s"], 2), MOST_STORE_S, "s")
    growth = large["compare_s"] / small["compare_s"] / (sizes[-1] / sizes[0])
    checks.at_most("store_time_growth", round(growth, 2), 1.0, "of the growth of the rows")
    memory = large["child_peak_mib"] / small["child_peak_mib"]
    checks.at_most("store_memory_growth", round(memory, 2), MOST_STORE_GROWTH, "times")
    return found


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.drift", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
    options = parser.parse_args()
    if importlib.util.find_spec("evidently") is None:
        print("Evidently is not installed: uv pip install -c constraints.txt -e '.[evidently]'", file=sys.stderr)
        return 2
    stage, checks = Stage(), Checks()
    details: dict[str, Any] = {"store": asyncio.run(in_the_store(stage, checks, STORE_ROWS))}
    for rows in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            details[str(rows)] = against_evidently(stage, checks, Path(folder), rows)
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
