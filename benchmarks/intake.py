"""A storm of alerts against the real service over HTTP: none is lost, and causes are what becomes incidents.

    python -m benchmarks.intake --alerts 10000 --json

Each cause is a model, each alert one instance that complains about it. Alerts come as Alertmanager sends them: in groups that
grow and repeat what they held, some deliveries twice because the first answer was "lost", from several connections at once.
The service runs in a process of its own, on a fresh home (or `--database`), with a debounce longer than the storm: incidents
and runs are made, no run is executed, so that what is measured is intake.
"""

import argparse
import asyncio
import json
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from api.keyring import create
from api.settings import Settings
from simulations.alerting import alert, delivery
from simulations.processes import Programs, free_port

_GROUP_SIZES = (1, 2, 5, 10, 25, 50)
_REPEATED_SHARE = 0.3
"""Of what a group has already told, this much is told again with what is new."""
_DUPLICATED_SHARE = 0.1
"""Of the deliveries, so many are posted twice."""
_ATTEMPTS = 10
_POLICIES = "intake:\n  debounce: PT1H\n"


@dataclass
class Storm:
    bodies: list[bytes]
    deliveries: Counter[str]
    """How often each alert is delivered, by fingerprint."""
    causes: int


@dataclass
class Seen:
    latencies_ms: list[float] = field(default_factory=list)
    """Of the answers with 202."""
    pushed_back: int = 0
    """Answers with 503; the delivery was tried again."""
    refused: int = 0
    """Deliveries that were never taken."""
    seconds: float = 0.0


def make_storm(alerts: int, causes: int, seed: int = 7) -> Storm:
    chance = random.Random(seed)
    starts_at = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    names = [f"model-{number:03d}" for number in range(causes)]
    untold: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(alerts):
        model = names[number % causes]
        labels = {
            "alertname": "ModelErrorRateHigh",
            "model": model,
            "version": "2",
            "severity": "warning",
            "instance": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:9090",
            "cluster": "production",
            "team": "ml",
        }
        notes = {"summary": f"{model} fails too often", "description": f"Instance {number} answers 4.2% with an error."}
        untold[model].append(alert(labels, notes, starts_at))
    bodies: list[bytes] = []
    deliveries: Counter[str] = Counter()
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    while any(untold.values()):
        model = chance.choice([name for name in names if untold[name]])
        size = chance.choice(_GROUP_SIZES)
        fresh, untold[model] = untold[model][:size], untold[model][size:]
        again = chance.sample(told[model], min(len(told[model]), round(size * _REPEATED_SHARE)))
        told[model] += fresh
        group = fresh + again
        body = json.dumps(delivery(group)).encode()
        for _ in range(2 if chance.random() < _DUPLICATED_SHARE else 1):
            bodies.append(body)
            deliveries.update(each["fingerprint"] for each in group)
    return Storm(bodies, deliveries, causes)


async def post(url: str, token: str, storm: Storm, connections: int) -> Seen:
    """Every body once it is taken, from `connections` clients that each wait for their answer."""
    seen = Seen()
    pending = iter(storm.bodies)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def send() -> None:
        async with httpx.AsyncClient(headers=headers, timeout=60) as client:
            for body in pending:
                await _deliver(client, f"{url}/v1/alerts/alertmanager", body, seen)

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(connections)))
    seen.seconds = time.perf_counter() - started
    return seen


async def _deliver(client: httpx.AsyncClient, url: str, body: bytes, seen: Seen) -> None:
    for _ in range(_ATTEMPTS):
        started = time.perf_counter()
        answer = await client.post(url, content=body)
        if answer.status_code == httpx.codes.ACCEPTED:
            seen.latencies_ms.append((time.perf_counter() - started) * 1000)
            return
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        seen.pushed_back += 1
        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
    seen.refused += 1


async def _all(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        answer = await client.get(path, params={"limit": 500, **({"cursor": cursor} if cursor else {})})
        answer.raise_for_status()
        page = answer.json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def examine(url: str, key: str, storm: Storm, seen: Seen) -> list[dict[str, Any]]:
    """Compare what was sent with what the service says it has."""
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        alerts, incidents = await _all(client, "/v1/alerts"), await _all(client, "/v1/incidents")
        audit = (await client.get("/v1/audit/verify")).raise_for_status().json()
    stored = {each["fingerprint"]: each for each in alerts}
    subjects = {each["id"]: each["model"] for each in incidents}
    astray = sum(1 for each in alerts if subjects.get(each["incident_id"]) != each["labels"]["model"])
    miscounted = sum(1 for name, count in storm.deliveries.items() if name in stored and stored[name]["deliveries"] != count)
    return [
        _check("deliveries refused", seen.refused, 0, ""),
        _check("alerts lost", len(storm.deliveries.keys() - stored.keys()), 0, ""),
        _check("alerts stored twice", len(alerts) - len(stored), 0, ""),
        _check("alerts in another cause's incident", astray, 0, ""),
        _check("alerts whose deliveries are miscounted", miscounted, 0, ""),
        _check("incidents", len(incidents), storm.causes, ""),
        _check("audit chain broken", int(not audit["ok"]), 0, ""),
    ]


def _check(name: str, value: float, limit: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": limit, "unit": unit, "ok": value == limit}


async def measure(alerts: int, causes: int, connections: int, database: str, home: Path) -> dict[str, Any]:
    storm = make_storm(alerts, causes)
    token, url = secrets.token_urlsafe(24), f"http://127.0.0.1:{free_port()}"
    policies = home / "policies.yaml"
    policies.write_text(_POLICIES)
    environment = {
        "OPPEN_HOME": str(home),
        "OPPEN_PORT": url.rpartition(":")[2],
        "OPPEN_POLICIES": str(policies),
        "OPPEN_SENDERS": json.dumps({"alertmanager": {"bearer": token}}),
        **({"OPPEN_DATABASE_URL": database} if database else {}),
    }
    key = (await create(Settings(home=home, database_url=database), f"storm-{secrets.token_hex(4)}", "viewer"))["key"]
    with Programs() as programs:
        service = programs.start("service", ["api.cli", "serve"], environment, home / "service.log")
        await asyncio.to_thread(service.wait_ready, f"{url}/healthz", 60)
        # The service loads its registry in the background after its start; that it has done so is how this answers.
        await asyncio.to_thread(service.wait_ready, f"{url}/v1/models", 90, {"Authorization": f"Bearer {key}"})
        seen = await post(url, token, storm, connections)
        checks = await examine(url, key, storm, seen)
    sent = sum(storm.deliveries.values())
    ordered = sorted(seen.latencies_ms)
    return {
        "ok": all(check["ok"] for check in checks),
        "checks": checks,
        "database": "postgresql" if database.startswith("postgresql") else "sqlite",
        "alerts": len(storm.deliveries),
        "causes": causes,
        "deliveries": sent,
        "posts": len(storm.bodies),
        "connections": connections,
        "runs_executed": False,
        "pushed_back": seen.pushed_back,
        "seconds": round(seen.seconds, 3),
        "alerts_per_second": round(sent / seen.seconds),
        "posts_per_second": round(len(storm.bodies) / seen.seconds),
        "latency_202_ms": {
            "p50": round(statistics.median(ordered), 2),
            "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
            "max": round(ordered[-1], 2),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--alerts", type=int, default=10_000, help="distinct alerts")
    parser.add_argument("--causes", type=int, default=40, help="models that they are about")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--database", default="", help="URL of an empty database; default: SQLite in a temporary folder")
    parser.add_argument("--json", action="store_true", help="print the whole result as one line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oppen-intake-") as folder:
        result = asyncio.run(measure(options.alerts, options.causes, options.connections, options.database, Path(folder)))
    if options.json:
        print(json.dumps(result))
    else:
        latency = result["latency_202_ms"]
        print(f"{result['deliveries']} deliveries of {result['alerts']} alerts in {result['seconds']} s")
        print(f"{result['alerts_per_second']} alerts/s, 202 after {latency['p50']} ms (median), {latency['p99']} ms (p99)")
        for check in result["checks"]:
            print(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['value']} (is to be {check['limit']})")
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
