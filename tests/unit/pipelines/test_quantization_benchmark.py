"""The benchmark's verdict: what was proposed has to pay by a second measurement too, and what pays may not be refused."""

from typing import Any

from agents.cost.quantization_rules import QuantizationRules
from benchmarks.quantization import judge, row
from benchmarks.quantization_side import SIZES
from pipelines.quantizing import Formed
from tests.unit.agents.quantizations import batch, measured, timing

RULES = QuantizationRules(batches=SIZES)


def timed(int8: float) -> dict[str, Any]:
    """The original takes 0.2 ms at one row, FP32 on ONNX Runtime 0.1 ms."""
    batches = [batch(size, 0.2 * size, 0.1 * size, int8 * size).model_dump(mode="json") for size in SIZES]
    peer = {str(size): timing(0.3).model_dump(mode="json") for size in SIZES}
    return {"batches": batches, "load_average": 1.0, "peer": peer, "peer_bytes": 1, "peer_accuracy": 0.8}


def judged(first: float, again: float) -> dict[str, bool]:
    said = measured().model_dump(mode="json")
    made = {
        "width": 64,
        "seconds": 1.0,
        "best_possible_accuracy": 0.9,
        "formed": {name: said[name] for name in Formed.model_fields},
        "artefacts": ["a", "b"],
    }
    checks = judge([row(made, timed(first), timed(again), RULES)], (64,), RULES, 60.0)
    return {check.name: check.ok for check in checks.entries}


def test_what_pays_twice_and_what_never_pays_are_right() -> None:
    assert all(judged(0.05, 0.05).values())
    assert all(judged(0.12, 0.13).values())


def test_what_pays_by_one_measurement_alone_is_wrong_either_way() -> None:
    proposed, refused = judged(0.05, 0.12), judged(0.12, 0.05)
    assert not proposed["proposed where a second measurement says that it does not pay"]
    assert not refused["refused where a second measurement says that it pays"]
