"""Whether the cause of a drift is named right: generated cases through the prediction store, with a confusion matrix.

    python -m simulations.drift_cases --cases 200 --json

Each case is a world with one cause at work (`simulations.drift_worlds`). Its traffic goes into the embedded store as that of a
gateway would; the current window is then held against the reference and three earlier weeks by the code that serves users.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.drift.causes import DriftFinding, explain
from agents.policies import Drift
from graphs.drifting import observe_drift
from simulations.checks import Checks
from simulations.drift_worlds import CAUSES, World
from simulations.stage import Stage
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.values import Window

CASES = 200
LEAST_RIGHT = 0.9
_NOW = datetime(2026, 5, 30, 18, tzinfo=UTC)
CURRENT = Window(start=_NOW - timedelta(hours=6), end=_NOW)
REFERENCE = Window(start=_NOW - timedelta(days=40), end=_NOW - timedelta(days=33))


def traffic(world: World, rows: int, labelled: float, rules: Drift) -> Iterator[PredictionRecord | LabelRecord]:
    """Of the reference, which has twice as many rows, the current window, and the same hours of the weeks before."""
    yield from world.draw(REFERENCE, 2 * rows, labelled, hit=False)
    yield from world.draw(CURRENT, rows, labelled, hit=True)
    for place in range(rules.seasons):
        window = CURRENT.shifted(-rules.season * (place + 1))
        yield from world.draw(window, rows, labelled, hit=world.cause == "seasonality")


async def one(store: ClickHouseStore, folder: Path, seed: int, cause: str, rules: Drift) -> tuple[World, DriftFinding]:
    world = World(seed, cause)
    world.model = f"case-{seed}-{cause}"
    rng = np.random.default_rng([seed, 77])
    rows, labelled = int(rng.integers(1_500, 4_000)), float(rng.uniform(0.5, 1.0))
    records = list(traffic(world, rows, labelled, rules))
    encoder = msgspec.json.Encoder()
    for kind in (PredictionRecord, LabelRecord):
        path = folder / f"{kind.__name__.lower()}-{seed:016d}-{world.model}-000001.ndjson"
        path.write_bytes(encoder.encode_lines([each for each in records if isinstance(each, kind)]))
        await store.load(path)
        path.unlink()
    observations = await observe_drift(world.model, REFERENCE, CURRENT, store, rules)
    return world, explain(observations, rules.rules)


async def measure(stage: Stage, cases: int, first_seed: int) -> tuple[Checks, dict[str, Any]]:
    rules, checks = Drift(), Checks()
    matrix: dict[str, Counter[str]] = {cause: Counter() for cause in CAUSES}
    wrong: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        store = open_store(f"chdb://{home}/store")
        for number in range(cases):
            cause = CAUSES[number % len(CAUSES)]
            world, found = await one(store, Path(home), first_seed + number, cause, rules)
            matrix[cause][found.cause] += 1
            if found.cause != cause:
                told = {"said": found.cause, "reason": found.reason, "considered": found.considered}
                wrong.append({"seed": first_seed + number, "truth": cause, "case": world.detail, **told})
            if (number + 1) % 20 == 0:
                stage.say(f"{number + 1} of {cases} cases, {len(wrong)} of them wrong")
        await store.close()
    right = 1 - len(wrong) / cases
    checks.at_least("causes_named_right", round(right, 3), LEAST_RIGHT, "of the cases")
    confusion = {truth: dict(said) for truth, said in matrix.items()}
    return checks, {"cases": cases, "right": right, "confusion": confusion, "wrong": wrong}


def _table(confusion: dict[str, dict[str, int]]) -> str:
    said = sorted({cause for row in confusion.values() for cause in row} | set(CAUSES))
    lines = ["truth \\ said".ljust(17) + "".join(cause[:15].rjust(17) for cause in said)]
    lines += [truth.ljust(17) + "".join(str(row.get(cause, 0)).rjust(17) for cause in said) for truth, row in confusion.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python -m simulations.drift_cases", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=1, help="of the first case; the others follow it")
    parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
    options = parser.parse_args()
    checks, details = asyncio.run(measure(Stage(), options.cases, options.seed))
    print(_table(details["confusion"]), file=sys.stderr if options.json else sys.stdout)
    print(checks.as_json(details) if options.json else json.dumps(details["wrong"], indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
