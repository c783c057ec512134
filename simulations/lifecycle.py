"""`oppen demo lifecycle`: the world changes, a monitor of the platform's own notices, a training is asked for and approved, its
version is held beside the champion, rolled out stage by stage on live traffic, and becomes champion.

`oppen demo bad-canary` is the same with a training whose data had a fault that spoils its evaluation too: the candidate looks
better on paper and is worse on the traffic, so the canary has to find it.

As in the other demo everything is real but time and traffic; the story only does what people and their tools do from outside.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from agents.examination import is_evaluation
from pipelines.flights import Flights, load
from simulations.checks import Checks
from simulations.installation import Person
from simulations.processes import Failed
from simulations.stage import Stage
from simulations.story import BOUND_S, Options, Story, ended, perform
from simulations.traffic import Replay, events
from tools.registry.port import Alias, Registry
from tools.values import Window

MODEL = "flights"
DAY_S = 4.0
"""Seconds that a day of traffic takes: 922 flights a day are then some 230 requests a second."""
RATE = 86_400 / DAY_S
PATIENT = 60.0
"""While a job trains, a minute a second: it takes a quarter of a minute, and the traffic goes on meanwhile."""
BEGINS = datetime(2013, 6, 20, 4, tzinfo=UTC)
"""Midnight in New York, three quiet days before a week of storms."""
QUIET = timedelta(days=3)
LEARNT = ("2013-01-01", "2013-03-01")
"""What the first champion was trained on: a winter."""
FAULT = "lost-arrivals:JFK,LGA"
LIMIT_S = 180.0


async def play(options: Options, stage: Stage) -> tuple[Checks, dict[str, Any]]:
    """Raises Failed when a part of the story does not come about."""
    return await perform(_Good, options, stage, begins=BEGINS, policies="lifecycle.yaml", rate=RATE)


async def play_bad_canary(options: Options, stage: Stage) -> tuple[Checks, dict[str, Any]]:
    """Raises Failed when a part of the story does not come about."""
    return await perform(_Bad, options, stage, begins=BEGINS, policies="lifecycle.yaml", rate=RATE)


class _Lifecycle(Story):
    """What both stories have in common."""

    fault = ""
    must_hold: tuple[str, ...] = ("*",)
    recent = "1d"

    def policies(self, template: str) -> str:
        environment = {"OPPEN_FLIGHTS_SHIFT_WEEKS": str(self._shift // timedelta(weeks=1)), "OPPEN_DRILL_FAULT": self.fault}
        filled = template.replace("{python}", sys.executable).replace("{must_hold}", json.dumps(self.must_hold))
        filled = filled.replace("{recent}", self.recent)
        return filled.replace("{environment}", json.dumps(environment))

    async def open(self) -> tuple[Person, Person, Replay, Registry, asyncio.Event, asyncio.Task[None]]:
        """The platform with its first champion, and traffic on it."""
        say = self._stage.say
        say("training a first version on a winter of real flights, and starting the platform")
        uri = self._installation.tracking_uri
        arguments = ["pipelines", "train", "--tracking-uri", uri, "--from", LEARNT[0], "--to", LEARNT[1], "--json"]
        training = self._programs.start(
            "training", arguments, self._installation.environment, self._options.home / "training.log"
        )
        gateway = self._programs.start(
            "gateway", ["gateway", "--model", MODEL], self._installation.gateway_environment, self._options.home / "gateway.log"
        )
        operator, approver = await self.open_platform()
        flights: Flights = await asyncio.to_thread(load)
        registry = await self._installation.registry(self._resources)
        await asyncio.to_thread(training.wait_done, BOUND_S)
        first = str(json.loads(training.results.read_text().splitlines()[-1])["version"])
        await registry.set_alias(
            MODEL,
            Alias.CHAMPION,
            first,
            expected=None,
            key="release/1",
            actor="release-pipeline",
            reason="first release",
        )
        await asyncio.to_thread(gateway.wait_ready, f"{self._installation.gateway_url}/v2/models/{MODEL}/ready", BOUND_S)
        say(f"version {first} serves as champion; a day of traffic now takes {DAY_S:.0f} s")
        window = Window(start=BEGINS, end=BEGINS + timedelta(days=90))
        replay = Replay(self._installation.gateway_url, MODEL, events(flights, window, self._shift), self._clock)
        stop = asyncio.Event()
        self._clock.set_rate(RATE)
        traffic = asyncio.create_task(replay.run(stop))
        self._resources.push_async_callback(ended, traffic, stop)
        return operator, approver, replay, registry, stop, traffic

    async def trained(self, operator: Person) -> dict[str, Any]:
        """The job of the incident's run, when it has ended; slowly, as in life a training takes an hour of a day."""
        self._clock.set_rate(PATIENT)
        jobs: list[dict[str, Any]] = []

        async def over() -> bool:
            jobs[:] = [each for each in (await operator.get("/v1/jobs"))["items"] if not is_evaluation(each["name"])]
            return bool(jobs) and jobs[0]["phase"] in ("succeeded", "failed")

        await self.until(over, "the training to end")
        job = await operator.get(f"/v1/jobs/{jobs[0]['name']}")
        if job["phase"] == "failed":
            lines = (await operator.get(f"/v1/jobs/{job['name']}/logs"))["items"]
            raise Failed(f"the training failed ({job['reason']}, {job['detail']}):\n" + "\n".join(lines[-20:]))
        return job

    async def rolled(self, operator: Person) -> dict[str, Any]:
        """The rollout, when it is over; each stage is said."""
        found: dict[str, Any] = {}
        told: set[int] = set()

        async def over() -> bool:
            items = (await operator.get("/v1/rollouts"))["items"]
            if not items:
                return False
            found.update(items[0])
            if found["stage"] not in told and found["status"] in ("running", "paused"):
                told.add(found["stage"])
                weight = found["stages"][found["stage"]]["weight"]
                self._stage.say(f"version {found['version']} has {weight:.0%} of the traffic")
            return found["ended_at"] is not None

        await self.until(over, "the rollout to end")
        return found

    async def incident(self, operator: Person, what: str) -> str:
        found: list[dict[str, Any]] = []

        async def opened() -> bool:
            found[:] = (await operator.get("/v1/incidents"))["items"]
            return bool(found)

        await self.until(opened, what)
        # What it is trained on is decided now: on a busy machine the storms would be over when somebody has looked.
        self._clock.set_rate(PATIENT)
        return str(found[0]["id"])

    def details(self, job: dict[str, Any], approved: list[str], rollout: dict[str, Any], replay: Replay) -> dict[str, Any]:
        return {
            "job": {
                "name": job["name"],
                "phase": job["phase"],
                "usage": job["usage"],
            },
            "approvals": approved,
            "rollout": {
                "id": rollout["id"],
                "status": rollout["status"],
                "version": rollout["version"],
                "from_version": rollout["from_version"],
                "stages": rollout["stages"],
                "stage": rollout["stage"],
                "look": rollout["look"],
                "reason": rollout["reason"],
            },
            "requests": {"answered": len(replay.tally.answers), "failed": replay.tally.failed},
            "seconds": round(self._stage.seconds - self._waited_s, 1),
            "waited_for_a_person_s": round(self._waited_s, 1),
        }


class _Good(_Lifecycle):
    async def tell(self) -> tuple[Checks, dict[str, Any]]:
        operator, approver, replay, _registry, stop, traffic = await self.open()
        say = self._stage.say
        incident_id = await self.incident(operator, "the drift monitor to raise an alert")
        incident = await operator.get(f"/v1/incidents/{incident_id}")
        say(f"a monitor of the platform's own has found: {incident['title']}")
        by_training = await self.decided(operator, approver, incident_id)
        say(f"training approved by {by_training}; it runs as a job")
        job = await self.trained(operator)
        by_rollout = await self.decided(operator, approver, incident_id)
        say(f"rollout approved by {by_rollout}")
        rollout = await self.rolled(operator)
        say(f"the rollout is over: {rollout['status']}; the new champion is watched")
        incident = await self.closed(operator, incident_id)
        await ended(traffic, stop)
        return await self._measure(operator, incident, job, [by_training, by_rollout], rollout, replay)

    async def _measure(
        self,
        operator: Person,
        incident: dict[str, Any],
        job: dict[str, Any],
        approved: list[str],
        rollout: dict[str, Any],
        replay: Replay,
    ) -> tuple[Checks, dict[str, Any]]:
        model, audit = await operator.get(f"/v1/models/{MODEL}"), await operator.get("/v1/audit/verify")
        champion, weights = model["aliases"]["champion"], model["route"]["weights"]
        events_ = (await operator.get(f"/v1/incidents/{incident['id']}/events?limit=500"))["items"]
        weights_seen = [each["data"]["weight"] for each in events_ if each["name"] == "rollout.stage"]
        findings = [each["data"] for each in events_ if each["name"] == "finding.made"]
        accuracy = {
            version: replay.tally.accuracy(version=version, since=datetime.fromisoformat(since), now=self._clock.now())
            for version, since in ((rollout["from_version"], rollout["began_at"]), (rollout["version"], rollout["began_at"]))
        }
        checks = Checks()
        checks.equal("trigger", incident["alerts"][0]["labels"]["monitor"], "drift")
        checks.equal("job.phase", job["phase"], "succeeded")
        checks.equal("evaluation.verdict", findings[-1]["cause"], "candidate_better")
        checks.equal("rollout.stages", str(weights_seen), "[0.1, 0.5, 1.0]")
        checks.equal("rollout.status", rollout["status"], "promoted")
        checks.equal("champion.after", champion, rollout["version"])
        checks.equal("weights.champion", weights.get(champion), 100)
        checks.equal("incident.status", incident["status"], "resolved")
        checks.equal("audit.verified", audit["ok"], True)
        checks.at_most("requests.failed", replay.tally.failed, 0, "requests")
        checks.at_most("seconds", round(self._stage.seconds - self._waited_s, 1), LIMIT_S, "s")
        details = {
            "trigger": {
                "alert": incident["alerts"][0]["name"],
                "cause": findings[0]["cause"],
                "summary": findings[0]["summary"],
            },
            "evaluation": {"verdict": findings[-1]["cause"], "summary": findings[-1]["summary"]},
            "champion": {
                "before": rollout["from_version"],
                "after": champion,
                "accuracy_since_the_rollout": {version: {"accuracy": a, "labels": n} for version, (a, n) in accuracy.items()},
            },
            "audit": {"verified": audit["ok"], "lines": audit["lines"]},
            **self.details(job, approved, rollout, replay),
        }
        return checks, details


class _Bad(_Lifecycle):
    fault = FAULT
    must_hold = ("accuracy", "auc", "log_loss")
    recent = "0s"
    """A team that looks at the whole and at no part of it, and at no traffic. By the default policy the evaluation itself finds
    the fault, in the flights from Newark, and in the labels of the traffic, which nothing has spoilt."""

    async def tell(self) -> tuple[Checks, dict[str, Any]]:
        operator, approver, replay, _registry, stop, traffic = await self.open()
        say = self._stage.say
        # On quiet days few flights are late, and little is lost with them: what is spoilt shows in the storms.
        await self.until(lambda: self._clock.now() >= BEGINS + self._shift + QUIET, "the last of the quiet days")
        asked = await operator.post("/v1/triggers/retrain", {"model": MODEL, "reason": "the monthly refresh"})
        incident_id = str(asked["incident_id"])
        say("an operator has asked for a training; the data that it will see has lost some arrivals, and nobody knows")
        by_training = await self.decided(operator, approver, incident_id)
        say(f"training approved by {by_training}; it runs as a job")
        job = await self.trained(operator)
        by_rollout = await self.decided(operator, approver, incident_id)
        say(f"on paper the candidate is better, so the rollout was approved by {by_rollout}")
        rollout = await self.rolled(operator)
        say(f"the rollout is over: {rollout['status']}: {rollout['reason']}")
        incident = await self.closed(operator, incident_id)
        await ended(traffic, stop)
        model, audit = await operator.get(f"/v1/models/{MODEL}"), await operator.get("/v1/audit/verify")
        champion, weights = model["aliases"]["champion"], model["route"]["weights"]
        events_ = (await operator.get(f"/v1/incidents/{incident_id}/events?limit=500"))["items"]
        causes = [each["data"]["cause"] for each in events_ if each["name"] == "finding.made"]
        verdict = next(cause for cause in causes if cause.startswith("candidate"))
        checks = Checks()
        checks.equal("evaluation.verdict", verdict, "candidate_better")
        checks.equal("rollout.status", rollout["status"], "taken_back")
        checks.equal("rollout.stage", rollout["stage"], 0)
        checks.equal("champion.after", champion, rollout["from_version"])
        checks.equal("weights.champion", weights.get(champion), 100)
        checks.equal("incident.status", incident["status"], "escalated")
        checks.equal("audit.verified", audit["ok"], True)
        checks.at_most("requests.failed", replay.tally.failed, 0, "requests")
        details = {
            "evaluation": {"verdict": verdict},
            "champion": {"before": rollout["from_version"], "after": champion},
            **self.details(job, [by_training, by_rollout], rollout, replay),
        }
        return checks, details
