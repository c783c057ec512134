"""`make chaos`: the service is killed with SIGKILL at every kind of instant of an incident, on SQLite and on PostgreSQL.

For each kill there is one incident: the bad version is released, the alert posted (and posted again until it is taken, as
Alertmanager does), the question answered, the end awaited, through whatever restarts it takes. Afterwards the record, the
registry and the gateway are held against each other: lost is an alert without an incident that ended as it should, doubled is
a change that was made more than once, stuck is an incident that did not end in time.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from pipelines.flights import load
from simulations import alerting
from simulations.checks import Checks
from simulations.installation import Installation, Person
from simulations.postgres import throwaway
from simulations.processes import Failed, Program, Programs
from simulations.stage import Stage
from simulations.traffic import steady
from tools.clock import SharedClock
from tools.registry.port import Alias, Registry
from tools.values import Window

MODEL = "flights"
GOOD, BAD = "1", "2"
INCIDENT_S = 120.0
"""An incident that has not ended by then, restarts included, is stuck."""
WARM_UP = 400
"""Labelled answers of each version before the first incident: what an investigation needs to tell them apart."""


_DAYS = Window(start=datetime(2013, 3, 24, 12, tzinfo=UTC), end=datetime(2013, 3, 26, 12, tzinfo=UTC))
"""Flights that neither version has seen, on days with many late ones; sent again and again."""


@dataclass
class Score:
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    at: Counter[str] = field(default_factory=Counter)
    """Where the kills fell."""
    parts: Counter[str] = field(default_factory=Counter)
    """In which part of the way, where the drill tells them apart."""

    def __str__(self) -> str:
        return f"kills={self.kills} lost={self.lost} doubled={self.doubled} stuck={self.stuck}"


class Drill:
    """One installation on one database, and incident after incident in it."""

    limit_s = INCIDENT_S

    def __init__(self, installation: Installation, programs: Programs, stage: Stage, score: Score) -> None:
        self.installation = installation
        self._programs = programs
        self.stage = stage
        self.score = score
        self._order = installation.home / "kill-at.txt"
        self._trace = installation.home / "boundaries.txt"
        self._lives = 0
        self._ended_at: list[str] = []

    async def run(self, kills: int, resources: contextlib.AsyncExitStack) -> None:
        installation = self.installation
        gateway = self._programs.start(
            "gateway", ["gateway", "--model", MODEL], installation.gateway_environment, installation.home / "gateway.log"
        )
        self._worker = await self._life()
        approver = await installation.person("approver", "approver", resources)
        self.operator = await installation.person("operator", "operator", resources)
        registry = await installation.registry(resources)
        await registry.set_alias(
            MODEL, Alias.CHAMPION, GOOD, expected=None, key="release/0", actor="release-pipeline", reason="first release"
        )
        await asyncio.to_thread(gateway.wait_ready, f"{installation.gateway_url}/v2/models/{MODEL}/ready", 60)
        stop, flights = asyncio.Event(), cycle((await asyncio.to_thread(load)).departing(_DAYS))
        labelled: Counter[str] = Counter()
        traffic = asyncio.create_task(steady(installation.gateway_url, MODEL, flights, stop, labelled))
        resources.push_async_callback(_end, traffic, stop)

        # The first incident runs through: it tells how many boundaries there are to be killed at.
        await self.prepare(registry, 1)
        while not self.warm(labelled):
            await asyncio.sleep(0.1)  # the traffic is another task's; it ends the drill when it fails
            if traffic.done():
                await traffic
        await self._incident(registry, approver, 1, kill_at=0)
        await self.kill(kills, registry, approver)
        audit = await approver.get("/v1/audit/verify")
        if not audit["ok"]:
            raise Failed(f"the audit chain is broken at {audit['first_bad_seq']}")

    async def kill(self, kills: int, registry: Registry, approver: Person) -> None:
        """One in each incident, at boundaries spread over all that the first incident had."""
        boundaries = len(self.crossed())
        self.stage.say(f"an incident has {boundaries} boundaries; {kills} kills are spread over them")
        done = 0
        for number in range(2, 2 * kills + 2):
            await self.prepare(registry, number)
            kill_at = 1 + done * (boundaries - 1) // max(1, kills - 1)
            if await self._incident(registry, approver, number, kill_at=kill_at):
                done += 1
            else:
                # No two runs are quite alike: this one was over before it came to that boundary.
                boundaries = len(self.crossed())
            if done == kills:
                break
        else:
            raise Failed(f"only {done} of {kills} kills met a boundary")

    def crossed(self) -> list[tuple[int, str]]:
        """The boundaries of the latest incident: the part of it (`simulations.phases`), and the name."""
        lines = (line.split(" ", 1) for line in self._trace.read_text().splitlines())
        return [(int(phase), name) for phase, name in lines]

    async def _life(self, resumed: str = "") -> Program:
        """The service as a new process, ready. `resumed`: the part in which the one before was killed; it counts on there."""
        self._lives += 1
        drilled = {"CHAOS_ORDER": str(self._order), "CHAOS_TRACE": str(self._trace), "CHAOS_RESUMED": resumed}
        environment, log = {**self.installation.environment, **drilled}, self.installation.home / "service.log"
        worker = self._programs.start(f"service, life {self._lives}", ["simulations.chaos_worker"], environment, log)
        await asyncio.to_thread(worker.wait_ready, f"{self.installation.service_url}/healthz", 60)
        return worker

    def warm(self, labelled: Counter[str]) -> bool:
        """Whether enough traffic has come; `labelled`: by version."""
        return min(labelled[GOOD], labelled[BAD]) >= WARM_UP

    async def prepare(self, registry: Registry, number: int) -> None:
        """The bad version, to half of the traffic, so that both can be compared on the same period."""
        if await registry.alias(MODEL, Alias.CHAMPION) == BAD:
            # The incident before was lost: it is counted, and the drill goes on as people would, with the good one put back.
            await registry.set_alias(
                MODEL, Alias.CHAMPION, GOOD, expected=BAD, key=f"restored/{number}", actor="operator", reason="a lost incident"
            )
        await registry.set_alias(
            MODEL,
            Alias.CHAMPION,
            BAD,
            expected=GOOD,
            key=f"release/{number}",
            actor="release-pipeline",
            reason="scheduled retraining",
        )
        await self.installation.shift_traffic(MODEL, {BAD: 50, GOOD: 50}, key=f"release/{number}")

    async def _incident(self, registry: Registry, approver: Person, number: int, kill_at: int) -> bool:
        """Whether the service was killed in it."""
        before, worker = await self.generation(), self._worker
        self._order.write_text(str(kill_at))
        self._trace.write_text("")
        watch = asyncio.create_task(self._revive(worker))
        try:
            async with asyncio.timeout(self.limit_s):
                os.kill(worker.process.pid, signal.SIGUSR1)
                incident = await self.through(approver, number)
        except TimeoutError:
            self.score.stuck += 1
            self.stage.say(f"incident {number}, killed at {kill_at}: stuck; the logs are in {self.installation.home}")
            raise Failed(f"incident {number} did not end within {self.limit_s:.0f} s") from None
        killed = worker.process.poll() is not None
        if killed:
            await watch
        else:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        self.score.kills += killed
        ended = [name for name in self._ended_at if killed]
        self.score.at.update(ended)
        await self.judge(incident, approver, registry, number, routes=await self.generation() - before)
        self.stage.say(f"incident {number}: killed at {ended[0] if ended else 'no boundary'}; {self.score}")
        return killed

    async def _revive(self, worker: Program) -> None:
        """What an init system does: start it again when it has died."""
        while worker.process.poll() is None:  # noqa: ASYNC110 - it is another process that ends
            await asyncio.sleep(0.05)
        self._ended_at = [name for _, name in self.crossed()[-1:]]
        self._worker = await self._life()

    async def through(self, approver: Person, number: int) -> dict[str, Any]:
        """Alert, answer, end: each asked for until it is had, because the service may be away at any moment."""
        labels = {"alertname": "ModelAccuracyLow", "model": MODEL, "version": BAD, "severity": "critical", "n": str(number)}
        alert = alerting.alert(labels, {"summary": "accuracy is low"}, datetime.now(UTC))
        body = alerting.delivery([alert])
        await self.until(lambda: self.installation.deliver(body))
        return await self.answered(approver)

    async def answered(self, approver: Person) -> dict[str, Any]:
        """The newest incident once it is closed, with a yes to all that it asks."""
        incident: dict[str, Any] = {}
        while not incident.get("closed_at"):
            found = await self.until(lambda: approver.get("/v1/incidents?limit=1"))
            path = f"/v1/incidents/{found['items'][0]['id']}"
            incident = await self.until(partial(approver.get, path))
            for approval in incident["approvals"]:
                if approval["status"] == "pending":
                    answer = {"decision": "approve", "fingerprint": approval["fingerprint"]}
                    with contextlib.suppress(Failed, httpx.HTTPError):
                        # Lost on the way, or taken and not answered: the next look tells.
                        await approver.post(f"/v1/approvals/{approval['id']}/decision", answer)
            await asyncio.sleep(0.1)
        return incident

    async def until(self, call: Any) -> Any:
        while True:
            try:
                return await call()
            except (httpx.HTTPError, Failed):
                await asyncio.sleep(0.1)

    async def judge(self, incident: dict[str, Any], approver: Person, registry: Registry, number: int, *, routes: int) -> None:
        """`routes`: changes of the route since before the incident."""
        del approver
        registry_moves = await self._moves(registry, number)
        outcome = [run["outcome"] for run in incident["runs"]]
        if incident["status"] != "resolved" or outcome != ["resolved"]:
            self.score.lost += 1
            self.stage.say(f"{incident['id']} ended as {incident['status']}: {outcome}, {incident['summary']}")
        approved = [approval for approval in incident["approvals"] if approval["status"] == "approved"]
        done = [action for action in incident["actions"] if action["state"] == "done"]
        if registry_moves != 1 or routes != 1 or len(approved) != 1 or len(done) != 1 or len(incident["alerts"]) != 1:
            self.score.doubled += 1
            self.stage.say(f"{incident['id']}: {registry_moves} moves, {routes} routes, {len(approved)} yes, {len(done)} done")

    async def _moves(self, registry: Registry, number: int) -> int:
        """How often the champion was given back since the release."""
        history = await registry.history(MODEL)
        release = next(index for index, change in enumerate(history) if change.key == f"release/{number}")
        return sum(change.after == GOOD for change in history[release + 1 :])

    async def generation(self) -> int:
        async with httpx.AsyncClient(base_url=self.installation.gateway_url) as client:
            return int((await client.get(f"/admin/routes/{MODEL}")).json()["generation"])


async def drill(
    kind_of: type[Drill], policies: str, databases: list[str], kills: int, home: Path, stage: Stage, rate: float | None = None
) -> Score:
    """`rate`: of a clock of the drill's own; None: the system's."""
    score = Score()
    stage.say("training the two versions")
    with Programs() as programs:
        arguments = ["pipelines", "drill", "--tracking-uri", f"sqlite:///{home}/mlflow.db", "--json"]
        training = programs.start("training", arguments, {}, home / "training.log")
        await asyncio.to_thread(training.wait_done, 180)
    for kind in databases:
        folder = home / kind
        folder.mkdir()
        shutil.copy(home / "mlflow.db", folder / "mlflow.db")
        stage.say(f"on {kind}")
        async with contextlib.AsyncExitStack() as resources:
            url = ""
            if kind == "postgresql":
                server = resources.enter_context(throwaway())
                if server is None:
                    raise Failed("no PostgreSQL: install its server, or set OPPEN_TEST_POSTGRES to a server's URL")
                url = server.create()
            installation = Installation(
                folder,
                clock=_clock(folder, rate),
                policies=_policies(folder, policies),
                databases={"OPPEN_DATABASE_URL": url} if url else None,
            )
            programs = resources.enter_context(Programs())
            await kind_of(installation, programs, stage, score).run(kills, resources)
    return score


def _clock(folder: Path, rate: float | None) -> str:
    if rate is None:
        return "system"
    SharedClock.create(folder / "clock.json", datetime.now(UTC), rate)
    return f"shared:{folder / 'clock.json'}"


def _policies(folder: Path, name: str) -> Path:
    """With this Python where they say `{python}`."""
    path = folder / "policies.yaml"
    path.write_text((Path(__file__).parent / "policies" / name).read_text().replace("{python}", sys.executable))
    return path


async def _end(traffic: asyncio.Task[None], stop: asyncio.Event) -> None:
    stop.set()
    await traffic


def main(kind_of: type[Drill] = Drill, policies: str = "chaos.yaml", name: str = "chaos", rate: float | None = None) -> int:
    parser = argparse.ArgumentParser(f"python -m simulations.{name}")
    parser.add_argument("--kills", type=int, default=50, help="on each database (default 50)")
    parser.add_argument("--database", action="append", choices=("sqlite", "postgresql"), help="default: both")
    parser.add_argument("--home", type=Path, default=Path(f".oppen/{name}"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    stage, started = Stage(), time.perf_counter()
    home = options.home.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    databases = options.database or ["sqlite", "postgresql"]
    wanted = options.kills * len(databases)
    try:
        score = asyncio.run(drill(kind_of, policies, databases, options.kills, home, stage, rate))
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print(score)
    if options.json:
        seconds = round(time.perf_counter() - started)
        print(_checked(score, wanted).as_json({"parts": score.parts, "at": score.at, "seconds": seconds}))
    return 0 if _checked(score, wanted).ok else 1


def _checked(score: Score, kills: int) -> Checks:
    checks = Checks()
    checks.at_least("kills", score.kills, kills, "kills")
    for name, value in (("lost", score.lost), ("doubled", score.doubled), ("stuck", score.stuck)):
        checks.at_most(name, value, 0, "incidents")
    return checks


if __name__ == "__main__":
    sys.exit(main())
