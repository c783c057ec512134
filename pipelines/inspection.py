"""Whether a candidate's files may be served at all, before anybody asks how good it is.

What is tried here is what the gateway will do with them: loading without unpickling anything, batches of every size, values
that training never saw, several workers at once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.evaluating import Contender, size_of
from tools.errors import PermanentError
from tools.inference.engines import Engine, load, read_spec, warm
from tools.inference.outputs import Misshapen, decode
from tools.inference.tables import encode
from tools.registry.evaluations import CheckName, StagingCheck
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import ServingSpec

SIZES = (1, 8, 32)
"""Rows in a batch: what the gateway makes of traffic."""
_ROWS = 2_000
"""Real ones that it is asked about."""
_VARYING = 100
"""So many rows, and a model that answers all of them the same knows nothing of them."""
_WORKERS = 4
_LOAD_S = 1.0
_MOST_CALLS = 2_000
"""Of each worker."""
_BROKEN = (Misshapen, RuntimeError, ValueError, TypeError, IndexError)
"""What an engine raises for what it cannot compute."""


@dataclass(frozen=True)
class Staged:
    checks: tuple[StagingCheck, ...]
    contender: Contender | None
    """None when a check has failed."""


class _Failed(Exception):
    """A check has not been passed; says why."""


def stage(
    files: ModelFiles,
    champion: Contender,
    table: pa.Table,
    *,
    load_s: float | None = None,
    loaded: Callable[[], object] = lambda: None,
) -> Staged:
    """`table`: rows as production has them. `load_s`: how long it is asked from several sides at once. `loaded`: called when
    the file has been read and nothing was asked of it yet. Blocking, some seconds. Raises PermanentError when the table lacks a
    feature of the champion's, which is no fault of the candidate."""
    real = table.slice(0, _ROWS)
    encode(real, champion.spec)
    checks: list[StagingCheck] = []

    def passed(name: CheckName, reason: str) -> None:
        checks.append(StagingCheck(name=name, ok=True, reason=reason[:500]))

    name: CheckName = "security"
    try:
        engine = load(files, allow_pickle=())
        passed(name, f"{files.format}: a graph and weights, read without unpickling; nothing in it runs code")
        loaded()
        name = "schema"
        spec = read_spec(files)
        passed(name, _same_question(spec, champion.spec))
        name = "smoke"
        passed(name, _smoke(files, engine, spec, champion, real))
        name = "load"
        passed(name, _under_load(engine, spec, real, _LOAD_S if load_s is None else load_s))
    except (PermanentError, _Failed) as error:
        checks.append(StagingCheck(name=name, ok=False, reason=(str(error) or type(error).__name__)[:500]))
        return Staged(tuple(checks), None)
    return Staged(tuple(checks), Contender(spec, engine, size_of(files)))


def _same_question(ours: ServingSpec, theirs: ServingSpec) -> str:
    """Clients send what the champion takes, and the gateway refuses a request with a feature too many or too few."""
    if (ours.task, sorted(ours.classes)) != (theirs.task, sorted(theirs.classes)):
        raise _Failed(f"it answers {_task(ours)}, the champion {_task(theirs)}")
    mine, known = ({feature.name: feature for feature in spec.features} for spec in (ours, theirs))
    said = [f"{name}: the champion takes it, the candidate does not" for name in known if name not in mine]
    said += [f"{name}: it needs it, and no client of the champion's sends it" for name in mine if name not in known]
    said += [
        f"{name}: it is {feature.kind}, the champion's is {known[name].kind}"
        for name, feature in mine.items()
        if name in known and feature.kind != known[name].kind
    ]
    if said:
        raise _Failed("; ".join(said))
    return f"{_task(ours)} from the champion's {len(mine)} features"


def _smoke(files: ModelFiles, engine: Engine, spec: ServingSpec, champion: Contender, table: pa.Table) -> str:
    warm(engine, spec, SIZES, f"{files.model} {files.version}")
    both = ((engine, spec), (champion.engine, champion.spec))
    ours, theirs = (_scores(asked, known, encode(table, known)) for asked, known in both)
    _no_more_unanswered(ours, theirs, "rows")
    both_answered = np.isfinite(ours) & np.isfinite(theirs)
    if both_answered.sum() >= _VARYING and np.ptp(ours[both_answered]) == 0 < np.ptp(theirs[both_answered]):
        raise _Failed(f"it answers {both_answered.sum()} rows all the same, and the champion does not")
    nothing = table.slice(0, SIZES[-1])
    ours, theirs = (_scores(asked, known, _forgotten(encode(nothing, known))) for asked, known in both)
    _no_more_unanswered(ours, theirs, "rows of which nothing is known")
    sizes = ", ".join(map(str, SIZES))
    return f"batches of {sizes} rows, {table.num_rows} rows of the data, {nothing.num_rows} of which nothing is known"


def _no_more_unanswered(ours: NDArray[np.float64], theirs: NDArray[np.float64], what: str) -> None:
    lost, before = (int((~np.isfinite(scores)).sum()) for scores in (ours, theirs))
    if lost > before:
        raise _Failed(f"it has no finite answer to {lost} of {len(ours)} {what}, the champion to {before}")


def _under_load(engine: Engine, spec: ServingSpec, table: pa.Table, load_s: float) -> str:
    """Several threads at once, as the gateway's workers are: none may fail, or answer otherwise than alone."""
    arrays = encode(table.slice(0, max(SIZES)), spec)
    count = len(arrays[0])
    batches = [[np.ascontiguousarray(array[: min(size, count)]) for array in arrays] for size in SIZES]
    alone = [engine(*batch) for batch in batches]
    until = time.monotonic() + load_s
    together = threading.Barrier(_WORKERS)

    def work() -> tuple[int, int]:
        together.wait(timeout=30)
        calls = rows = 0
        for batch, wanted in cycle(zip(batches, alone, strict=True)):
            if calls >= _MOST_CALLS or time.monotonic() > until:
                break
            if not np.allclose(engine(*batch), wanted, rtol=1e-3, atol=1e-4, equal_nan=True):
                raise _Failed(f"asked from {_WORKERS} sides at once it answers otherwise than alone")
            calls, rows = calls + 1, rows + len(batch[0])
        return calls, rows

    started = time.perf_counter()
    with ThreadPoolExecutor(_WORKERS) as workers:
        done = [each.result() for each in _ended([workers.submit(work) for _ in range(_WORKERS)])]
    seconds = time.perf_counter() - started
    calls, rows = (sum(each) for each in zip(*done, strict=True))
    return f"{calls} calls from {_WORKERS} sides at once, {rows / seconds:,.0f} rows a second, none failed"


def _ended(futures: list[Any]) -> Iterator[Any]:
    for future in futures:
        if isinstance(error := future.exception(), _BROKEN):
            raise _Failed(f"under load: {error}") from error
        yield future


def _scores(engine: Engine, spec: ServingSpec, arrays: list[NDArray[Any]]) -> NDArray[np.float64]:
    try:
        return np.array(decode(spec, engine(*map(np.ascontiguousarray, arrays)), len(arrays[0])).scores)
    except _BROKEN as error:
        raise _Failed(f"it cannot compute {len(arrays[0])} rows of the data: {error}") from error


def _forgotten(arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    return [np.full_like(array, np.nan if array.dtype.kind == "f" else 0) for array in arrays]


def _task(spec: ServingSpec) -> str:
    return f"{spec.task} ({', '.join(spec.classes)})" if spec.classes else spec.task
