"""How much of the processor the forms of a model take, a few calls in turn.

In one thread and on the clock of that thread: a job shares its machine, and what others do on it is no property of a model. A
gateway asks one version again and again, so a turn is some calls of the same, of which the first, that finds the caches as
another has left them, is not counted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.evaluating import Contender
from tools.inference.engines import tensors
from tools.inference.outputs import decode
from tools.inference.tables import encode
from tools.registry.quantizations import Batch, Form, Timing

_WARMING = 20
_TURN = 5
"""Calls that are counted in a turn."""
_SEED = 5
_FORMS: tuple[Form, ...] = get_args(Form)


def timed(
    forms: Mapping[Form, Contender],
    table: pa.Table,
    *,
    sizes: Sequence[int],
    rounds: int,
    calls: int,
    told: Callable[[float], None] = lambda _fraction: None,
) -> tuple[Batch, ...]:
    """As `in_turn`, of a version's three forms."""
    found = in_turn({name: forms[name] for name in _FORMS}, table, sizes=sizes, rounds=rounds, calls=calls, told=told)
    return tuple(Batch(rows=size, **each) for size, each in found.items())


def in_turn(
    contenders: Mapping[str, Contender],
    table: pa.Table,
    *,
    sizes: Sequence[int],
    rounds: int,
    calls: int,
    told: Callable[[float], None] = lambda _fraction: None,
) -> dict[int, dict[str, Timing]]:
    """What a batch takes from features to answers, which is what the gateway meters; by batch size and contender. `told`: gets
    how far it is, 0 to 1.

    Rounds go over all batch sizes, so that each size sees the machine at as many moments; within one the contenders take turns
    in an order that is drawn anew each time, so that none always follows the same other. Blocking."""
    work = {size: [_work(one, table, size) for one in contenders.values()] for size in sizes}
    for own in work.values():
        for call in own:
            for _ in range(_WARMING):
                call()
    seconds = {size: np.empty((len(contenders), rounds, calls)) for size in sizes}
    random = np.random.default_rng(_SEED)
    for turn in range(rounds):
        for size in sizes:
            _round(work[size], seconds[size][:, turn], random)
        told((turn + 1) / rounds)
    return {size: dict(zip(contenders, map(_timing, seconds[size]), strict=True)) for size in sizes}


def _round(work: Sequence[Callable[[], object]], seconds: NDArray[np.float64], random: np.random.Generator) -> None:
    """`seconds`: contender by call."""
    for begin in range(0, seconds.shape[1], _TURN):
        for place in random.permutation(len(work)):
            call = work[place]
            call()
            for step in range(begin, min(begin + _TURN, seconds.shape[1])):
                started = time.thread_time()
                call()
                seconds[place, step] = time.thread_time() - started


def _timing(seconds: NDArray[np.float64]) -> Timing:
    """`seconds`: round by call."""
    p50s, p99s = 1000 * np.percentile(seconds, (50, 99), axis=1)
    return Timing(
        p50_ms=float(np.median(p50s)),
        p99_ms=float(np.median(p99s)),
        p50s_ms=tuple(p50s.tolist()),
        p99s_ms=tuple(p99s.tolist()),
    )


def _work(one: Contender, table: pa.Table, size: int) -> Callable[[], Any]:
    """One batch, as the gateway computes it (`gateway.batching`): lists become tensors, these an output, that answers."""
    rows = pa.concat_tables([table.slice(0, size)] * -(-size // max(1, min(size, len(table))))).slice(0, size)
    numeric: list[float] = []
    categorical: list[int] = []
    for array in encode(rows, one.spec):
        if array.dtype.kind == "f":
            numeric = array.ravel().tolist()
        else:
            categorical = array.ravel().tolist()
    return lambda: decode(one.spec, one.engine(*tensors(numeric, categorical, size)), size)
