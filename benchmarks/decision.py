"""From an alert to a proposal: the whole service on its embedded defaults, beside a bare LangGraph graph of as many nodes.

    python -m benchmarks.decision --json

Ours: `oppen serve` as a child process with a real MLflow registry, a real gateway and a real prediction store; an alert is
posted over HTTP, and the time runs from its arrival to the moment its approval is open in SQL. Twenty models, each with a bad
release that the investigation has to find. Bare: the same shape of graph (a subgraph of two nodes in a graph of five) whose
nodes do nothing, on the same checkpointer with the same settings, invoked in this process: no HTTP, no SQL record, no evidence.
Rounds of the two alternate; figures are medians over rounds.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.copies import Copies
from simulations import alerting
from simulations.checks import Checks
from simulations.installation import Installation, Person
from simulations.processes import Programs
from simulations.stage import Stage
from tools.offload import ChildProcess
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.registry.port import Alias

MODELS = tuple(f"model-{number:02}" for number in range(20))
ROUNDS = 5
PACED = 40
PREDICTIONS = 600
"""For each version of each model; every one with its label."""
P50_LIMIT_MS = 150.0
SHARE_OF_BARE = 0.5
BOUND_S = 120.0

POLICIES = """
intake: {debounce: 0s, hold_escalated: 0s}
investigation: {window: 1h, season: 1h}
"""


async def measure(stage: Stage) -> tuple[Checks, dict[str, Any]]:
    home = Path(tempfile.mkdtemp(prefix="oppen-decision-"))
    try:
        return await _measure(home, stage)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(home: Path, stage: Stage) -> tuple[Checks, dict[str, Any]]:
    policies = home / "policies.yaml"
    policies.write_text(POLICIES)
    installation = Installation(home, policies=policies)
    async with contextlib.AsyncExitStack() as resources:
        programs = resources.enter_context(Programs())
        stage.say(f"preparing {len(MODELS)} models")
        await _prepare(installation, programs, resources)
        service = installation.start_service(programs)
        await asyncio.to_thread(service.wait_ready, f"{installation.service_url}/healthz", BOUND_S)
        person = await installation.person("benchmark", "approver", resources)
        await _until_loaded(installation)
        bare = await resources.enter_async_context(_bare(home))
        stage.say("one round to warm up")
        await _burst(installation, person, MODELS)
        await bare(len(MODELS))
        stage.say(f"{PACED} alerts, one after the other")
        paced = [await _one(installation, person, MODELS[number % len(MODELS)]) for number in range(PACED)]
        ours, alone = [], []
        for number in range(ROUNDS):
            ours.append(await _burst(installation, person, MODELS))
            alone.append(await bare(len(MODELS)))
            stage.say(f"round {number + 1}: {ours[-1]:.1f} alerts/s, bare graph {alone[-1]:.1f} runs/s")
    quantiles = statistics.quantiles(paced, n=100)
    throughput, bare_throughput = statistics.median(ours), statistics.median(alone)
    checks = Checks()
    checks.at_most("alert_to_proposal_p50", round(quantiles[49], 1), P50_LIMIT_MS, "ms")
    checks.at_least("throughput_share_of_bare", round(throughput / bare_throughput, 3), SHARE_OF_BARE, "of the bare graph's")
    details = {
        "alert_to_proposal_ms": {"p50": round(quantiles[49], 1), "p99": round(quantiles[98], 1), "alerts": len(paced)},
        "throughput_per_s": {"ours": round(throughput, 1), "bare": round(bare_throughput, 1), "rounds": ROUNDS},
        "models": len(MODELS),
    }
    return checks, details


async def _prepare(installation: Installation, programs: Programs, resources: contextlib.AsyncExitStack) -> None:
    uri, home = installation.tracking_uri, installation.home
    training = programs.start("training", ["pipelines", "drill", "--tracking-uri", uri, "--json"], {}, home / "training.log")
    await asyncio.to_thread(training.wait_done, BOUND_S)
    copies = ChildProcess("copies", Copies, uri)
    await copies.call(Copies.make, MODELS)
    await copies.close()
    await installation.person("setup", "viewer", resources)  # makes the database that the history of aliases is in
    registry = await installation.registry(resources)
    for model in MODELS:
        for before, after in ((None, "1"), ("1", "2")):
            await registry.set_alias(
                model,
                Alias.CHAMPION,
                after,
                expected=before,
                key=f"{model}/{after}",
                actor="release-pipeline",
                reason="release",
            )
    await asyncio.to_thread(_write_segments, home / "gateway" / "segments")
    arguments = ["gateway", *(word for model in MODELS for word in ("--model", model))]
    gateway = programs.start("gateway", arguments, installation.gateway_environment, home / "gateway.log")
    await asyncio.to_thread(gateway.wait_ready, f"{installation.gateway_url}/v2/health/ready", BOUND_S)


def _write_segments(folder: Path) -> None:
    """An hour of traffic: version 1 is right nine times of ten, version 2 seven times, on the same inputs."""
    rng, now = random.Random(7), datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        predictions, labels = [], []
        for number in range(2 * PREDICTIONS):
            version, good = ("1", 0.9) if number % 2 else ("2", 0.7)
            at = int((now - timedelta(seconds=rng.uniform(60, 7000))).timestamp() * 1e6)
            late = rng.random() < 0.3
            said = late if rng.random() < good else not late
            features: dict[str, Any] = {f"x{index}": rng.gauss(0, 1) for index in range(9)}
            features |= {"origin": rng.choice(("EWR", "JFK", "LGA")), "carrier": rng.choice(("AA", "B6", "DL", "UA"))}
            identity = f"{model}-{number}"
            predictions.append(
                PredictionRecord(
                    id=identity,
                    model=model,
                    version=version,
                    at=at,
                    entity=str(number),
                    latency_us=rng.randrange(2000, 6000),
                    features=features,
                    prediction="late" if said else "on_time",
                    score=rng.random(),
                )
            )
            labels.append(LabelRecord(id=identity, model=model, at=at + 1_000_000, label="late" if late else "on_time"))
        for kind, records in (("predictions", predictions), ("labels", labels)):
            lines = b"\n".join(map(msgspec.json.encode, records)) + b"\n"
            (folder / f"{kind}-{model}.ndjson").write_bytes(lines)


async def _until_loaded(installation: Installation) -> None:
    """The loader deletes what it has loaded."""
    folder = installation.home / "gateway" / "segments"
    async with asyncio.timeout(BOUND_S):
        while any(folder.glob("*.ndjson")):
            await asyncio.sleep(0.1)


async def _one(installation: Installation, person: Person, model: str) -> float:
    """Milliseconds from the alert's arrival to its open approval, by the service's own records."""
    await _post(installation, model)
    (spent,) = await _spans(installation, person, 1)
    return (spent[1] - spent[0]).total_seconds() * 1e3


async def _burst(installation: Installation, person: Person, models: tuple[str, ...]) -> float:
    """Alerts per second, all at once, to the last proposal."""
    await asyncio.gather(*(_post(installation, model) for model in models))
    spans = await _spans(installation, person, len(models))
    seconds = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    return len(models) / seconds


async def _post(installation: Installation, model: str) -> None:
    now = datetime.now(UTC)
    labels = {"alertname": "ModelAccuracyLow", "model": model, "version": "2", "severity": "critical", "at": now.isoformat()}
    await installation.deliver(alerting.delivery([alerting.alert(labels, {"summary": "accuracy is low"}, now)]))


async def _spans(installation: Installation, person: Person, expected: int) -> list[tuple[datetime, datetime]]:
    """Wait for the proposals, take their times, and reject them so that their subjects are free again."""
    async with asyncio.timeout(BOUND_S), httpx.AsyncClient(base_url=installation.service_url) as client:
        # Asked of the metrics, because twenty proposals take the service longer to show than to count.
        while f"oppen_approvals_pending {expected:.1f}\n" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.05)
    spans = []
    for approval in (await person.get("/v1/approvals?status=pending&limit=100"))["items"]:
        incident = await person.get(f"/v1/incidents/{approval['incident_id']}")
        assert approval["proposal"]["action"]["kind"] == "rollback", approval["proposal"]["finding"]["summary"]
        arrived = datetime.fromisoformat(incident["alerts"][0]["first_seen_at"])
        spans.append((arrived, datetime.fromisoformat(approval["created_at"])))
        answer = {"decision": "reject", "reason": "a benchmark", "fingerprint": approval["fingerprint"]}
        await person.post(f"/v1/approvals/{approval['id']}/decision", answer)
    async with asyncio.timeout(BOUND_S):
        while (await person.get("/v1/incidents?open=true&limit=1"))["items"]:
            await asyncio.sleep(0.05)
    return spans


@contextlib.asynccontextmanager
async def _bare(home: Path) -> Any:
    """Runs so many threads of the empty graph to their interrupt, sixteen at once; runs per second."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import interrupt
    from typing_extensions import TypedDict

    class State(TypedDict):
        value: int

    async def step(state: State) -> State:
        return {"value": state["value"] + 1}

    async def ask(state: State) -> State:
        return {"value": interrupt(state["value"])}

    def chain(graph: Any, *names: str) -> Any:
        for before, after in zip((START, *names), (*names, END), strict=True):
            graph.add_edge(before, after)
        return graph

    inner = StateGraph(State)
    for name in ("gather", "conclude"):
        inner.add_node(name, step)
    outer = StateGraph(State)
    for name in ("triage", "propose", "judge"):
        outer.add_node(name, step)
    outer.add_node("incident", chain(inner, "gather", "conclude").compile())
    outer.add_node("ask", ask)
    async with AsyncSqliteSaver.from_conn_string(str(home / "bare.db")) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        graph = chain(outer, "triage", "incident", "propose", "judge", "ask").compile(checkpointer=saver)
        slots = asyncio.Semaphore(16)
        threads = iter(range(1_000_000))

        async def one() -> None:
            async with slots:
                config = {"configurable": {"thread_id": str(next(threads))}}
                await graph.ainvoke({"value": 0}, config, durability="sync")

        async def run(count: int) -> float:
            started = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(count)))
            return count / (time.perf_counter() - started)

        yield run


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.decision", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
    options = parser.parse_args()
    checks, details = asyncio.run(measure(Stage()))
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
