"""Our gateway beside `mlflow models serve` and a bare FastAPI handler: the same torch model, the same clients, in turn.

`python -m benchmarks.gateway [--rounds 5] [--seconds 2] [--json]`. All three run all the time, and the load goes round: what
the machine does besides hits all alike, and the medians over the rounds are compared. Afterwards every answer that the clients
got from the gateway has to be in its segment files.
"""

import argparse
import math
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec

from benchmarks import servers
from benchmarks.load import Plan, Seen
from benchmarks.servers import MODEL, Server
from simulations.checks import Checks
from simulations.processes import Failed, Programs
from tools.predictions.records import PredictionRecord

_CLIENTS = 8
_TIMES_MLFLOW = 6.0
_TIMES_BARE = 2.0
_COMPARED = 3
"""Rows whose scores are compared between the servers."""


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load per server and round")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on stdout")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        checks, details = compare(Path(folder), chosen.rounds, chosen.seconds)
    for check in checks.entries:
        _say(f"{'ok ' if check.ok else 'NOT'} {check.name}: {check.value} (limit {check.limit}) {check.unit}")
    if chosen.json:
        print(checks.as_json(details))
    return 0 if checks.ok else 1


def compare(home: Path, rounds: int, seconds: float) -> tuple[Checks, dict[str, Any]]:
    _say("registering the model in MLflow")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        uri = process.submit(servers.publish, home).result()
    asked = servers.rows(64)
    seen: dict[str, list[Seen]] = {}
    with Programs() as programs:
        _say("starting the three servers")
        ours = servers.start_ours(programs, home, uri, asked)
        all_three = [ours, servers.start_bare(programs, home, asked), servers.start_mlflow(programs, home, uri, asked)]
        difference = _largest_difference(all_three)
        warmed = {server.name: _load(server, 0.5).answered for server in all_three}
        answered = _COMPARED + warmed["ours"]
        for number in range(rounds):
            for server in all_three:
                result = _load(server, seconds)
                seen.setdefault(server.name, []).append(result)
                _say(f"round {number + 1}: {server.name:6} {_rate(result):7.0f}/s  p99 {_p99(result):6.2f} ms")
        answered += sum(result.answered for result in seen["ours"])
        loading = _load_while_loading(ours, seconds)
        answered += loading.answered
        ours.program.stop()
        logged = _logged(home / "gateway" / "segments")
    return _judge(seen, answered, logged, difference, loading)


def _judge(
    seen: dict[str, list[Seen]], answered: int, logged: int, difference: float, loading: Seen
) -> tuple[Checks, dict[str, Any]]:
    rate = {name: statistics.median(map(_rate, results)) for name, results in seen.items()}
    p99 = {name: statistics.median(map(_p99, results)) for name, results in seen.items()}
    checks = Checks()
    checks.at_least("requests/s, times MLflow's", round(rate["ours"] / rate["mlflow"], 2), _TIMES_MLFLOW, "times")
    checks.at_least("requests/s, times bare FastAPI's", round(rate["ours"] / rate["bare"], 2), _TIMES_BARE, "times")
    checks.at_most("p99, beside bare FastAPI's", round(p99["ours"], 2), round(p99["bare"], 2), "ms")
    checks.equal("predictions logged, of those answered", logged, answered)
    checks.equal("failed requests", sum(result.failed for results in seen.values() for result in results), 0)
    checks.equal("failed requests while a version was loaded", loading.failed, 0)
    checks.at_most("largest difference between the three servers' scores", difference, 1e-5, "")
    details = {
        "clients": _CLIENTS,
        "servers": {name: {"requests_per_s": round(rate[name]), "p99_ms": round(p99[name], 2)} for name in seen},
        "rounds": {name: [round(_rate(result)) for result in results] for name, results in seen.items()},
        "while_loading": {"p99_ms": round(_p99(loading), 2), "max_ms": round(max(loading.latencies_ms), 2)},
    }
    return checks, details


Client = tuple["subprocess.Popen[bytes]", IO[bytes]]
"""A client at work, and where it leaves what it has seen."""


def _load(server: Server, seconds: float) -> Seen:
    return _finish(_begin(server, seconds), seconds)


def _begin(server: Server, seconds: float) -> Client:
    plan = Plan(port=server.port, path=server.path, bodies=server.bodies, clients=_CLIENTS, seconds=seconds)
    # Files and not pipes: nobody reads while a version is loaded, and a pipe holds less than what is seen.
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who reads it
    with tempfile.TemporaryFile() as given:
        given.write(msgspec.json.encode(plan))
        given.seek(0)
        return subprocess.Popen([sys.executable, "-m", "benchmarks.load"], stdin=given, stdout=output), output


def _finish(client: Client, seconds: float) -> Seen:
    process, output = client
    with output:
        if code := process.wait(timeout=seconds + 30):
            raise Failed(f"the client ended with code {code}")
        output.seek(0)
        return msgspec.json.decode(output.read(), type=Seen)


def _load_while_loading(ours: Server, seconds: float) -> Seen:
    """Load the second version and give it half of the traffic meanwhile."""
    client = _begin(ours, max(seconds, 3.0))
    time.sleep(1.0)  # the client has started by then; that is all this is for
    change = {"weights": {"1": 50, "2": 50}, "expected_generation": 1, "key": "bench"}
    httpx.put(f"{ours.url}/admin/routes/{MODEL}", json=change, timeout=60).raise_for_status()
    return _finish(client, max(seconds, 3.0))


def _largest_difference(all_three: list[Server]) -> float:
    """Between the scores that the servers give the first rows: it is the same model everywhere."""
    scores = [[_score(server, body) for body in server.bodies[:_COMPARED]] for server in all_three]
    largest: float = max(max(row) - min(row) for row in zip(*scores, strict=True))
    return largest


def _score(server: Server, body: str) -> float:
    answer = httpx.post(f"{server.url}{server.path}", content=body, headers={"content-type": "application/json"}, timeout=30)
    said = answer.raise_for_status().json()
    match server.name:
        case "ours":
            return float(said["outputs"][1]["data"][0])
        case "bare":
            return float(said["scores"][0])
        case _:
            # MLflow gives the logit.
            return 1.0 / (1.0 + math.exp(-float(said["predictions"][0][0])))


def _logged(segments: Path) -> int:
    """Predictions in complete segments; distinct, so that a line that is there twice does not hide one that is missing."""
    decoder = msgspec.json.Decoder(PredictionRecord)
    return len(
        {record.id for path in segments.glob("predictions-*.ndjson") for record in decoder.decode_lines(path.read_bytes())}
    )


def _rate(result: Seen) -> float:
    return result.answered / result.seconds


def _p99(result: Seen) -> float:
    p99: float = statistics.quantiles(result.latencies_ms, n=100)[98]
    return p99


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
