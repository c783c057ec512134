"""Our definitions of drift are Evidently's: the same scores and verdicts on the same tables, by the real library."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from agents.drift.methods import TESTS
from agents.drift.rules import CategoricalMethod, DriftRules, NumericMethod
from agents.drift.verdicts import compare
from benchmarks.drift_data import LAWS, write
from tools.tables.files import FileTable
from tools.tables.profiling import profile_together

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


def _others(path: Path, side: int) -> Path:
    """Kinds that the tables of the benchmark lack: truth, nulls, a far tail, words that are new, numbers that are few."""
    rng = np.random.default_rng([7, side])
    values = rng.normal(side * 0.2, 1, ROWS)
    columns = {
        "night": rng.random(ROWS) < (0.3, 0.36)[side],
        "gaps": pa.array(values, mask=rng.random(ROWS) < 0.2),
        "tail": np.exp(rng.normal(0, 2, ROWS)) * (1, 1.5)[side],
        "few": rng.choice([1.0, 2.0, 3.0], ROWS, p=((0.3, 0.3, 0.4), (0.35, 0.3, 0.35))[side]),
        "several": rng.integers(0, 15, ROWS).astype(float) + rng.choice([0, 1], ROWS) * side,
        "carrier": pa.array(rng.choice(("AA", "B6", "DL"), ROWS), mask=rng.random(ROWS) < 0.1),
        "gate": rng.choice((("A", "B", "C"), ("A", "B", "D"))[side], ROWS),
    }
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


Methods = tuple[NumericMethod, CategoricalMethod]
METHODS: tuple[Methods, ...] = (
    ("psi", "psi"),
    ("jensen_shannon", "jensen_shannon"),
    ("ks", "chi_squared"),
    ("wasserstein", "jensen_shannon"),
)
TABLES: dict[str, Callable[[Path, int], Path]] = {"usual": lambda path, side: write(path, side, ROWS), "others": _others}


@pytest.fixture(scope="module")
def evidently(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Methods], tuple[list[Path], dict[str, Any]]]:
    """Its scores of every pair of tables by every method, from one process: it takes seconds to start."""
    asked: dict[tuple[str, Methods], list[Path]] = {}
    for name, make in TABLES.items():
        folder = tmp_path_factory.mktemp(name)
        paths = [make(folder / f"{side}.parquet", side) for side in (0, 1)]
        asked |= {(name, methods): paths for methods in METHODS}
    words = [str(each) for (_, methods), paths in asked.items() for each in (*paths, *methods)]
    command = [sys.executable, "-m", "tests.contract.evidently_scores", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "DO_NOT_TRACK": "1"})
    answers = json.loads(done.stdout.splitlines()[-1])
    return {key: (paths, answer) for (key, paths), answer in zip(asked.items(), answers, strict=True)}


@pytest.mark.parametrize("methods", METHODS, ids="-".join)
@pytest.mark.parametrize("tables", TABLES)
def test_every_method_gives_evidently_s_numbers_for_every_kind_of_column(
    evidently: dict[tuple[str, Methods], tuple[list[Path], dict[str, Any]]], tables: str, methods: Methods
) -> None:
    paths, theirs = evidently[tables, methods]
    rules = DriftRules(numeric_method=methods[0], categorical_method=methods[1])
    reference, current = map(FileTable, paths)
    found = {each.name: each for each in compare(profile_together(reference, current).pairs.values(), rules).features}
    assert found.keys() == theirs.keys()
    for name, each in theirs.items():
        mine = found[name]
        assert mine.method == methods[mine.type in ("categorical", "boolean")], name
        assert mine.score is not None
        # On a grid the greatest distance of two distribution functions is missed by up to a bin: by a thousandth here, which is
        # up to a tenth of a p-value in its middle, and far less where it is small.
        close = 0.005 if mine.method != "ks" else 0.02 if each["score"] < 0.1 else 0.1
        assert mine.score == pytest.approx(each["score"], rel=0.02, abs=close), name
        beyond = mine.score < mine.threshold if mine.method in TESTS else mine.score >= mine.threshold
        assert beyond == each["drifted"], name
