"""How long `oppen serve` takes from the start of its process to a `/readyz` of 200: `python -m benchmarks.start --json`.

On the embedded defaults, on the state of an installation that has run before; the first start, which makes that state, is
reported beside.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from simulations.checks import Checks
from simulations.processes import Programs, free_port

_LIMIT_S = 5.0
_STARTS = 7
_BOUND_S = 60.0


def start(folder: Path, port: int) -> float:
    """Seconds until it is ready; the service is ended again, in order."""
    settings = {"OPPEN_HOME": str(folder / "home"), "OPPEN_PORT": str(port)}
    with Programs() as programs:
        service = programs.start("service", ["api.cli", "serve"], settings, folder / "service.log")
        return service.wait_ready(f"http://127.0.0.1:{port}/readyz", _BOUND_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=_STARTS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, *warm = [start(Path(folder), free_port()) for _ in range(given.starts + 1)]
    checks = Checks()
    checks.at_most("ready after, median", round(statistics.median(warm), 2), _LIMIT_S, "s")
    checks.at_most("ready after, slowest", round(max(warm), 2), _LIMIT_S, "s")
    if given.json:
        print(checks.as_json({"first_s": round(first, 2), "starts_s": [round(each, 2) for each in warm]}))
    else:
        for check in checks.entries:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.value} (limit {check.limit}) {check.unit}")
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
