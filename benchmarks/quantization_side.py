"""The passes of `benchmarks.quantization`, each in a process of its own:

    python -m benchmarks.quantization_side (make | again) FOLDER SECONDS WIDTH...

`make` trains a network in each width, lets the platform's own code make its INT8 form and ask both, and writes what came of
it to FOLDER. `again` loads the files that lie there, as a gateway would, and times them; with torch's own dynamic INT8 beside
them, which the platform does not serve. Prints one JSON object. SECONDS is what one width may be timed for.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quantization_models import SPEC, Task, exported, network, task, trained
from pipelines.evaluating import Contender, Labelled, contender
from pipelines.quantizing import Asked, formed
from pipelines.timing import in_turn
from tools.inference.engines import Engine
from tools.inference.tables import answer, encode
from tools.registry.port import ModelFiles
from tools.registry.quantizations import Batch, Form, Timing
from tools.registry.signing import digest

SIZES = (1, 8, 32)
ROUNDS = 11
_CALLS = (20, 100)
_CALIBRATION, _HELD_OUT = 1_000, 7_000
_LEARNT = {64: 16_000, 128: 16_000, 256: 16_000, 512: 16_000, 1024: 16_000, 2048: 12_000}
"""Rows, by width: the wide ones take a second for a thousand of them."""
_EPOCHS = {64: 8, 128: 6, 256: 4, 512: 4, 1024: 3, 2048: 2}
_SEED = 11
_FORMS: tuple[Form, ...] = ("original", "converted", "quantized")
PEER = "torch dynamic INT8"


@dataclass(frozen=True)
class _Place:
    folder: Path

    @property
    def original(self) -> ModelFiles:
        return ModelFiles(model="task", version="1", folder=self.folder / "original", format="pt2")

    def onnx(self, name: str) -> ModelFiles:
        return ModelFiles(model="task", version=name, folder=self.folder / name, format="onnx")

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pth"


def make(width: int, folder: Path, _budget_s: float, rows: Task) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    started = time.perf_counter()
    learnt = _LEARNT.get(width, 4_000)
    place = _Place(folder / str(width))
    place.folder.mkdir(parents=True)
    module = trained(rows.part(0, learnt), width, epochs=_EPOCHS.get(width, 1), seed=_SEED)
    exported(module, place.original.folder)
    torch.save(module.state_dict(), place.weights)
    training_s = time.perf_counter() - started
    held_out = rows.part(len(rows.labels) - _CALIBRATION - _HELD_OUT, len(rows.labels))
    asked = Asked(calibration_rows=_CALIBRATION, seed=_SEED)
    forms, found = formed(place.original, {"held_out": held_out}, place.folder, asked)
    best = rows.best[len(rows.labels) - len(held_out.labels) :]
    return {
        "width": width,
        "training_s": round(training_s, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "best_possible_accuracy": float(np.mean(np.array(SPEC.classes)[best.astype(int)] == held_out.labels)),
        "formed": found.model_dump(mode="json"),
        "artefacts": [digest(each.folder) for each in (forms.quantized, forms.original)],
    }


def again(width: int, folder: Path, budget_s: float, rows: Task) -> dict[str, Any]:
    place = _Place(folder / str(width))
    held_out = rows.part(len(rows.labels) - _HELD_OUT, len(rows.labels))
    recipe = next(name for name in ("static", "dynamic") if (place.folder / name / "model.onnx").is_file())
    contenders: dict[str, Contender] = {
        "original": contender(place.original),
        "converted": contender(place.onnx("converted")),
        "quantized": contender(place.onnx(recipe)),
        PEER: Contender(SPEC, _peer(place, width), _peer_bytes(place, width)),
    }
    calls = _calls(place, held_out, budget_s)
    found = in_turn(contenders, held_out.table, sizes=SIZES, rounds=ROUNDS, calls=calls)
    peer = answer(contenders[PEER].engine, SPEC, encode(held_out.table, SPEC))
    return {
        "width": width,
        "load_average": os.getloadavg()[0],
        "batches": [
            Batch(rows=size, **{form: each[form] for form in _FORMS}).model_dump(mode="json") for size, each in found.items()
        ],
        "peer": {str(size): each[PEER].model_dump(mode="json") for size, each in found.items()},
        "peer_bytes": contenders[PEER].bytes,
        "peer_accuracy": float(np.mean(peer.predictions == held_out.labels)),
    }


def _calls(place: _Place, rows: Labelled, budget_s: float) -> int:
    """In each round, so that a width takes about its time: the original takes longer than the other two together."""
    one = contender(place.original)
    found: Mapping[int, Mapping[str, Timing]] = in_turn({"original": one}, rows.table, sizes=SIZES, rounds=5, calls=4)
    once_s = 2 * sum(each["original"].p50_ms for each in found.values()) / 1000
    return int(min(_CALLS[1], max(_CALLS[0], budget_s / (ROUNDS * once_s))))


def _peer(place: _Place, width: int) -> Engine:
    from tools.inference.engines import torch_engine

    return torch_engine(_quantized_by_torch(place, width))


def _peer_bytes(place: _Place, width: int) -> int:
    """Of its weights as torch saves them."""
    import torch

    path = place.folder / "peer.pth"
    torch.save(_quantized_by_torch(place, width).state_dict(), path)
    return path.stat().st_size


def _quantized_by_torch(place: _Place, width: int) -> Any:
    import torch

    module = network(width)
    module.load_state_dict(torch.load(place.weights, weights_only=True))
    with _quiet():
        return torch.ao.quantization.quantize_dynamic(module.eval(), {torch.nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]


@contextmanager
def _quiet() -> Iterator[None]:
    """torch says that torchao is to take its place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main(arguments: list[str]) -> int:
    what, folder, budget_s, widths = arguments[0], Path(arguments[1]), float(arguments[2]), list(map(int, arguments[3:]))
    rows = task(max(_LEARNT.values()) + _CALIBRATION + _HELD_OUT, seed=_SEED)
    side = {"make": make, "again": again}[what]
    found = []
    for width in widths:
        found.append(side(width, folder, budget_s, rows))
        print(f"{what} {width}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
