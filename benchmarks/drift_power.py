"""How often drift is claimed where there is none, and found where there is: by the comparison that users run.

    python -m benchmarks.drift_power --json

Twenty features of six kinds (normal, lognormal, exponential, counts, categories few and many, truth) are drawn from one law for
both sides, a thousand times at each size: whatever is then claimed is a false alarm. In other pairs one feature of the twenty
is moved: a number by 20 % of its standard deviation, a category by giving one value to 20 % of the rows, the share of what is
true by 20 points.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from agents.drift.rules import DriftRules
from agents.drift.verdicts import Comparison, compare
from simulations.checks import Checks
from simulations.stage import Stage
from tools.tables.profiling import profile_together

SIZES = (50, 500, 50_000)
PAIRS = 1_000
PLANTED = 1_000
PLANTED_ROWS = 5_000
MOST_FALSE = 0.01
LEAST_FOUND = 0.99
MOVED = ("n0", "l0", "e0", "p0", "c0", "k0", "b0")


class Drawn:
    """A table of `rows` drawn from the law, with one feature moved if there is one."""

    def __init__(self, rng: np.random.Generator, rows: int, moved: str | None = None) -> None:
        columns: dict[str, np.ndarray[Any, Any]] = {}
        columns |= {f"n{place}": rng.normal(0, 1, rows) for place in range(6)}
        columns |= {f"l{place}": rng.lognormal(0, 1, rows) for place in range(3)}
        columns |= {f"e{place}": rng.exponential(1, rows) for place in range(3)}
        columns |= {f"p{place}": rng.poisson(3, rows).astype(float) for place in range(2)}
        shares = np.arange(1, 9) / 36
        columns |= {f"c{place}": rng.choice(list("abcdefgh"), rows, p=shares) for place in range(3)}
        names = [f"v{number}" for number in range(60)]
        columns |= {f"k{place}": rng.choice(names, rows) for place in range(2)}
        columns["b0"] = rng.random(rows) < 0.3
        if moved is not None:
            columns[moved] = _moved(rng, columns[moved])
        self._table = pa.table(columns)

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(self._table.to_batches())


def _moved(rng: np.random.Generator, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    moved: np.ndarray[Any, Any]
    if values.dtype.kind == "f":
        moved = values + 0.2 * values.std()
    elif values.dtype.kind == "b":
        moved = values | (rng.random(len(values)) < 0.2 / 0.7)
    else:
        moved = np.where(rng.random(len(values)) < 0.2, min(values), values)
    return moved


def measure(stage: Stage, pairs: int, planted: int) -> tuple[Checks, dict[str, Any]]:
    rng, checks = np.random.default_rng(20), Checks()
    false: dict[str, float] = {}
    for rows in SIZES:
        alarms = sum(_claimed(_judged(Drawn(rng, rows), Drawn(rng, rows))) for _ in range(pairs))
        false[str(rows)] = alarms / pairs
        stage.say(f"{alarms} of {pairs} pairs of {rows:,} rows without a change were claimed")
        checks.at_most(f"false_alarms_at_{rows}", false[str(rows)], MOST_FALSE, "of the pairs")
    found: dict[str, list[bool]] = {name: [] for name in MOVED}
    for number in range(planted):
        name = MOVED[number % len(MOVED)]
        verdict = _judged(Drawn(rng, PLANTED_ROWS), Drawn(rng, PLANTED_ROWS, moved=name))
        found[name].append(verdict.features[0].drifted and verdict.features[0].name == name)
    power = sum(map(sum, found.values())) / planted
    stage.say(f"{power:.1%} of {planted} planted shifts at {PLANTED_ROWS:,} rows were found and named")
    checks.at_least("found_and_named", power, LEAST_FOUND, "of the planted shifts")
    by_feature = {name: sum(hits) / len(hits) for name, hits in found.items() if hits}
    return checks, {"false_alarms": false, "found": power, "found_by_feature": by_feature, "pairs": pairs, "planted": planted}


def _judged(reference: Drawn, current: Drawn) -> Comparison:
    return compare(profile_together(reference, current).pairs.values(), DriftRules())


def _claimed(found: Comparison) -> bool:
    return any(each.drifted or each.faults for each in found.features)


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.drift_power", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="without a change, at each size")
    parser.add_argument("--planted", type=int, default=PLANTED)
    parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
    options = parser.parse_args()
    checks, details = measure(Stage(), options.pairs, options.planted)
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
