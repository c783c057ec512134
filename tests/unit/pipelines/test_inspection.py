"""What of a candidate's files is found out before anybody measures it. The files are real ones; where files cannot be made to
fail in some way, an engine stands in."""

import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines import inspection
from pipelines.evaluating import Contender, contender
from pipelines.inspection import stage
from tests.gateway.model_files import FEATURES, MULTICLASS, SPEC, write_fixed_pt2, write_onnx, write_pickle, write_pt2
from tools.errors import PermanentError
from tools.registry.evaluations import CHECKS
from tools.registry.port import ArtifactFormat, ModelFiles
from tools.registry.serving_spec import FILE, CategoricalFeature, NumericFeature, ServingSpec

TABLE = pa.table(
    {"distance": np.linspace(-3, 3, 300), "wind": np.linspace(0, 5, 300), "carrier": pa.array(["AA", "UA", None] * 100)}
)


def files(folder: Path, format: ArtifactFormat = "pt2") -> ModelFiles:
    return ModelFiles(model="flights", version="2", folder=folder, format=format)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Contender:
    return contender(files(write_pt2(tmp_path_factory.mktemp("champion") / "1")))


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load lasts a second in a job, where nothing else waits."""
    monkeypatch.setattr(inspection, "_LOAD_S", 0.05)


def failed(folder: Path, champion: Contender, format: ArtifactFormat = "pt2") -> tuple[str, str]:
    """The check that failed last, and why; those before it have passed."""
    found = stage(files(folder, format), champion, TABLE)
    assert found.contender is None
    *before, last = found.checks
    assert [each.name for each in found.checks] == list(CHECKS[: len(found.checks)])
    assert all(each.ok for each in before)
    assert not last.ok
    return last.name, last.reason


def rewritten(folder: Path, spec: ServingSpec) -> Path:
    (folder / FILE).write_text(spec.model_dump_json())
    return folder


@pytest.mark.parametrize(("format", "write"), [("pt2", write_pt2), ("onnx", write_onnx)])
def test_a_sound_candidate_passes_every_check(
    tmp_path: Path, champion: Contender, format: ArtifactFormat, write: Callable[[Path], Path]
) -> None:
    found = stage(files(write(tmp_path / "2"), format), champion, TABLE)
    assert [(each.name, each.ok) for each in found.checks] == [(name, True) for name in CHECKS], found.checks
    assert found.contender is not None
    assert found.contender.bytes == next((tmp_path / "2").glob("model.*")).stat().st_size


def test_a_pickle_is_not_loaded(tmp_path: Path, champion: Contender) -> None:
    name, why = failed(write_pickle(tmp_path / "2"), champion, "pickle")
    assert (name, "is a pickle" in why) == ("security", True)


def test_a_pt2_with_something_that_could_run_is_not_loaded(tmp_path: Path, champion: Contender) -> None:
    folder = write_pt2(tmp_path / "2")
    with zipfile.ZipFile(folder / "model.pt2", "a") as archive:
        archive.writestr("model/data/aotinductor/model.so", b"\x7fELF")
    name, why = failed(folder, champion)
    assert (name, "compiled code" in why) == ("security", True)


def test_no_file_at_all_is_not_served(tmp_path: Path, champion: Contender) -> None:
    (tmp_path / "2").mkdir()
    assert failed(tmp_path / "2", champion, "unknown")[0] == "security"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (MULTICLASS, "it answers multiclass (a, b, c), the champion binary (on_time, late)"),
        (SPEC.model_copy(update={"features": FEATURES[:2]}), "carrier: the champion takes it"),
        (SPEC.model_copy(update={"features": (*FEATURES, NumericFeature(name="age"))}), "age: it needs it"),
        (
            SPEC.model_copy(
                update={"features": (*FEATURES[:1], CategoricalFeature(name="wind", categories=("1",)), FEATURES[2])}
            ),
            "wind: it is categorical",
        ),
    ],
)
def test_one_that_takes_or_answers_something_else_than_the_champion_is_told(
    tmp_path: Path, champion: Contender, spec: ServingSpec, why: str
) -> None:
    name, reason = failed(rewritten(write_pt2(tmp_path / "2"), spec), champion)
    assert (name, why in reason) == ("schema", True), reason


def test_without_its_spec_nobody_can_ask_it(tmp_path: Path, champion: Contender) -> None:
    folder = write_pt2(tmp_path / "2")
    (folder / FILE).unlink()
    assert failed(folder, champion)[0] == "schema"


def test_one_that_takes_only_batches_of_one_size_cannot_be_served(tmp_path: Path, champion: Contender) -> None:
    assert "dynamic batch dimension" in failed(write_fixed_pt2(tmp_path / "2"), champion)[1]


def test_one_that_answers_everything_the_same_has_learnt_nothing(tmp_path: Path, champion: Contender) -> None:
    name, why = failed(write_onnx(tmp_path / "2", slope=0.0), champion, "onnx")
    assert (name, "all the same" in why) == ("smoke", True)


class Played:
    """An engine in place of the file's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., np.ndarray]) -> None:
        monkeypatch.setattr(inspection, "load", lambda *_, **__: answer)


def scored(*arrays: Any) -> np.ndarray:
    return np.nan_to_num(arrays[0][:, 0])


def test_one_that_has_no_answer_where_the_champion_has_one_is_told(
    tmp_path: Path, champion: Contender, monkeypatch: pytest.MonkeyPatch
) -> None:
    Played(monkeypatch, lambda *arrays: np.where(arrays[0][:, 1] > 4.9, np.nan, scored(*arrays)))
    name, why = failed(write_pt2(tmp_path / "2"), champion)
    assert (name, "no finite answer" in why) == ("smoke", True)


def test_one_that_fails_on_real_rows_is_told(tmp_path: Path, champion: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*arrays: np.ndarray) -> np.ndarray:
        if (arrays[0][:, 1] > 4.9).any():
            raise RuntimeError("index out of range")
        return scored(*arrays)

    Played(monkeypatch, answer)
    name, why = failed(write_pt2(tmp_path / "2"), champion)
    assert (name, "index out of range" in why) == ("smoke", True)


def test_one_that_remembers_the_call_before_fails_under_load(
    tmp_path: Path, champion: Contender, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def answer(*arrays: np.ndarray) -> np.ndarray:
        # Sound while it is looked at alone, and drifting from then on.
        return scored(*arrays) + max(0, next(calls) - 60)

    Played(monkeypatch, answer)
    name, why = failed(write_pt2(tmp_path / "2"), champion)
    assert (name, "otherwise than alone" in why) == ("load", True)


def test_one_that_breaks_under_load_is_told(tmp_path: Path, champion: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()

    def answer(*arrays: np.ndarray) -> np.ndarray:
        if next(calls) > 60:
            raise RuntimeError("out of memory")
        return scored(*arrays)

    Played(monkeypatch, answer)
    assert failed(write_pt2(tmp_path / "2"), champion) == ("load", "under load: out of memory")


def test_a_table_that_lacks_a_feature_is_no_fault_of_the_candidate(tmp_path: Path, champion: Contender) -> None:
    with pytest.raises(PermanentError, match="wind: the table has no such column"):
        stage(files(write_pt2(tmp_path / "2")), champion, TABLE.drop_columns("wind"))
