"""Our definitions of drift are Evidently's: the same scores and verdicts on the same tables, by the real library."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.drift_data import LAWS, write

ROWS = 4_000


def side(name: str, tables: tuple[Path, Path]) -> dict[str, dict[str, Any]]:
    """In a process of its own: the library warns of its own dependencies."""
    command = [sys.executable, "-m", "benchmarks.drift_side", name, *map(str, tables), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "DO_NOT_TRACK": "1"})
    columns: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["columns"]
    return columns


def test_scores_and_verdicts_are_those_of_evidently(tmp_path: Path) -> None:
    tables = write(tmp_path / "reference.parquet", 0, ROWS), write(tmp_path / "current.parquet", 1, ROWS)
    ours, theirs = side("files", tables), side("evidently", tables)
    assert ours.keys() == theirs.keys() == LAWS.keys()
    for name, each in theirs.items():
        assert ours[name]["method"] == each["method"], name
        assert ours[name]["score"] == pytest.approx(each["score"], rel=0.02, abs=0.005), name
        assert ours[name]["drifted"] == each["drifted"], name
