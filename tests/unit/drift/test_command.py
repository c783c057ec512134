"""`oppen drift compare`, as somebody types it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from typer.testing import CliRunner

from api.cli_drift import drift
from api.terminal import Refused, WrongUse

ROWS = 2_000


def _write(path: Path, seed: int, shift: float = 0.0) -> Path:
    rng = np.random.default_rng(seed)
    at = 1_767_225_600_000_000 + rng.integers(0, 86_400_000_000, ROWS)
    columns = {
        "wind": rng.normal(shift, 1, ROWS),
        "carrier": rng.choice(["AA", "B6"], ROWS),
        "night": rng.random(ROWS) < 0.5,
        "at": pa.array(at, pa.timestamp("us", "UTC")),
        "gust": pa.array(rng.normal(0, 1, ROWS), mask=rng.random(ROWS) < 0.3),
    }
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def test_it_answers_with_one_object(tmp_path: Path) -> None:
    files = _write(tmp_path / "a.parquet", 1), _write(tmp_path / "b.parquet", 2, shift=0.3)
    done = CliRunner().invoke(drift, ["compare", "--reference", str(files[0]), "--current", str(files[1]), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["dataset_drift"], found["cause"], found["left_out"]) == (False, "covariate_drift", {})
    assert (found["features"][0]["name"], found["features"][0]["drifted"]) == ("wind", True)
    assert sum(each["drifted"] for each in found["features"]) == 1
    assert {each["name"]: each["type"] for each in found["features"]} == {
        "wind": "numeric",
        "carrier": "categorical",
        "night": "boolean",
        "at": "datetime",
        "gust": "numeric",
    }
    wanted = {"name", "type", "method", "score", "p_value", "drifted", "n_reference", "n_current"}
    assert wanted <= found["features"][0].keys()
    assert found["seconds"] > 0


def test_methods_are_chosen_by_name(tmp_path: Path) -> None:
    files = _write(tmp_path / "a.parquet", 1), _write(tmp_path / "b.parquet", 2, shift=0.3)
    command = ["compare", "--reference", str(files[0]), "--current", str(files[1]), "--json"]
    done = CliRunner().invoke(drift, [*command, "--method", "ks", "--method", "psi", "--method", "chi_squared"])
    found = {each["name"]: each["method"] for each in json.loads(done.stdout)["features"]}
    assert found == {"wind": "psi", "gust": "psi", "at": "psi", "carrier": "chi_squared", "night": "chi_squared"}
    done = CliRunner().invoke(drift, [*command, "--method", "euclid"])
    assert isinstance(done.exception, WrongUse)
    assert "wasserstein, jensen_shannon, psi, ks, chi_squared" in str(done.exception)


def test_without_json_it_is_for_people(tmp_path: Path) -> None:
    file = str(_write(tmp_path / "a.parquet", 1))
    done = CliRunner().invoke(drift, ["compare", "--reference", file, "--current", file])
    assert "The dataset has not drifted: 0% of its features moved" in done.stdout
    assert "counts as drift of the dataset from 50% on" in done.stdout


def test_the_only_common_column_that_changed_its_type_is_named_with_both(tmp_path: Path) -> None:
    for name, values in (("a", [1, 2]), ("b", ["1", "2"])):
        pyarrow.parquet.write_table(pa.table({"x": values, name: values}), tmp_path / f"{name}.parquet")
    files = ["--reference", str(tmp_path / "a.parquet"), "--current", str(tmp_path / "b.parquet")]
    done = CliRunner().invoke(drift, ["compare", *files])
    assert isinstance(done.exception, Refused)
    assert "can be compared: x (int64 in the reference, string in the current table); " in str(done.exception)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    file = str(_write(tmp_path / "a.parquet", 1))
    done = CliRunner().invoke(drift, ["compare", "--reference", file, "--current", str(tmp_path / "none.csv")])
    assert isinstance(done.exception, Refused)
    assert "none.csv: there is no such file" in str(done.exception)
