"""What is taken from a version's artifacts, also when whoever made the listing means harm."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import PermanentError
from tools.registry import artifacts
from tools.registry.port import ArtifactFormat


@dataclass(frozen=True)
class Listed:
    path: str
    is_dir: bool = False


class FolderRepository:
    """A folder, listed as MLflow lists it."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        self.root = root
        for name in files:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"content of {name}")

    def list_artifacts(self, path: str | None = None) -> list[Listed]:
        folder = self.root / path if path else self.root
        if not folder.is_dir():
            return []
        return [Listed(str(found.relative_to(self.root)), found.is_dir()) for found in sorted(folder.iterdir())]

    def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
        target = Path(dst_path) / artifact_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / artifact_path, target)
        return str(target)


class LyingRepository(FolderRepository):
    """Lists what its root does not hold."""

    def __init__(self, root: Path, *lies: str) -> None:
        super().__init__(root, [])
        self._lies = lies

    def list_artifacts(self, path: str | None = None) -> list[Listed]:
        return [Listed(lie) for lie in self._lies] if path is None else []


PYTORCH = ("MLmodel", "conda.yaml", "requirements.txt", "data/model.pt2", "extra_files/serving.json")
ONNX = ("MLmodel", "conda.yaml", "model.onnx", "0a1b2c-weights", "serving.json")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (PYTORCH, "pt2"),
        (ONNX, "onnx"),
        (("MLmodel", "data/model.pth", "data/pickle_module_info.txt"), "pickle"),
        (("MLmodel", "model.pkl"), "pickle"),
        (("model.pt2",), "pt2"),
        (("MLmodel", "model.ubj"), "unknown"),
        (("data/model.pt2", "data/model.pth"), "unknown"),
        ((), "unknown"),
    ],
)
def test_the_format_is_told_from_the_files(files: tuple[str, ...], expected: ArtifactFormat, tmp_path: Path) -> None:
    assert artifacts.detect(FolderRepository(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (PYTORCH, {"model.pt2": "data/model.pt2", "serving.json": "extra_files/serving.json"}),
        (ONNX, {"model.onnx": "model.onnx", "0a1b2c-weights": "0a1b2c-weights", "serving.json": "serving.json"}),
        (("MLmodel", "data/model.pth"), {"model.pth": "data/model.pth"}),
        (("MLmodel", "model.ubj"), {}),
        (("serving.json",), {"serving.json": "serving.json"}),  # a language model, which a server answers for
    ],
)
def test_a_copy_holds_the_model_what_it_needs_and_its_spec(
    files: tuple[str, ...], expected: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "models" / "m" / "1"
    repository = FolderRepository(tmp_path / "artifacts", files)
    artifacts.copy(repository, target, "{}")
    found = {path.name: path.read_text() for path in target.iterdir() if path.name != artifacts.ORIGIN}
    assert found == {name: f"content of {source}" for name, source in expected.items()}
    assert [path.name for path in target.parent.iterdir()] == ["1"], "nothing is left beside it"
    assert artifacts.format_of(target) == artifacts.detect(repository)


def test_a_copy_replaces_another(tmp_path: Path) -> None:
    target = tmp_path / "m" / "1"
    artifacts.copy(FolderRepository(tmp_path / "a", PYTORCH), target, "first")
    artifacts.copy(FolderRepository(tmp_path / "b", ONNX), target, "second")
    assert artifacts.format_of(target) == "onnx"
    assert (target / artifacts.ORIGIN).read_text() == "second"


def test_a_failed_copy_leaves_nothing(tmp_path: Path) -> None:
    repository = LyingRepository(tmp_path / "artifacts", "model.pt2")
    with pytest.raises(FileNotFoundError):
        artifacts.copy(repository, tmp_path / "m" / "1", "{}")
    assert list((tmp_path / "m").iterdir()) == []


def test_what_a_killed_fetch_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "m" / ".1.999999999.abcd"
    left.mkdir(parents=True)
    artifacts.copy(FolderRepository(tmp_path / "artifacts", PYTORCH), tmp_path / "m" / "1", "{}")
    assert not left.exists()


@pytest.mark.parametrize("lie", ["../secret.pt2", "/etc/secret.onnx", "data/../../secret.pt2"])
def test_an_artifact_that_points_out_of_its_version_is_refused(lie: str, tmp_path: Path) -> None:
    (tmp_path / "secret.pt2").write_text("secret")
    with pytest.raises(PermanentError, match="points out"):
        artifacts.copy(LyingRepository(tmp_path / "artifacts", lie), tmp_path / "m" / "1", "{}")


def test_a_link_in_the_artifacts_is_not_followed_out_of_them(tmp_path: Path) -> None:
    class LinkingRepository(LyingRepository):
        def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
            link = Path(dst_path) / artifact_path
            link.symlink_to(tmp_path / "secret.pt2")
            return str(link)

    (tmp_path / "secret.pt2").write_text("secret")
    with pytest.raises(PermanentError, match="no plain file"):
        artifacts.copy(LinkingRepository(tmp_path / "artifacts", "model.pt2"), tmp_path / "m" / "1", "{}")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".hidden", "a\nb", "a'b", "a:b", "x" * 201, "\x00"])
def test_names_that_are_no_plain_path_segment_are_refused(name: str) -> None:
    with pytest.raises(PermanentError):
        artifacts.safe_name("model", name)


@given(st.text(max_size=30))
def test_a_safe_name_stays_in_its_folder(name: str) -> None:
    try:
        safe = artifacts.safe_name("model", name)
    except PermanentError:
        return
    assert (Path("/models") / safe).resolve().parent == Path("/models")
