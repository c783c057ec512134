"""An INT8 form of a version, and what it is worth beside the original: made, tried as the gateway would try it, and measured.

Measures only. Whether it pays is decided elsewhere, by policy.
"""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.evaluating import Contender, Labelled, Part, contender, measure, size_of
from pipelines.inspection import SIZES
from pipelines.onnx_forms import convert, quantize
from pipelines.timing import timed
from tools.errors import PermanentError
from tools.inference.engines import Unservable, warm
from tools.inference.tables import answer, encode
from tools.registry.evaluations import Facts
from tools.registry.port import ModelFiles
from tools.registry.quantizations import Batch, Recipe, Tried
from tools.values import Frozen

_RECIPES: tuple[Recipe, ...] = ("static", "dynamic")
_MOST_CALIBRATED = 0.25
"""Of the rows: most of them are for measuring."""
_WORTH_RANGES = 0.005
"""By so much more has a dynamic form to agree with the original before it is taken: what it answers to a row depends on those
that are computed with it."""
_LIBRARIES = ("onnxruntime", "onnx", "onnxscript", "torch", "numpy")


@dataclass(frozen=True)
class Asked:
    calibration_rows: int = 1_000
    rounds: int = 15
    calls: int = 100
    batches: tuple[int, ...] = (1, 8, 32)
    groups: tuple[str, ...] = ()
    seed: int = 0


class Formed(Frozen):
    """An INT8 form, and how it answers."""

    recipe: Recipe
    tried: tuple[Tried, ...]
    facts: Facts
    original_bytes: int
    converted_bytes: int
    quantized_bytes: int
    calibration_rows: int
    built_with: dict[str, str]


class Timed(Frozen):
    batches: tuple[Batch, ...]
    load_average: float


@dataclass(frozen=True)
class Forms:
    """Where the files of the three lie."""

    original: ModelFiles
    converted: ModelFiles
    quantized: ModelFiles


def formed(
    original: ModelFiles,
    parts: Mapping[Part, Labelled],
    folder: Path,
    asked: Asked,
    *,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> tuple[Forms, Formed]:
    """The INT8 files, in a folder below `folder`, which is there, tried and asked. Blocking, some ten seconds.

    Raises PermanentError when the original cannot be loaded, has nothing to quantise, or no form of it would be served."""
    champion = contender(original)
    progress(0.05, "converting it to ONNX")
    converted = convert(original, folder / "converted")
    calibration, rest = _split(parts, champion, asked)
    progress(0.3, f"quantising it by {len(calibration.table):,} rows")
    made, tried = _best(original, champion, converted, calibration, folder)
    recipe = next(each.recipe for each in tried if made.folder.name == each.recipe)
    progress(0.6, f"asking both about {sum(len(each.labels) for each in rest.values()):,} rows")
    ours = contender(made)
    facts = measure(ours, champion, rest, groups=asked.groups, seed=asked.seed, latencies=False)
    return Forms(original, converted, made), Formed(
        recipe=recipe,
        tried=tried,
        facts=facts,
        original_bytes=champion.bytes,
        converted_bytes=size_of(converted),
        quantized_bytes=ours.bytes,
        calibration_rows=len(calibration.table),
        built_with=_built_with(),
    )


def timed_forms(
    forms: Forms,
    table: pa.Table,
    asked: Asked,
    *,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Timed:
    """In a process that has done nothing else yet, as a gateway has not: in the one that made them, INT8 seemed a tenth slower
    beside FP32 than in any other. Blocking, seconds to minutes."""
    load = os.getloadavg()[0]
    batches = timed(
        {
            "original": contender(forms.original),
            "converted": contender(forms.converted),
            "quantized": contender(forms.quantized),
        },
        table,
        sizes=asked.batches,
        rounds=asked.rounds,
        calls=asked.calls,
        told=lambda fraction: progress(fraction, "timing the three forms in turn"),
    )
    return Timed(batches=batches, load_average=load)


def _split(parts: Mapping[Part, Labelled], champion: Contender, asked: Asked) -> tuple[Labelled, dict[Part, Labelled]]:
    """Rows to calibrate by, of those that were held out where there are any, and the others. Rows that the original has no
    answer to have no ranges."""
    part: Part = "held_out" if "held_out" in parts else "recent"
    rows = parts[part]
    answered = np.isfinite(answer(champion.engine, champion.spec, encode(rows.table, champion.spec)).scores)
    count = min(asked.calibration_rows, int(len(rows.labels) * _MOST_CALIBRATED))
    places = np.random.default_rng(asked.seed).permutation(np.flatnonzero(answered))[:count]
    if not len(places):
        raise PermanentError(f"{len(rows.labels)} rows are too few to calibrate by")
    chosen = np.zeros(len(rows.labels), dtype=bool)
    chosen[places] = True
    return _of(rows, chosen), {**parts, part: _of(rows, ~chosen)}


def _of(rows: Labelled, chosen: NDArray[np.bool_]) -> Labelled:
    return Labelled(rows.table.filter(pa.array(chosen)), rows.labels[chosen])


def _best(
    original: ModelFiles, champion: Contender, converted: ModelFiles, calibration: Labelled, folder: Path
) -> tuple[ModelFiles, tuple[Tried, ...]]:
    """Each recipe is made and tried as the gateway tries what it is to serve."""
    arrays = encode(calibration.table, champion.spec)
    known = answer(champion.engine, champion.spec, arrays)
    served: dict[Recipe, ModelFiles] = {}
    tried: list[Tried] = []
    for recipe in _RECIPES:
        made = quantize(converted, folder / recipe, recipe, arrays)
        try:
            own = contender(made)
            warm(own.engine, own.spec, SIZES, f"{original.model} {original.version} in INT8 ({recipe})")
        except Unservable as error:
            tried.append(Tried(recipe=recipe, bytes=_size(made.folder), refused=str(error)[:500]))
            continue
        served[recipe] = made
        tried.append(_agreeing(recipe, own, arrays, known))
    if not served:
        raise PermanentError(f"no INT8 form would be served: {'; '.join(each.refused for each in tried)}")
    agreement = {each.recipe: each.agreement or 0.0 for each in tried if each.recipe in served}
    best = max(served, key=lambda recipe: agreement[recipe] + (_WORTH_RANGES if recipe == "static" else 0.0))
    return served[best], tuple(tried)


def _agreeing(recipe: Recipe, own: Contender, arrays: Sequence[NDArray[Any]], known: Any) -> Tried:
    found = answer(own.engine, own.spec, list(arrays))
    apart = np.abs(found.scores - known.scores)
    classes = own.spec.task != "regression"
    return Tried(
        recipe=recipe,
        bytes=own.bytes,
        agreement=float(np.mean(found.predictions == known.predictions)) if classes else None,
        apart=float(apart[np.isfinite(apart)].mean()) if np.isfinite(apart).any() else None,
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.onnx"))


def _built_with() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            continue
    return found
