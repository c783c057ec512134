"""A candidate is loaded in a process of its own, without keys, and what it does to that process is a finding about it."""

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.apart import Order, found_in, measured_apart
from tests.gateway.model_files import write_pickle, write_pt2
from tools.errors import PermanentError
from tools.predictions.port import LABEL
from tools.registry.evaluations import KEY
from tools.registry.port import ArtifactFormat, ModelFiles

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return files(write_pt2(tmp_path_factory.mktemp("champion") / "1"))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    count = 400
    columns = {
        "distance": np.linspace(-3, 3, count),
        "wind": np.linspace(0, 5, count),
        "carrier": pa.array(["AA", "UA"] * (count // 2)),
        LABEL: pa.array(["on_time", "late"] * (count // 2)),
    }
    path = tmp_path / "held_out.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def files(folder: Path, format: ArtifactFormat = "pt2") -> ModelFiles:
    return ModelFiles(model="flights", version=folder.name, folder=folder, format=format)


def order(candidate: ModelFiles, champion: ModelFiles, rows: Path, **more: object) -> Order:
    given = {"candidate": candidate, "champion": champion, "parts": {"held_out": rows}, "label": LABEL, "load_seconds": 0.1}
    return Order.model_validate({**given, **more})


def test_a_sound_candidate_is_measured_by_a_process_that_has_no_key(
    champion: ModelFiles, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sesame")
    monkeypatch.setenv("PYTHONSTARTUP", "sesame")
    found = measured_apart(order(files(write_pt2(tmp_path / "2")), champion, rows, memory_bytes=8 << 30), tmp_path)
    assert [check.name for check in found.staging if check.ok] == ["security", "schema", "smoke", "load"]
    assert found.spec is not None
    assert "accuracy" in {fact.name for fact in found.facts.compared}


def test_a_candidate_whose_file_is_a_pickle_is_never_loaded(champion: ModelFiles, rows: Path, tmp_path: Path) -> None:
    mark = tmp_path / "loaded"
    folder = write_pickle(tmp_path / "2")
    (folder / "model.pth").write_bytes(pickle.dumps(Trap(mark)))
    found = measured_apart(order(files(folder, "pickle"), champion, rows), tmp_path)
    (check,) = found.staging
    assert (check.name, check.ok, "pickle" in check.reason) == ("security", False, True)
    assert not mark.exists()
    assert found.facts.compared == ()


class Trap:
    """Whoever unpickles it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> object:
        return os.mkdir, (str(self._mark),)


@pytest.mark.parametrize(("phase", "check"), [("security", "security"), ("smoke", "smoke")])
def test_a_candidate_that_ends_the_process_has_failed_a_check(phase: str, check: str, tmp_path: Path) -> None:
    (tmp_path / "phase").write_text(phase)
    (found,) = found_in(tmp_path, -11).staging
    assert (found.name, found.ok, "SIGSEGV" in found.reason) == (check, False, True)
    assert "code 1" in found_in(tmp_path, 1).staging[0].reason


def test_a_process_that_takes_more_than_it_is_given_is_ended(champion: ModelFiles, rows: Path, tmp_path: Path) -> None:
    """Before it has come to the candidate, so it is not held against that."""
    with pytest.raises(PermanentError, match="SIGXCPU while it dealt with the champion"):
        measured_apart(order(champion, champion, rows, cpu_seconds=1), tmp_path)


def test_a_champion_that_cannot_be_loaded_is_no_fault_of_the_candidate(rows: Path, tmp_path: Path) -> None:
    broken = write_pt2(tmp_path / "1")
    (broken / "model.pt2").write_bytes(b"nothing of the kind")
    with pytest.raises(PermanentError):
        measured_apart(order(files(write_pt2(tmp_path / "2")), files(broken), rows), tmp_path)
