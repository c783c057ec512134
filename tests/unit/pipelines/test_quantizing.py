"""What cannot be quantised says so; forms are timed in turns, on the thread's own clock; and what a network learnt stays."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.evaluating import Labelled, contender
from pipelines.onnx_forms import convert, quantize
from pipelines.quantizing import Asked, formed
from pipelines.timing import in_turn
from tests.gateway.model_files import FEATURES, write_onnx, write_pickle
from tests.unit.pipelines.contenders import Model
from tests.unit.pipelines.contenders import contender as known
from tests.unit.pipelines.contenders import rows as labelled
from tools.errors import PermanentError
from tools.registry.port import ArtifactFormat, ModelFiles


def files(folder: Path, format: ArtifactFormat) -> ModelFiles:
    return ModelFiles(model="late", version="1", folder=folder, format=format)


def rows(count: int) -> Labelled:
    random = np.random.default_rng(1)
    columns = {feature.name: random.normal(size=count) if feature.kind == "numeric" else ["AA"] * count for feature in FEATURES}
    return Labelled(pa.table(columns), np.array(["on_time", "late"])[random.integers(0, 2, size=count)])


def test_a_pickle_is_not_quantised(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="only pt2 and ONNX can be quantised"):
        convert(files(write_pickle(tmp_path / "1"), "pickle"), tmp_path / "converted")


def test_what_multiplies_no_matrix_has_nothing_to_quantise(tmp_path: Path) -> None:
    converted = convert(files(write_onnx(tmp_path / "1"), "onnx"), tmp_path / "converted")
    calibration = [np.zeros((20, 2), np.float32), np.zeros((20, 1), np.int64)]
    for recipe in ("static", "dynamic"):
        with pytest.raises(PermanentError, match="nothing to quantise"):
            quantize(converted, tmp_path / recipe, recipe, calibration)  # type: ignore[arg-type]


def test_an_onnx_file_is_taken_as_it_is(tmp_path: Path) -> None:
    original = files(write_onnx(tmp_path / "1", slope=3.0), "onnx")
    arrays = (np.array([[1.0, 2.0]], np.float32), np.array([[1]], np.int64))
    converted = contender(convert(original, tmp_path / "converted"))
    assert converted.engine(*arrays) == pytest.approx(contender(original).engine(*arrays))


def test_too_few_rows_to_calibrate_by_are_named(tmp_path: Path) -> None:
    original = files(write_onnx(tmp_path / "1"), "onnx")
    with pytest.raises(PermanentError, match="3 rows are too few to calibrate by"):
        formed(original, {"held_out": rows(3)}, tmp_path, Asked())


def test_each_is_timed_as_often_as_the_other() -> None:
    one, other = Model(), Model()
    told: list[float] = []
    found = in_turn(
        {"one": known(one), "other": known(other)},
        labelled(40).table,
        sizes=(1, 64),
        rounds=5,
        calls=12,
        told=told.append,
    )
    assert set(found) == {1, 64}
    assert one.calls == other.calls
    assert told == [0.2, 0.4, 0.6, 0.8, 1.0]
    for timing in found[64].values():
        assert len(timing.p50s_ms) == 5
        assert 0 < timing.p50_ms <= timing.p99_ms
