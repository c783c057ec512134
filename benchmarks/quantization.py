"""FP32 beside INT8 over layer widths, proposed only where it pays: `python -m benchmarks.quantization --json`.

The reference network with two hidden layers of each width, really trained on one task with a known truth. The platform's own
code makes the INT8 form and measures it beside the original (torch, `pt2`) and beside the same weights in FP32 on ONNX Runtime,
as its job does, with torch's own dynamic INT8 in the turns as well; then the agent's rule decides. Another process times all of
it anew: what was proposed has to pay by that as well. Times are of the processor, in one thread, a few calls in turn.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agents.cost.quantization import Decision, Worth, weigh
from agents.cost.quantization_rules import QuantizationRules
from benchmarks.quantization_side import PEER, SIZES
from simulations.checks import Checks
from tools.jobs.prices import Prices
from tools.registry.quantizations import Batch, Quantization, Timing, per_thousand

WIDTHS = (64, 128, 256, 512, 1024, 2048)
PRICES = Prices(currency="USD", cpu_hour=Decimal("0.0316"))
"""What a core's hour costs at large clouds, on demand."""
_BUDGET_S = 4.0
"""For which one width is timed in a pass."""
_BOUND_S = 900
_MOST_S = 180.0


def side(what: str, folder: str, widths: tuple[int, ...]) -> list[dict[str, Any]]:
    """Raises CalledProcessError with what it said."""
    command = [sys.executable, "-m", "benchmarks.quantization_side", what, folder, str(_BUDGET_S), *map(str, widths)]
    program = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_BOUND_S, check=True)
    found: list[dict[str, Any]] = json.loads(program.stdout.splitlines()[-1])
    return found


def row(made: dict[str, Any], first: dict[str, Any], again: dict[str, Any], rules: QuantizationRules) -> dict[str, Any]:
    found, repeated = (_quantization(made, each) for each in (first, again))
    worth, second = (weigh(each, rules, PRICES) for each in (found, repeated))
    accuracy = next(each for each in found.facts.compared if each.name == "accuracy")
    peer = {int(size): Timing.model_validate(timing) for size, timing in again["peer"].items()}
    return {
        "width": made["width"],
        "accuracy": {
            "best possible": round(made["best_possible_accuracy"], 4),
            "FP32": accuracy.champion,
            "INT8": accuracy.candidate,
            PEER: again["peer_accuracy"],
        },
        "rows": accuracy.rows,
        "bytes": {
            "FP32 pt2": found.original_bytes,
            "FP32 ONNX": found.converted_bytes,
            "INT8": found.quantized_bytes,
            PEER: again["peer_bytes"],
        },
        "batches": [_batch(batch, peer[batch.rows]) for batch in repeated.batches],
        "decision": worth.decision.value,
        "again": second.decision.value,
        "saving": _saving(worth),
        "saving_again": _saving(second),
        "accuracy_loss": round(accuracy.champion - accuracy.candidate, 5),
        "reason": worth.reason,
        "load": found.load_average,
        "seconds": made["seconds"],
    }


def _quantization(made: dict[str, Any], timed: dict[str, Any]) -> Quantization:
    """As a job would sign it."""
    now = datetime.now(UTC).isoformat()
    given = {"model": "task", "version": "1", "held_out": None, "recent": None, "measured_at": now, "asked_at": now}
    artefacts = dict(zip(("artefact", "original_artefact"), made["artefacts"], strict=True))
    measured = {"batches": timed["batches"], "load_average": timed["load_average"], **made["formed"]}
    return Quantization.model_validate({**given, **artefacts, **measured, "job": "benchmark"})


def _batch(batch: Batch, peer: Timing) -> dict[str, Any]:
    """Of the second measurement, in which all four took turns."""
    timings = {"FP32 pt2": batch.original, "FP32 ONNX": batch.converted, "INT8": batch.quantized, PEER: peer}
    return {
        "rows": batch.rows,
        "p50_ms": {name: round(each.p50_ms, 4) for name, each in timings.items()},
        "p99_ms": {name: round(each.p99_ms, 4) for name, each in timings.items()},
        "cost_per_1000": {name: f"{per_thousand(each.p50_ms, batch.rows, PRICES):f}" for name, each in timings.items()},
    }


def _saving(worth: Worth) -> dict[str, Any]:
    return {
        each.beside: {"value": round(each.value, 4), "low": round(each.low, 4), "high": round(each.high, 4)}
        for each in (worth.saving, worth.own_saving)
    }


def judge(rows: list[dict[str, Any]], widths: tuple[int, ...], rules: QuantizationRules, cpu_s: float) -> Checks:
    checks = Checks()
    whole = [each for each in rows if len(each["batches"]) == len(SIZES)]
    checks.at_least("rows measured", len(whole), len(widths), "widths")
    proposed = [each for each in rows if each["decision"] == Decision.PAYS]
    wrong = [each["width"] for each in proposed if each["again"] == Decision.DOES_NOT_PAY or _costs_more(each)]
    checks.at_most("proposed where a second measurement says that it does not pay", len(wrong), 0, "widths")
    missed = [each["width"] for each in rows if each["decision"] == Decision.DOES_NOT_PAY and each["again"] == Decision.PAYS]
    checks.at_most("refused where a second measurement says that it pays", len(missed), 0, "widths")
    loss = max((each["accuracy_loss"] for each in proposed), default=0.0)
    checks.at_most("accuracy lost where proposed", loss, rules.max_accuracy_loss, "points of share")
    checks.at_most("processor time", round(cpu_s, 1), _MOST_S, "s")
    return checks


def _costs_more(each: dict[str, Any]) -> bool:
    return bool(min(saving["low"] for saving in each["saving_again"].values()) <= 0)


def shown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "width | accuracy FP32, INT8 | bytes pt2, INT8 | rows | p50 ms pt2, ONNX, INT8, torch INT8 | $ per 1,000 pt2, INT8"
    ]
    for each in rows:
        for batch in each["batches"]:
            p50, cost = batch["p50_ms"], batch["cost_per_1000"]
            lines.append(
                f"{each['width']:>5} | {each['accuracy']['FP32']:.4f} {each['accuracy']['INT8']:.4f} | "
                f"{each['bytes']['FP32 pt2']:>10,} {each['bytes']['INT8']:>9,} | {batch['rows']:>3} | "
                f"{p50['FP32 pt2']:>7.3f} {p50['FP32 ONNX']:>7.3f} {p50['INT8']:>7.3f} {p50[PEER]:>7.3f} | "
                + " ".join(f"{float(each):.1e}" for each in cost.values())
            )
        lines.append(f"      {each['decision']} (again: {each['again']}): {each['reason']}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.quantization", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    given = parser.parse_args()
    widths, rules, started = tuple(given.widths), QuantizationRules(batches=SIZES), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = side("make", folder, widths)
        first, again = side("again", folder, widths), side("again", folder, widths)
    rows = [row(*each, rules) for each in zip(made, first, again, strict=True)]
    # Of both passes: on two quiet cores it is the time on the clock, on busy ones that says how busy they were.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    checks = judge(rows, widths, rules, used.ru_utime + used.ru_stime)
    print(shown(rows), file=sys.stderr if given.json else sys.stdout)
    if given.json:
        details = {"load": os.getloadavg()[0], "seconds": round(time.perf_counter() - started, 1), "table": rows}
        print(checks.as_json({"prices": PRICES.model_dump(mode="json"), **details}))
    else:
        for check in checks.entries:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.value} (limit {check.limit}) {check.unit}")
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
