"""The digest of a version's files is that of their copy, and none is made of it."""

import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mlflow import Outside, fresh_model
from tools.errors import PermanentError
from tools.registry import artifacts, digests
from tools.registry.digests import Digests
from tools.registry.library import opened
from tools.registry.signing import digest
from tools.registry.tracking import Tracking

FORMATS = {
    "pt2": ("MLmodel", "conda.yaml", "data/model.pt2", "extra_files/serving.json"),
    "onnx": ("MLmodel", "model.onnx", "0a1b2c-weights", "Z-weights", "serving.json", "requirements.txt"),
    "unknown": ("model.ubj", "serving.json"),
}


@dataclass(frozen=True)
class Listed:
    path: str
    is_dir: bool
    file_size: int | None


class Elsewhere:
    """A store that can only copy, such as a bucket, and tells the sizes of files."""

    def __init__(self, root: Path, *files: str) -> None:
        self.root = root
        self.copied: list[str] = []
        self.most = 0
        """Copies that there were at once."""
        for name in files:
            self.put(name, f"content of {name}")

    def put(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def list_artifacts(self, path: str | None = None) -> list[Listed]:
        folder = self.root / path if path else self.root
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return [
            Listed(str(each.relative_to(self.root)), each.is_dir(), None if each.is_dir() else each.stat().st_size)
            for each in found
        ]

    def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
        self.copied.append(artifact_path)
        target = Path(dst_path) / artifact_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / artifact_path, target)
        scratch = Path(tempfile.gettempdir())
        self.most = max(self.most, sum(path.is_file() for path in scratch.rglob("*")))
        return str(target)


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("files", FORMATS.values(), ids=FORMATS)
def test_it_is_that_of_a_copy_and_one_file_is_copied_at_a_time(files: tuple[str, ...], tmp_path: Path, scratch: Path) -> None:
    store = Elsewhere(tmp_path / "store", *files)
    artifacts.copy(store, tmp_path / "copy", "{}")
    store.copied.clear()
    store.most = 0
    assert Digests().of(store, ("flights", "1")) == digest(tmp_path / "copy")
    assert len(store.copied) == len(list((tmp_path / "copy").iterdir())) - 1
    assert (store.most, list(scratch.iterdir())) == (1, [])


def test_what_was_read_is_not_read_again_for_a_while(tmp_path: Path, scratch: Path) -> None:
    store, watch = Elsewhere(tmp_path / "store", *FORMATS["pt2"]), Watch()
    known = Digests(watch)
    first = known.of(store, ("flights", "1"))
    store.copied.clear()
    watch.now = digests._GOOD_FOR_S - 1
    assert (known.of(store, ("flights", "1")), store.copied) == (first, [])
    # Of the same size, so nobody sees it at once.
    store.put("data/model.pt2", "CONTENT of data/model.pt2")
    watch.now = digests._GOOD_FOR_S
    assert known.of(store, ("flights", "1")) != first


def test_files_that_are_seen_to_be_others_are_read_at_once(tmp_path: Path, scratch: Path) -> None:
    store = Elsewhere(tmp_path / "store", *FORMATS["onnx"])
    known = Digests(Watch())
    found = {known.of(store, ("flights", "1"))}
    store.put("model.onnx", "longer than it was before")
    found.add(known.of(store, ("flights", "1")))
    store.put("more-weights", "of it")
    found.add(known.of(store, ("flights", "1")))
    assert len(found) == 3
    store.copied.clear()
    known.of(store, ("flights", "1 of a model made anew"))
    assert store.copied


def test_so_many_are_remembered(tmp_path: Path, scratch: Path) -> None:
    store = Elsewhere(tmp_path / "store", "model.ubj", "serving.json")
    known = Digests(Watch())
    for version in range(digests._MOST + 1):
        known.of(store, ("flights", str(version)))
    store.copied.clear()
    known.of(store, ("flights", str(digests._MOST)))
    assert store.copied == []
    known.of(store, ("flights", "0"))
    assert store.copied == ["serving.json"]
    assert len(known._known) == digests._MOST


def _digest_without_scratch(uri: str, model: str, version: str, change: str) -> tuple[str, str, str]:
    """Before, again, and after one of its files was changed to another of the same size."""
    tempfile.tempdir = "/nowhere"
    try:
        tracking = Tracking(uri)
        found = [tracking.digest(model, version) for _ in range(2)]
        if change:
            path = Path(change)
            path.write_text(path.read_text().upper())
        return found[0], found[1], tracking.digest(model, version)
    finally:
        tempfile.tempdir = None


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.slow)])
def uri(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue("mlflow_uri" if request.param == "embedded" else "mlflow_server")
    return found


def _path(uri: str, model: str, version: str) -> str:
    client: Any = opened(uri).MlflowClient(tracking_uri=uri, registry_uri=uri)
    source = client.get_model_version_download_uri(model, version)
    return str(Path(source.removeprefix("file://")) / "model.onnx") if source.startswith("file:") else ""


@pytest.mark.xdist_group("mlflow")
def test_in_mlflow_it_needs_no_room_at_all(uri: str, mlflow_process: ProcessPoolExecutor, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name in FORMATS["onnx"]:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    model = fresh_model()
    version = Outside(mlflow_process, uri).publish(model, folder)
    for name in ("MLmodel", "requirements.txt"):
        (folder / name).unlink()
    wanted = digest(folder)
    place = mlflow_process.submit(_path, uri, model, version).result(60)
    first, second, changed = mlflow_process.submit(_digest_without_scratch, uri, model, version, place).result(60)
    assert (first, second) == (wanted, wanted)
    assert (changed != wanted) == bool(place), "on this machine a change is seen at once"


class Local(Elsewhere):
    """In a folder of this machine, as MLflow tells it."""

    def get_local_path(self, artifact_path: str) -> str:
        return str(self.root / artifact_path)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    store = Local(tmp_path / "store", "serving.json")
    os.mkfifo(tmp_path / "store" / "model.pt2")
    with pytest.raises(PermanentError, match="no plain file"):
        Digests().of(store, ("flights", "1"))
