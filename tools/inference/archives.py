"""A `pt2` file made safe before torch sees it.

torch.export's format is meant to hold a graph and weights, but its loader trusts the file: shape expressions go through
sympy's `eval`, guards and names are pasted into generated Python, operator names are looked up by `getattr` from `torch`
downwards (`torch.os.system` would be found), and weights, constants or sample inputs may be pickles. So the archive is
written anew from what is allowed, and only that is loaded: what was checked is what runs, whatever a second zip reader would
have made of the file.
"""

import io
import json
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

_MODEL = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_SAMPLES = "data/sample_inputs/model.pt"
_COPIED = frozenset({"archive_format", "archive_version", "byteorder", ".data/version"})
_TENSOR_FILE = re.compile(r"data/(?:weights/weight|constants/tensor)_\d+")

_OPERATOR = re.compile(
    r"torch\.ops\.(?:aten|quantized|quantized_decomposed)\.[a-z_0-9]+\.[A-Za-z_0-9]+"
    # What `no_grad` inside a forward becomes; its body is a graph in the same file and is checked like the rest.
    r"|torch\.ops\.higher_order\.wrap_with_set_grad_enabled"
    r"|torch\.sym_[a-z_]+"
    r"|math\.[a-z0-9]+"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
_READS_FILES = re.compile(r"torch\.ops\.aten\.from_file\b")
_EXPRESSION = re.compile(
    r"(?:Symbol\('[a-z]+\d+'|(?:positive|integer|nonnegative)=True|\b[a-z]\d+\b"
    r"|\b(?:Integer|Add|Mul|FloorDiv|CeilDiv|CleanDiv|Mod|PythonMod|ModularIndexing|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not)\("
    r"|\d+|[-+/()<>=,& ]|\*(?!\*)|\bTrue\b|\bFalse\b)*"
)
_PLAIN = re.compile(r"[\w.,:+>-]*")
"""No quote, bracket, space or line end: harmless wherever generated code may paste it."""
_OPTION = re.compile(r"[\w .,:+>=/*-]*")
"""Arguments such as an einsum's equation, which generated code quotes."""
_TREE_TYPES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})


class UnsafeModel(ValueError):
    """The file holds something that could run code, or is no archive of one exported program."""


def cleaned(path: Path) -> io.BytesIO:
    """The archive with everything left out that does not have to be there; raises UnsafeModel for what may not be."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = _read(archive)
    except zipfile.BadZipFile as error:
        raise UnsafeModel(f"{path.name} is no pt2 archive: {error}") from error
    for needed in (_MODEL, _WEIGHTS, _CONSTANTS):
        if needed not in files:
            raise UnsafeModel(f"{path.name} holds no {needed}: save it with torch.export.save")
    for config in (_WEIGHTS, _CONSTANTS):
        _check_tensors(config, json.loads(files[config]))
    files[_MODEL] = json.dumps(_clean_program(json.loads(files[_MODEL]))).encode()
    # Pickled by torch.export.save, needed by nobody who serves.
    files[_SAMPLES] = b""
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            # An entry that is told no time has a fixed one: the same file comes out the same every time.
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), content)
    fresh.seek(0)
    return fresh


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The allowed files by their path below the archive's one top folder."""
    files: dict[str, bytes] = {}
    for entry in archive.infolist():
        name = str(PurePosixPath(*PurePosixPath(entry.filename).parts[1:]))
        if name in files:
            raise UnsafeModel(f"{name} is in the archive twice")
        if name in _COPIED or name in (_MODEL, _WEIGHTS, _CONSTANTS) or _TENSOR_FILE.fullmatch(name):
            files[name] = archive.read(entry)
        elif name.startswith(("data/aotinductor/", "data/weights/", "data/constants/", "models/")):
            raise UnsafeModel(f"{name}: compiled code, pickled tensors and second programs are not served")
    return files


def _check_tensors(config: str, payload: Any) -> None:
    for name, entry in payload["config"].items():
        if entry["use_pickle"] or not _TENSOR_FILE.fullmatch(f"{PurePosixPath(config).parent}/{entry['path_name']}"):
            raise UnsafeModel(f"{name} is a pickled object, not a tensor")
        _check_plain(name)


def _clean_program(program: dict[str, Any]) -> dict[str, Any]:
    # Guards are Python source. The batcher sends the shapes that were tried at loading, so they guard nothing here.
    program["guards_code"] = []
    _walk(program)
    return program


def _walk(value: Any) -> None:
    match value:
        case dict():
            if "metadata" in value:
                value["metadata"] = {}
            for key, inner in value.items():
                _check_plain(key)
                match key, inner:
                    case "target", str():
                        _check_operator(inner)
                    case "expr_str", str():
                        if not _EXPRESSION.fullmatch(inner):
                            raise UnsafeModel(f"{inner!r} is no shape expression")
                    case "as_string", str():
                        if not _OPTION.fullmatch(inner):
                            raise UnsafeModel(f"{inner!r} is no option of an operator")
                    case (("in_spec" | "out_spec"), str()):
                        _check_tree(json.loads(inner) if inner else None)
                    case _:
                        _walk(inner)
        case list():
            for inner in value:
                _walk(inner)
        case str():
            _check_plain(value)
        case _:  # numbers, true, false, null
            pass


def _check_operator(target: str) -> None:
    if not _OPERATOR.fullmatch(target) or _READS_FILES.match(target) or "__" in target:
        raise UnsafeModel(f"{target} is no operator that may run here")


def _check_plain(text: str) -> None:
    if not _PLAIN.fullmatch(text):
        raise UnsafeModel(f"{text!r} is no name or option")


def _check_tree(tree: Any) -> None:
    match tree:
        case dict():
            if tree.get("type") not in _TREE_TYPES:
                raise UnsafeModel(f"{tree.get('type')!r}: inputs and outputs are tensors, tuples, lists or dicts")
            for child in tree.get("children_spec", []):
                _check_tree(child)
        case list():
            for inner in tree:
                _check_tree(inner)
        case _:  # the format's version number
            pass
