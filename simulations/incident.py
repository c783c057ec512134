"""`oppen demo incident`: a model goes bad in production, is noticed, explained, rolled back after a yes, verified, recorded.

Everything is real but time and traffic: real flights are replayed at their hours on a clock that runs a day in some seconds,
against a real gateway serving real torch models from a real MLflow registry. The story only does what people and their tools
do from outside: it trains, releases, sends requests and labels, posts the alert, and answers over REST.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.flights import Flights, load
from simulations import alerting
from simulations.checks import Checks
from simulations.installation import Installation, Person
from simulations.processes import Failed, Program, Programs
from simulations.stage import Stage
from simulations.traffic import Event, Replay
from tools.clock import SharedClock
from tools.registry.port import Alias, Registry
from tools.values import Window

MODEL = "flights"
DAY_S = 12.0
"""Seconds that a day of traffic takes: 922 flights a day are then some 80 requests a second."""
RATE = 86_400 / DAY_S
REPLAY_FROM = datetime(2013, 3, 24, 12, tzinfo=UTC)
"""Sunday, 8 in the morning in New York; neither version was trained on anything after the 8th of March."""
RELEASE_AFTER = timedelta(hours=24)
HOLDBACK = 30
"""Percent of the traffic that stays on the old version for a while after a release, as careful teams do it."""
RULE_LABELS = 400
"""What the alert's rule waits for: at 400 labels one standard error is two points."""
SLO = 0.85
"""As in `policies/demo.yaml`."""
BOUND_S = 120.0
"""For each wait of the story; a person's time to decide has its own."""


@dataclass(frozen=True)
class Options:
    home: Path
    approve: bool
    wait_s: float
    """How long a person has to decide, in real seconds."""


def events(flights: Flights, shift: timedelta, end: datetime) -> Iterator[Event]:
    """The flights from REPLAY_FROM on as requests, moved by whole weeks so that weekdays and hours stay what they were."""
    for flight in flights.departing(Window(start=REPLAY_FROM, end=end)):
        yield Event(
            at=flight.departed + shift,
            entity=flight.number,
            features=flight.features,
            label=flight.label,
            labelled_at=flight.arrived + shift,
        )


async def play(options: Options, stage: Stage) -> tuple[Checks, dict[str, Any]]:
    """The whole story: its checks and its details. Raises Failed when a part of it does not come about."""
    shutil.rmtree(options.home, ignore_errors=True)
    options.home.mkdir(parents=True)
    shift = (datetime.now(UTC) - REPLAY_FROM) // timedelta(weeks=1) * timedelta(weeks=1)
    clock = SharedClock.create(options.home / "clock.json", REPLAY_FROM + shift, rate=1.0)
    installation = Installation(
        options.home,
        clock=f"shared:{options.home / 'clock.json'}",
        policies=Path(__file__).parent / "policies" / "demo.yaml",
    )
    with Programs() as programs:
        try:
            async with contextlib.AsyncExitStack() as resources:
                return await _Story(options, stage, installation, clock, programs, resources, shift).tell()
        except asyncio.CancelledError:
            stage.say("ending the programs of the demo, which takes some seconds")
            raise


class _Story:
    def __init__(
        self,
        options: Options,
        stage: Stage,
        installation: Installation,
        clock: SharedClock,
        programs: Programs,
        resources: contextlib.AsyncExitStack,
        shift: timedelta,
    ) -> None:
        self._options = options
        self._stage = stage
        self._installation = installation
        self._clock = clock
        self._programs = programs
        self._resources = resources
        self._shift = shift
        self._versions = 0
        self._asked: set[str] = set()
        self._waited_s = 0.0
        """For a person, who may take their time: it is not the platform's."""

    async def tell(self) -> tuple[Checks, dict[str, Any]]:
        say = self._stage.say
        say("training two versions on real flights of 2013, and starting the platform")
        trained = self._train()
        # It looks for the champion until there is one; meanwhile its libraries get loaded.
        gateway = self._programs.start(
            "gateway", ["gateway", "--model", MODEL], self._installation.gateway_environment, self._options.home / "gateway.log"
        )
        operator, approver = await self._open_platform()
        flights = await asyncio.to_thread(load)
        registry = await self._installation.registry(self._resources)
        good = await self._version(trained)
        await self._release(registry, None, good)
        await asyncio.to_thread(gateway.wait_ready, f"{self._installation.gateway_url}/v2/models/{MODEL}/ready", BOUND_S)
        say(f"version {good} serves as champion; a day of traffic now takes {DAY_S:.0f} s")

        replay = Replay(
            self._installation.gateway_url,
            MODEL,
            events(flights, self._shift, REPLAY_FROM + timedelta(days=9)),
            self._clock,
        )
        stop = asyncio.Event()
        self._clock.set_rate(RATE)
        started = self._clock.now()
        traffic = asyncio.create_task(replay.run(stop))
        self._resources.push_async_callback(_end, traffic, stop)

        bad = await self._version(trained)
        await self._until(lambda: self._clock.now() >= started + RELEASE_AFTER, "the first day's traffic")
        await self._release(registry, good, bad)
        released = self._clock.now()
        before, before_n = replay.tally.accuracy(version=good, since=started, now=released)
        say(f"{before:.1%} of {before_n} answers of version {good} were right; version {bad} is released as champion")

        await self._until(lambda: self._breached(replay, bad, released), "the accuracy of the new version to fall")
        during, during_n = replay.tally.accuracy(version=bad, since=released, now=self._clock.now())
        say(f"only {during:.1%} of {during_n} answers of version {bad} were right: the rule fires, Alertmanager posts")
        incident_id = await self._alert(operator, bad, during or 0.0, released)
        decided_by = await self._decided(operator, approver, incident_id)
        say(f"approved by {decided_by}; carried out, and now verified on the traffic since")
        incident = await self._closed(operator, incident_id)
        await _end(traffic, stop)
        return await self._measure(operator, incident, good, bad, replay, (before, during))

    def _train(self) -> Program:
        arguments = ["pipelines", "drill", "--tracking-uri", self._installation.tracking_uri, "--model", MODEL, "--json"]
        return self._programs.start("training", arguments, self._installation.environment, self._options.home / "training.log")

    async def _open_platform(self) -> tuple[Person, Person]:
        """The service, and two people with keys: one who watches, one who may approve."""
        service = self._installation.start_service(self._programs)
        seconds = await asyncio.to_thread(service.wait_ready, f"{self._installation.service_url}/healthz", BOUND_S)
        self._stage.say(f"the service answers after {seconds:.1f} s")
        operator = await self._installation.person("demo-operator", "operator", self._resources)
        return operator, await self._installation.person("demo-approver", "approver", self._resources)

    async def _version(self, training: Program) -> str:
        """The next version that the training registers."""
        self._versions += 1
        seen = self._versions

        def trained() -> bool:
            if training.process.poll():
                raise Failed(f"the training ended with code {training.process.returncode}:\n{training.tail()}")
            return len(training.results.read_text().splitlines()) >= seen

        await self._until(trained, "the training to register a version")
        return str(json.loads(training.results.read_text().splitlines()[seen - 1])["version"])

    async def _release(self, registry: Registry, before: str | None, after: str) -> None:
        """What a release pipeline does: the champion alias, and the traffic with it."""
        reason = "first release" if before is None else "scheduled retraining passed its offline evaluation"
        await registry.set_alias(
            MODEL, Alias.CHAMPION, after, expected=before, key=f"release/{after}", actor="release-pipeline", reason=reason
        )
        if before is not None:
            weights = {after: 100 - HOLDBACK, before: HOLDBACK}
            await self._installation.shift_traffic(MODEL, weights, key=f"release/{after}")

    def _breached(self, replay: Replay, version: str, since: datetime) -> bool:
        accuracy, count = replay.tally.accuracy(version=version, since=since, now=self._clock.now())
        return accuracy is not None and count >= RULE_LABELS and accuracy < SLO

    async def _alert(self, operator: Person, version: str, accuracy: float, since: datetime) -> str:
        """Post it as Alertmanager does, and find the incident that it opened."""
        labels = {"alertname": "ModelAccuracyLow", "model": MODEL, "version": version, "severity": "critical", "team": "mlops"}
        notes = {
            "summary": f"Accuracy of {MODEL} is {accuracy:.1%}, below {SLO:.0%}",
            "description": f"Measured over the answers of version {version} whose flights have arrived.",
        }
        await self._installation.deliver(alerting.delivery([alerting.alert(labels, notes, since)]))
        incidents = (await operator.get("/v1/incidents"))["items"]
        return str(incidents[0]["id"])

    async def _decided(self, operator: Person, approver: Person, incident_id: str) -> str:
        """Who approved; what somebody edits is asked about anew."""
        while True:
            approval = await self._question(operator, incident_id)
            await self._show(approval, approver)
            if (decided_by := await self._decide(approval, approver)) is not None:
                return decided_by
            self._stage.say("the proposal was edited: whoever edited it does not approve it, so it is asked about anew")

    async def _question(self, operator: Person, incident_id: str) -> dict[str, Any]:
        """The pending approval of the incident that was not shown yet."""
        found: list[dict[str, Any]] = []

        async def asked() -> bool:
            pending = (await operator.get("/v1/approvals?status=pending"))["items"]
            mine = [approval for approval in pending if approval["incident_id"] == incident_id]
            found[:] = [approval for approval in mine if approval["id"] not in self._asked]
            if not found:
                incident = await operator.get(f"/v1/incidents/{incident_id}")
                if incident["closed_at"]:
                    raise Failed(f"the incident ended without a question: {incident['status']}, {incident['summary']}")
            return bool(found)

        await self._until(asked, "the investigation to end in a proposal")
        self._asked.add(found[0]["id"])
        return found[0]

    async def _show(self, approval: dict[str, Any], approver: Person) -> None:
        self._stage.card(approval["proposal"]["title"], approval["narrative"])
        self._stage.say("to approve it:")
        self._stage.command(approver.curl(f"/v1/approvals/{approval['id']}/decision", _approval(approval)))

    async def _decide(self, approval: dict[str, Any], approver: Person) -> str | None:
        """The yes of `--approve`, or whatever a person decides over REST while the simulated clock goes at real speed. None for
        an edit."""
        path = f"/v1/approvals/{approval['id']}"
        if self._options.approve:
            await approver.post(f"{path}/decision", _approval(approval))
        else:
            self._clock.set_rate(1.0)
            self._stage.say(
                f"waiting for your decision, {self._options.wait_s / 60:.0f} minutes at most (Ctrl-C ends the demo)"
            )

        async def decided() -> bool:
            return bool((await approver.get(path))["status"] != "pending")

        asked_at = self._stage.seconds
        await self._until(decided, "a decision", limit_s=self._options.wait_s)
        if not self._options.approve:
            self._waited_s += self._stage.seconds - asked_at
        self._clock.set_rate(RATE)
        approval = await approver.get(path)
        if approval["status"] == "edited":
            return None
        if approval["status"] != "approved":
            raise Failed(f"the proposal was {approval['status']}: the model stays as it is, as was decided")
        return ", ".join(approval["verdict"]["decided_by"])

    async def _closed(self, operator: Person, incident_id: str) -> dict[str, Any]:
        incident: dict[str, Any] = {}

        async def closed() -> bool:
            incident.update(await operator.get(f"/v1/incidents/{incident_id}"))
            return bool(incident["closed_at"])

        await self._until(closed, "the fix to be verified")
        return incident

    async def _measure(
        self,
        operator: Person,
        incident: dict[str, Any],
        good: str,
        bad: str,
        replay: Replay,
        accuracies: tuple[float | None, float | None],
    ) -> tuple[Checks, dict[str, Any]]:
        model, audit = await operator.get(f"/v1/models/{MODEL}"), await operator.get("/v1/audit/verify")
        report = incident["report"]
        since = datetime.fromisoformat(report["receipt"]["finished_at"])
        after, after_n = replay.tally.accuracy(version=good, since=since, now=self._clock.now())
        champion, weights = model["aliases"]["champion"], model["route"]["weights"]
        verified = {measure["name"]: measure["value"] for measure in report["verification"]["measures"]}
        recovered = report["verification"]["status"] == "holds" and after is not None and after >= SLO
        accuracy = "not known yet" if after is None else f"{after:.1%}"
        self._stage.say(f"champion {bad} -> {champion}, weights {weights}, accuracy {accuracy} on {after_n} answers since")
        checks = Checks()
        checks.equal("incident.status", incident["status"], "resolved")
        checks.equal("finding.cause", report["proposal"]["finding"]["cause"], "model_regression")
        checks.equal("champion.after", champion, good)
        checks.equal("weights.old_version", weights.get(good), 100)
        checks.equal("slo.recovered", recovered, True)
        checks.equal("audit.verified", audit["ok"], True)
        checks.at_most("requests.failed", replay.tally.failed, 0, "requests")
        checks.at_most("seconds", round(self._stage.seconds - self._waited_s, 1), 90, "s")
        details = {
            "incident": {"id": incident["id"], "status": incident["status"], "title": incident["title"]},
            "finding": report["proposal"]["finding"],
            "action": report["proposal"]["action"],
            "champion": {"before": bad, "after": champion},
            "weights": weights,
            "slo": {
                "limit": SLO,
                "recovered": recovered,
                "accuracy": {"before": accuracies[0], "during": accuracies[1], "after": after, "labels_after": after_n},
                "verified": verified,
            },
            "approval": {"decided_by": report["verdict"]["decided_by"], "fingerprint": report["verdict"]["fingerprint"]},
            "audit": {"verified": audit["ok"], "lines": audit["lines"]},
            "requests": {"answered": len(replay.tally.answers), "failed": replay.tally.failed},
            "seconds": round(self._stage.seconds - self._waited_s, 1),
            "waited_for_a_person_s": round(self._waited_s, 1),
        }
        return checks, details

    async def _until(self, condition: Callable[[], bool | Awaitable[bool]], what: str, limit_s: float = BOUND_S) -> None:
        """Look until it holds; a bound that passes is a failure with its name."""

        async def met() -> bool:
            answer = condition()
            return answer if isinstance(answer, bool) else await answer

        try:
            async with asyncio.timeout(limit_s):
                while not await met():  # noqa: ASYNC110 - what is looked at is in other processes
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise Failed(f"waited {limit_s:.0f} s in vain for {what}; the logs are in {self._options.home}") from error


def _approval(approval: dict[str, Any]) -> dict[str, Any]:
    return {"decision": "approve", "fingerprint": approval["fingerprint"]}


async def _end(traffic: asyncio.Task[None], stop: asyncio.Event) -> None:
    stop.set()
    await traffic
