"""One side of the comparison of `benchmarks.drift`, in a process of its own so that its memory is its own.

    python -m benchmarks.drift_side (evidently | files | held) REFERENCE CURRENT TIMES

Prints one JSON object. What is imported before the tables are touched is the baseline that memory is counted from.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mib
from tools.tables.memory import frugal

Measured = dict[str, dict[str, Any]]
"""By column: score, method, threshold, and whether the score reaches it."""


class Held:
    """A table in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self._table = pyarrow.parquet.read_table(path)
        self.schema = self._table.schema

    def batches(self) -> Iterator[Any]:
        return iter(self._table.to_batches())


def evidently(reference: Path, current: Path, _times: int) -> dict[str, Any]:
    # Of its own dependencies; what we import warns of nothing.
    warnings.simplefilter("ignore")
    import pandas as pd
    import pyarrow.parquet  # noqa: F401 - what pandas imports to read Parquet is no memory of the comparison
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    from benchmarks.drift_data import CATEGORIES

    baseline, started = peak_mib(), time.perf_counter()
    ours, theirs = pd.read_parquet(reference), pd.read_parquet(current)
    read = time.perf_counter()
    numbers = [name for name in ours.columns if name not in CATEGORIES]
    shape = DataDefinition(numerical_columns=numbers, categorical_columns=list(CATEGORIES))
    report = Report([DataDriftPreset()])
    metrics = report.run(Dataset.from_pandas(theirs, shape), Dataset.from_pandas(ours, shape)).dict()["metrics"]
    ended = time.perf_counter()
    columns: Measured = {}
    claimed = 0
    for metric in metrics:
        config, value = metric["config"], metric["value"]
        if config["type"].endswith("ValueDrift"):
            columns[config["column"]] = {
                "score": float(value),
                "method": "wasserstein" if config["method"].startswith("Wasserstein") else "jensen_shannon",
                "drifted": float(value) >= config["threshold"],
            }
        elif config["type"].endswith("DriftedColumnsCount"):
            claimed = int(value["count"])
    if claimed != sum(each["drifted"] for each in columns.values()):
        raise RuntimeError(f"Evidently says that {claimed} columns drifted, which its scores do not: {columns}")
    return {"files_s": ended - started, "held_s": ended - read, "columns": columns, "baseline_mib": baseline}


def _ours(open_table: Callable[[Path], Any], reference: Path, current: Path, times: int, name: str) -> dict[str, Any]:
    """`times` comparisons; opening the tables is part of each where they are files."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401 - imported before the baseline, as for the other side

    from agents.drift.rules import DriftRules
    from agents.drift.verdicts import compare
    from tools.tables.profiling import profile_together

    baseline = peak_mib()
    held = None if name == "files" else (open_table(reference), open_table(current))
    took = []
    for _ in range(times):
        started = time.perf_counter()
        both = held or (open_table(reference), open_table(current))
        found = compare(profile_together(*both).pairs.values(), DriftRules())
        took.append(time.perf_counter() - started)
    columns: Measured = {
        each.name: {
            "score": each.score,
            "method": each.method,
            "drifted": each.score is not None and each.score >= each.threshold,
            "claimed": each.drifted,
        }
        for each in found.features
    }
    return {
        f"{name}_s": statistics.median(took),
        f"{name}_first_s": took[0],
        "columns": columns,
        "baseline_mib": baseline,
    }


def files(reference: Path, current: Path, times: int) -> dict[str, Any]:
    from tools.tables.files import FileTable

    return _ours(FileTable, reference, current, times, "files")


def held(reference: Path, current: Path, times: int) -> dict[str, Any]:
    return _ours(Held, reference, current, times, "held")


SIDES: dict[str, Callable[[Path, Path, int], dict[str, Any]]] = {"evidently": evidently, "files": files, "held": held}


def main() -> None:
    if sys.argv[1] != "evidently":
        frugal()
    side, reference, current, times = sys.argv[1:]
    found = SIDES[side](Path(reference), Path(current), int(times))
    print(json.dumps({**found, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
