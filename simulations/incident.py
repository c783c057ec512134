"""`oppen demo incident`: a model goes bad in production, is noticed, explained, rolled back after a yes, verified, recorded.

Everything is real but time and traffic: real flights are replayed at their hours on a clock that runs a day in some seconds,
against a real gateway serving real torch models from a real MLflow registry. The story only does what people and their tools
do from outside: it trains, releases, sends requests and labels, posts the alert, and answers over REST.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.flights import load
from simulations import alerting
from simulations.checks import Checks
from simulations.installation import Person
from simulations.processes import Failed, Program
from simulations.stage import Stage
from simulations.story import BOUND_S, Options, Story, ended, perform
from simulations.traffic import Replay, events
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


async def play(options: Options, stage: Stage) -> tuple[Checks, dict[str, Any]]:
    """The whole story: its checks and its details. Raises Failed when a part of it does not come about."""
    return await perform(_Incident, options, stage, begins=REPLAY_FROM, policies="demo.yaml", rate=RATE)


class _Incident(Story):
    _versions = 0

    async def tell(self) -> tuple[Checks, dict[str, Any]]:
        say = self._stage.say
        say("training two versions on real flights of 2013, and starting the platform")
        trained = self._train()
        # It looks for the champion until there is one; meanwhile its libraries get loaded.
        gateway = self._programs.start(
            "gateway", ["gateway", "--model", MODEL], self._installation.gateway_environment, self._options.home / "gateway.log"
        )
        operator, approver = await self.open_platform()
        flights = await asyncio.to_thread(load)
        registry = await self._installation.registry(self._resources)
        good = await self._version(trained)
        await self._release(registry, None, good)
        await asyncio.to_thread(gateway.wait_ready, f"{self._installation.gateway_url}/v2/models/{MODEL}/ready", BOUND_S)
        say(f"version {good} serves as champion; a day of traffic now takes {DAY_S:.0f} s")

        replay = Replay(
            self._installation.gateway_url,
            MODEL,
            events(flights, Window(start=REPLAY_FROM, end=REPLAY_FROM + timedelta(days=9)), self._shift),
            self._clock,
        )
        stop = asyncio.Event()
        self._clock.set_rate(RATE)
        started = self._clock.now()
        traffic = asyncio.create_task(replay.run(stop))
        self._resources.push_async_callback(ended, traffic, stop)

        bad = await self._version(trained)
        await self.until(lambda: self._clock.now() >= started + RELEASE_AFTER, "the first day's traffic")
        await self._release(registry, good, bad)
        released = self._clock.now()
        before, before_n = replay.tally.accuracy(version=good, since=started, now=released)
        say(f"{before:.1%} of {before_n} answers of version {good} were right; version {bad} is released as champion")

        await self.until(lambda: self._breached(replay, bad, released), "the accuracy of the new version to fall")
        during, during_n = replay.tally.accuracy(version=bad, since=released, now=self._clock.now())
        say(f"only {during:.1%} of {during_n} answers of version {bad} were right: the rule fires, Alertmanager posts")
        incident_id = await self._alert(operator, bad, during or 0.0, released)
        decided_by = await self.decided(operator, approver, incident_id)
        say(f"approved by {decided_by}; carried out, and now verified on the traffic since")
        incident = await self.closed(operator, incident_id)
        await ended(traffic, stop)
        return await self._measure(operator, incident, good, bad, replay, (before, during))

    def _train(self) -> Program:
        arguments = ["pipelines", "drill", "--tracking-uri", self._installation.tracking_uri, "--model", MODEL, "--json"]
        return self._programs.start("training", arguments, self._installation.environment, self._options.home / "training.log")

    async def _version(self, training: Program) -> str:
        """The next version that the training registers."""
        self._versions += 1
        seen = self._versions

        def trained() -> bool:
            if training.process.poll():
                raise Failed(f"the training ended with code {training.process.returncode}:\n{training.tail()}")
            return len(training.results.read_text().splitlines()) >= seen

        await self.until(trained, "the training to register a version")
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
