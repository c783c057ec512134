"""A version is loaded, rewritten and measured in a process of its own: `python -m pipelines.quantize_apart FOLDER`.

As a candidate's evaluation is (`pipelines.apart`): it has no key, no credentials, and no more memory and processor than it is
given. The folder's `order.json` says what is asked, `result.json` what came of it, and the INT8 files lie in a folder below.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.apart import bare_environment, bound, how_ended, labelled_parts
from tools.errors import PermanentError
from tools.inference.engines import read_spec
from tools.registry.port import ModelFiles
from tools.values import Frozen

if TYPE_CHECKING:
    from pipelines.quantizing import Asked, Measured

_ORDER, _RESULT = "order.json", "result.json"
_CPU_S = 3_600
"""A minute of work, and an hour of a slow machine's."""


class _Order(Frozen):
    original: ModelFiles
    parts: dict[str, Path]
    """Labelled rows by part, Parquet."""
    label: str
    asked: dict[str, Any]
    memory_bytes: int | None


class _Result(Frozen):
    files: ModelFiles
    measured: dict[str, Any]


def quantized_apart(
    original: ModelFiles, parts: dict[str, Path], label: str, asked: "Asked", folder: Path, *, memory_bytes: int | None = None
) -> "tuple[ModelFiles, Measured]":
    """As `pipelines.quantizing.quantized`. Its progress is on stdout. Raises PermanentError, also when its process ends
    badly."""
    from pipelines.quantizing import Measured

    order = _Order(original=original, parts=parts, label=label, asked=asdict(asked), memory_bytes=memory_bytes)
    (folder / _ORDER).write_text(order.model_dump_json())
    command = [sys.executable, "-m", "pipelines.quantize_apart", str(folder), str(os.getpid())]
    code = subprocess.run(command, env=bare_environment(), check=False).returncode
    if not (folder / _RESULT).is_file():
        raise PermanentError(f"the process that quantises {original.model} {original.version} {how_ended(code)}")
    found: dict[str, Any] = json.loads((folder / _RESULT).read_text())
    if "refused" in found:
        raise PermanentError(found["refused"])
    result = _Result.model_validate(found)
    return result.files, Measured.model_validate(result.measured)


def _quantized(order: _Order, folder: Path) -> _Result:
    from pipelines.quantizing import Asked, quantized
    from tools.jobs.progress import line

    def tell(fraction: float, text: str) -> None:
        sys.stdout.write(f"{line(0.1 + 0.8 * fraction, text)}\n")
        sys.stdout.flush()

    parts = labelled_parts(order.parts, order.label, read_spec(order.original))
    asked = Asked(**{**order.asked, **{name: tuple(order.asked[name]) for name in ("batches", "groups")}})
    files, measured = quantized(order.original, parts, folder, asked, progress=tell)
    return _Result(files=files, measured=measured.model_dump(mode="json"))


def main(arguments: Sequence[str]) -> int:
    folder, parent = Path(arguments[0]), int(arguments[1])
    if sys.platform.startswith("linux"):
        from tools.jobs.processes import die_with

        die_with(parent)
    order = _Order.model_validate_json((folder / _ORDER).read_text())
    bound(_CPU_S, order.memory_bytes)
    try:
        text = _quantized(order, folder).model_dump_json()
    except PermanentError as error:
        text = json.dumps({"refused": str(error)})
    draft = folder / f".{_RESULT}"
    draft.write_text(text)
    draft.replace(folder / _RESULT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
