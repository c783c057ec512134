"""A version is loaded, rewritten and measured in a process of its own: `python -m pipelines.quantize_apart FOLDER`.

As a candidate's evaluation is (`pipelines.apart`): it has no key, no credentials, and no more memory and processor than it is
given. The folder's `order.json` says what is asked, `result.json` what came of it, and the INT8 files lie in a folder below.
Another such process times what lies there.
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
    from pipelines.quantizing import Asked, Formed, Timed

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
    converted: ModelFiles | None = None
    """What was made, which is to be timed; None: it is to be made."""
    quantized: ModelFiles | None = None


class _Made(Frozen):
    converted: ModelFiles
    quantized: ModelFiles
    formed: dict[str, Any]


def quantized_apart(
    original: ModelFiles, parts: dict[str, Path], label: str, asked: "Asked", folder: Path, *, memory_bytes: int | None = None
) -> "tuple[ModelFiles, Formed, Timed]":
    """The INT8 files, what they are, and what they take: made in one process, timed in another that has done nothing else.

    Progress is on stdout. Raises PermanentError as `pipelines.quantizing`, also when a process ends badly."""
    from pipelines.quantizing import Formed, Timed

    order = _Order(original=original, parts=parts, label=label, asked=asdict(asked), memory_bytes=memory_bytes)
    made = _Made.model_validate(_asked(order, folder))
    timing = order.model_copy(update={"converted": made.converted, "quantized": made.quantized})
    timed = Timed.model_validate(_asked(timing, folder))
    return made.quantized, Formed.model_validate(made.formed), timed


def _asked(order: _Order, folder: Path) -> dict[str, Any]:
    (folder / _ORDER).write_text(order.model_dump_json())
    (folder / _RESULT).unlink(missing_ok=True)
    command = [sys.executable, "-m", "pipelines.quantize_apart", str(folder), str(os.getpid())]
    code = subprocess.run(command, env=bare_environment(), check=False).returncode
    if not (folder / _RESULT).is_file():
        name = f"{order.original.model} {order.original.version}"
        raise PermanentError(f"the process that quantises {name} {how_ended(code)}")
    found: dict[str, Any] = json.loads((folder / _RESULT).read_text())
    if "refused" in found:
        raise PermanentError(found["refused"])
    return found


def _done(order: _Order, folder: Path) -> str:
    from pipelines.quantizing import Asked, Forms, formed, timed_forms
    from tools.jobs.progress import line

    def tell(fraction: float, text: str) -> None:
        share = 0.1 + 0.4 * fraction if order.quantized is None else 0.5 + 0.4 * fraction
        sys.stdout.write(f"{line(share, text)}\n")
        sys.stdout.flush()

    parts = labelled_parts(order.parts, order.label, read_spec(order.original))
    asked = Asked(**{**order.asked, **{name: tuple(order.asked[name]) for name in ("batches", "groups")}})
    if order.quantized is None or order.converted is None:
        forms, found = formed(order.original, parts, folder, asked, progress=tell)
        made = _Made(converted=forms.converted, quantized=forms.quantized, formed=found.model_dump(mode="json"))
        return made.model_dump_json()
    largest = max((part.table for part in parts.values()), key=len)
    forms = Forms(order.original, order.converted, order.quantized)
    return timed_forms(forms, largest, asked, progress=tell).model_dump_json()


def main(arguments: Sequence[str]) -> int:
    folder, parent = Path(arguments[0]), int(arguments[1])
    if sys.platform.startswith("linux"):
        from tools.jobs.processes import die_with

        die_with(parent)
    order = _Order.model_validate_json((folder / _ORDER).read_text())
    bound(_CPU_S, order.memory_bytes)
    try:
        text = _done(order, folder)
    except PermanentError as error:
        text = json.dumps({"refused": str(error)})
    draft = folder / f".{_RESULT}"
    draft.write_text(text)
    draft.replace(folder / _RESULT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
