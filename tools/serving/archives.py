"""A version of the registry as TorchServe wants it: a `.mar`, which is a zip with a manifest.

What goes in is the model file, made safe first (`tools.inference.archives`), `serving.json`, and our handler as a plain file:
no pickle, and no code of the model's author. The same version gives the same bytes, and their digest is part of the name:
whoever finds an archive registered by its name knows what is in it, and writing it again is no change.
"""

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from pathlib import Path

from tools.errors import PermanentError
from tools.inference.archives import UnsafeModel, cleaned
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import FILE
from tools.serving import torchserve_handler

_HANDLER = "oppen_handler.py"
_NAME = re.compile(r"[A-Za-z0-9][\w.]*(?:-[\w.]+)*", re.ASCII)
"""What TorchServe takes as the name of a model or version, in an address and as the name of a file."""
_DIGEST_DIGITS = 16


def write_archive(files: ModelFiles, store: Path) -> str:
    """Make the archive in TorchServe's folder of models; returns its name there. Blocking, and idempotent.

    Raises PermanentError for a version that cannot be put into one, or a folder that cannot be written.
    """
    content = archive(files)
    name = f"{_stem(files.model, files.version)}{hashlib.sha256(content).hexdigest()[:_DIGEST_DIGITS]}.mar"
    target = store / name
    try:
        if not target.exists():
            _write(target, content)
    except OSError as error:
        raise PermanentError(f"the model store {store} cannot be written: {error}") from error
    return name


def remove_archives(model: str, version: str, store: Path) -> None:
    """Every archive of the version. Blocking, and idempotent."""
    for path in store.glob(f"{_stem(model, version)}*.mar"):
        if is_archive_of(model, version, path.name):
            path.unlink(missing_ok=True)


def is_archive_of(model: str, version: str, name: str) -> bool:
    """Whether an archive of this name was made here, of this version."""
    stem = re.escape(_stem(model, version))
    return re.fullmatch(rf"{stem}[0-9a-f]{{{_DIGEST_DIGITS}}}\.mar", name) is not None


def archive(files: ModelFiles) -> bytes:
    """The archive itself, the same bytes every time."""
    what = f"{files.model} {files.version}"
    for part in (files.model, files.version):
        if not _NAME.fullmatch(part):
            raise PermanentError(
                f"{part!r}: TorchServe takes letters, digits, '_', '.' and '-' in the name of a model or version"
            )
    match files.format:
        case "pt2":
            path = _only(files, ".pt2")
            try:
                model = cleaned(path).read()
            except UnsafeModel as error:
                raise PermanentError(f"{what}: {error}") from error
        case "onnx":
            path = _only(files, ".onnx")
            model = path.read_bytes()
        case _:
            raise PermanentError(f"{what} is {files.format}: TorchServe is given pt2 or ONNX, and never a pickle")
    manifest = {
        "runtime": "python",
        "archiverVersion": "0.12.0",
        "model": {
            "modelName": files.model,
            "modelVersion": files.version,
            "handler": _HANDLER,
            "serializedFile": path.name,
        },
    }
    entries = {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=1).encode(),
        _HANDLER: Path(torchserve_handler.__file__).read_bytes(),
        FILE: (files.folder / FILE).read_bytes(),
        path.name: model,
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:
        for name, content in entries.items():
            # An entry that is told no time has a fixed one.
            target.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def _stem(model: str, version: str) -> str:
    return f"{model}--{version}--"


def _only(files: ModelFiles, suffix: str) -> Path:
    found = [path for path in files.folder.rglob(f"*{suffix}") if path.is_file()]
    if len(found) != 1:
        raise PermanentError(f"{files.model} {files.version}: {len(found)} files end in {suffix} where one was due")
    return found[0]


def _write(target: Path, content: bytes) -> None:
    """The name appears at once and complete, also after a crash."""
    handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).chmod(0o644)  # TorchServe may run as somebody else
        Path(unfinished).replace(target)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
