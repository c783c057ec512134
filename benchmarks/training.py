"""The reference training on a year of flights beside scikit-learn's gradient boosting: `python -m benchmarks.training --json`.

Each side has two cores and a process of its own, one after the other, and is asked about the weeks after those that it has
learnt from. The peer is what one would take for such a table without a second thought; ours is a network because that exports
to a file without code, and may cost as much of the quality as is not worth a new version by policy.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from agents.promotion_rules import Evaluations
from benchmarks.training_side import CORES
from simulations.checks import Checks

_ROWS = 300_000
_WORSE = Evaluations().min_gain
"""Points of accuracy and AUC below the peer: what policy calls too small a gain to change a version for."""
_WORSE_LOSS = 0.015
"""Nats: what it costs to say 24 % everywhere where 32 % is true, the share of late flights in those weeks."""
_MOST_S = 60.0
"""On a machine that has other things to do: a third of what the whole of `oppen demo lifecycle` may take, for twelve times the
rows that it trains on."""
_MOST_MIB = 2_048
"""Half of what a training job gets by default, so that a year of another model fits as well."""
_BOUND_S = 600


def side(name: str, rows: int) -> dict[str, Any]:
    """Raises CalledProcessError with what it said."""
    command = [sys.executable, "-m", "benchmarks.training_side", name, str(rows)]
    environment = os.environ | {"OMP_NUM_THREADS": str(CORES)}
    program = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_BOUND_S, check=True, env=environment)
    found: dict[str, Any] = json.loads(program.stdout.splitlines()[-1])
    return found


def judge(ours: dict[str, Any], peer: dict[str, Any], rows: int) -> Checks:
    checks = Checks()
    checks.at_least("rows", ours["rows"], rows, "flights")
    checks.at_most("training", ours["seconds"], _MOST_S, "s")
    checks.at_most("peak memory", ours["peak_mib"], _MOST_MIB, "MiB")
    checks.at_most("accuracy below the peer's", round(peer["accuracy"] - ours["accuracy"], 5), _WORSE, "points of share")
    checks.at_most("AUC below the peer's", round(peer["auc"] - ours["auc"], 5), _WORSE, "points of share")
    checks.at_most("log loss above the peer's", round(ours["log_loss"] - peer["log_loss"], 5), _WORSE_LOSS, "nats")
    return checks


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    given = parser.parse_args()
    ours, peer = side("ours", given.rows), side("peer", given.rows)
    checks = judge(ours, peer, given.rows)
    if given.json:
        print(checks.as_json({"cores": CORES, "ours": ours, "HistGradientBoostingClassifier": peer}))
    else:
        for check in checks.entries:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.value} (limit {check.limit}) {check.unit}")
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
