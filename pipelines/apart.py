"""A candidate is loaded and asked in a process of its own: `python -m pipelines.apart FOLDER`.

It has no key, no credentials and no more memory and processor than it is given, and it may die: what a candidate does to the
process that asks it is a finding about the candidate, and not an evaluation that failed. The folder's `order.json` says what is
asked, `phase` how far it is, `result.json` what came of it.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tools.errors import PermanentError
from tools.registry.evaluations import CheckName, Facts, StagingCheck
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import ServingSpec
from tools.values import Frozen

if TYPE_CHECKING:
    from pipelines.evaluating import Labelled, Part

_ORDER, _PHASE, _RESULT = "order.json", "phase", "result.json"
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "PYTHONPATH")
_MARKS = "OPPEN_JOB"
"""What begins so says which job it is part of, and no secret."""


class Order(Frozen):
    candidate: ModelFiles
    champion: ModelFiles
    parts: dict[str, Path]
    """Labelled rows by part, Parquet."""
    label: str
    groups: tuple[str, ...] = ()
    least_group: int = Field(default=200, ge=2)
    seed: int = 0
    load_seconds: float = Field(default=1.0, gt=0)
    memory_bytes: int | None = None
    """None: as much as the job has."""
    cpu_seconds: int = 1800


class Measured(Frozen):
    staging: tuple[StagingCheck, ...]
    facts: Facts = Facts(compared=())
    spec: ServingSpec | None = None
    """The candidate's; None where it could not be loaded."""


def measured_apart(order: Order, folder: Path) -> Measured:
    """Blocking, some ten seconds. Its progress is on stdout. Raises PermanentError for what is no fault of the candidate's."""
    (folder / _ORDER).write_text(order.model_dump_json())
    command = [sys.executable, "-m", "pipelines.apart", str(folder), str(os.getpid())]
    done = subprocess.run(command, env=bare_environment(), check=False)
    return found_in(folder, done.returncode)


def found_in(folder: Path, code: int) -> Measured:
    """What a process that ended with this code has left. Raises PermanentError as above."""
    if (folder / _RESULT).is_file():
        result: dict[str, Any] = json.loads((folder / _RESULT).read_text())
        if "refused" in result:
            raise PermanentError(result["refused"])
        return Measured.model_validate(result)
    phase = (folder / _PHASE).read_text() if (folder / _PHASE).is_file() else "start"
    how = how_ended(code)
    if phase not in ("security", "smoke"):
        raise PermanentError(f"the process that evaluates {how} while it dealt with the champion and the rows")
    name: CheckName = "security" if phase == "security" else "smoke"
    what = "loaded" if name == "security" else "asked"
    return Measured(staging=(StagingCheck(name=name, ok=False, reason=f"the process in which it was {what} {how}"),))


def bare_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_MARKS)}


def how_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _measure(order: Order, folder: Path) -> Measured:
    from pipelines.evaluating import contender, measure
    from pipelines.inspection import stage
    from tools.jobs.progress import line

    def tell(fraction: float, text: str) -> None:
        sys.stdout.write(f"{line(fraction, text)}\n")
        sys.stdout.flush()

    champion = contender(order.champion)
    parts = labelled_parts(order.parts, order.label, champion.spec)
    (folder / _PHASE).write_text("security")
    tell(0.3, "checking the candidate's files")
    largest = max((part.table for part in parts.values()), key=len)
    staged = stage(
        order.candidate,
        champion,
        largest,
        load_s=order.load_seconds,
        loaded=lambda: (folder / _PHASE).write_text("smoke"),
    )
    if staged.contender is None:
        return Measured(staging=staged.checks)
    tell(0.6, f"measuring it beside version {order.champion.version}")
    facts = measure(
        staged.contender,
        champion,
        parts,
        groups=order.groups,
        least_group=order.least_group,
        seed=order.seed,
    )
    return Measured(staging=staged.checks, facts=facts, spec=staged.contender.spec)


def labelled_parts(paths: Mapping[str, Path], label: str, spec: ServingSpec) -> "dict[Part, Labelled]":
    """Rows with their labels. Raises PermanentError, which names the column."""
    import pyarrow.parquet as pq

    from pipelines.evaluating import Labelled
    from pipelines.labelled import labels

    parts: dict[Part, Labelled] = {}
    for part, path in paths.items():
        table = pq.read_table(path)
        known: Part = "held_out" if part == "held_out" else "recent"
        parts[known] = Labelled(table.drop_columns([label]), labels(table[label], label, spec))
    return parts


def bound(cpu_seconds: int, memory_bytes: int | None) -> None:
    """No core files, in which memory lies open; no more processor and memory than was given."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def main(arguments: Sequence[str]) -> int:
    folder, parent = Path(arguments[0]), int(arguments[1])
    if sys.platform.startswith("linux"):
        from tools.jobs.processes import die_with

        die_with(parent)
    order = Order.model_validate_json((folder / _ORDER).read_text())
    bound(order.cpu_seconds, order.memory_bytes)
    try:
        text = _measure(order, folder).model_dump_json()
    except PermanentError as error:
        text = json.dumps({"refused": str(error)})
    draft = folder / f".{_RESULT}"
    draft.write_text(text)
    draft.replace(folder / _RESULT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
