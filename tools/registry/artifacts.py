"""What is taken from a version's artifacts: the one model file that can be served, what it needs beside it, and `serving.json`.

A listing of artifacts comes from outside. Nothing in it decides where a file is written: files are picked by their place and
suffix, and get names of ours, or plain names in one folder. Runs in the child process that holds MLflow; nothing here runs or
unpickles what it copies.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from tools.errors import PermanentError
from tools.registry.port import ArtifactFormat
from tools.registry.serving_spec import FILE

ORIGIN = "origin.json"
"""Which version the copy is of: the registry counts from 1 again when a model is deleted and made anew."""

_FORMATS: dict[str, ArtifactFormat] = {
    ".pt2": "pt2",
    ".onnx": "onnx",
    ".pth": "pickle",
    ".pt": "pickle",
    ".pkl": "pickle",
    ".joblib": "pickle",
}
_FOLDERS = ("", "data")
"""Where MLflow's flavours put the model file."""
_PLACES = (*_FOLDERS, "extra_files")
_MOST_NOTE_BYTES = 64 << 20
"""A thousand features on grids are 10 MB."""
_SPECS = (FILE, f"extra_files/{FILE}")
_DESCRIPTIONS = (".yaml", ".yml", ".json", ".txt", ".md", ".py")
"""Beside an ONNX file, what is no part of it."""


class Repository(Protocol):
    """MLflow's artifact repository, as far as it is used here."""

    def list_artifacts(self, path: str | None = None) -> Iterable[Any]:
        """Entries with `path`, relative to the root, `is_dir`, and `file_size` in bytes where it is known."""
        ...

    def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
        """The path of the local copy."""
        ...


def safe_name(kind: str, name: str) -> str:
    """The name, when it is one plain path segment; raises PermanentError otherwise."""
    plain = (
        name
        and len(name.encode()) <= 200
        and name.isprintable()
        and not name.startswith(".")
        and not set(name) & set("/\\:'\"")
    )
    if not plain:
        raise PermanentError(f"{name!r} cannot be the name of a {kind}")
    return name


def detect(repository: Repository) -> ArtifactFormat:
    """`unknown` when there is no model file that is known, or more than one."""
    return _model_file(_listing(repository))[0]


def copy(repository: Repository, target: Path, origin: str) -> ArtifactFormat:
    """Make `target` a complete folder of the version, at once: it is never seen half-written, also after a crash or power cut.

    A copy that is there is replaced.
    """
    listing = _listing(repository)
    format_, model = _model_file(listing)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    scratch = _beside(target)
    try:
        ready = scratch / "ready"
        ready.mkdir(parents=True)
        for source, name in _wanted(repository, listing, format_, model):
            download(repository, source, scratch, ready / name)
        (ready / ORIGIN).write_text(origin)
        _make_durable(ready)
        if target.exists():
            target.rename(scratch / "old")
        ready.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return format_


def note(repository: Repository, name: str) -> bytes | None:
    """A small file that lies beside the model; None where there is none. Raises PermanentError for one that is too large."""
    listing = [entry for folder in (None, "extra_files") for entry in repository.list_artifacts(folder) if not entry.is_dir]
    found = next((entry for entry in listing if entry.path in (name, f"extra_files/{name}")), None)
    return _read(repository, found) if found is not None else None


def _read(repository: Repository, found: Any) -> bytes:
    if (found.file_size or 0) > _MOST_NOTE_BYTES:
        raise PermanentError(f"{found.path} has {found.file_size:,} bytes: more than {_MOST_NOTE_BYTES:,} are not read")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "note"
        download(repository, found.path, Path(scratch), target)
        return target.read_bytes()


def document(repository: Repository, path: str) -> bytes | None:
    """A small file of a run; None where there is none. Raises PermanentError for one that is too large."""
    folder = str(PurePosixPath(path).parent)
    found = next((entry for entry in repository.list_artifacts(folder) if entry.path == path and not entry.is_dir), None)
    return _read(repository, found) if found is not None else None


def files(repository: Repository) -> tuple[tuple[str, str, int | None], ...]:
    """What `copy` would copy, in the order of names: the name there, the artifact, and its bytes where the store tells them."""
    entries = [entry for folder in _PLACES for entry in repository.list_artifacts(folder or None) if not entry.is_dir]
    sizes = {entry.path: entry.file_size for entry in entries}
    listing = _listing(repository)
    wanted = {name: source for source, name in _wanted(repository, listing, *_model_file(listing))}
    return tuple((name, source, sizes.get(source)) for name, source in sorted(wanted.items()))


def format_of(folder: Path) -> ArtifactFormat:
    """Of a folder that `copy` made."""
    return _model_file([path.name for path in folder.iterdir()])[0]


def _listing(repository: Repository) -> list[str]:
    """The files in the folders where models are."""
    return [entry.path for folder in _FOLDERS for entry in repository.list_artifacts(folder or None) if not entry.is_dir]


def _model_file(listing: list[str]) -> tuple[ArtifactFormat, str]:
    found = [(format_, path) for path in listing if (format_ := _FORMATS.get(PurePosixPath(path).suffix))]
    return found[0] if len(found) == 1 else ("unknown", "")


def _wanted(repository: Repository, listing: list[str], format_: ArtifactFormat, model: str) -> Iterable[tuple[str, str]]:
    """Artifacts, and what they are called in our copy."""
    if format_ != "unknown":
        yield model, f"model{PurePosixPath(model).suffix}"
    if format_ == "onnx":
        folder = PurePosixPath(model).parent
        for path in map(PurePosixPath, listing):
            if path.parent == folder and str(path) != model and path.name != "MLmodel" and path.suffix not in _DESCRIPTIONS:
                # Large weights are in files of their own, which the model knows by their names.
                yield str(path), safe_name("file", path.name)
    extra = [entry.path for entry in repository.list_artifacts("extra_files") if not entry.is_dir]
    spec = next((path for path in _SPECS if path in (*listing, *extra)), None)
    if spec is not None:
        yield spec, FILE


def inside(source: str) -> str:
    """The path of an artifact; raises PermanentError where it leads elsewhere."""
    if PurePosixPath(source).is_absolute() or ".." in PurePosixPath(source).parts:
        raise PermanentError(f"the artifact {source!r} points out of its version")
    return source


def download(repository: Repository, source: str, scratch: Path, target: Path) -> None:
    """Raises PermanentError for what is no plain file."""
    inbox = scratch / "inbox"
    inbox.mkdir(exist_ok=True)
    copied = Path(repository.download_artifacts(inside(source), str(inbox)))
    if copied.is_symlink() or not copied.is_file() or not copied.resolve().is_relative_to(inbox.resolve()):
        raise PermanentError(f"the artifact {source!r} is no plain file")
    copied.rename(target)


def _beside(target: Path) -> Path:
    return target.parent / f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}"


def _remove_leftovers(target: Path) -> None:
    """Of fetches that were killed."""
    for path in target.parent.glob(f".{target.name}.*"):
        owner = path.name.split(".")[-2]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _make_durable(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
