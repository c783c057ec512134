"""`make chaos-lifecycle`: the service is killed between a request for a training and its version being champion.

Again and again a training is asked for, approved, run as a real local job, rolled out on live traffic in three stages and
promoted, and on the way the service is killed some times: in each part of the way equally often, in a part at each kind of
boundary in turn (`simulations.phases`). Lost is a way that does not end with its version as champion; doubled is a second job,
evaluation, version, rollout, move of the alias or change of the route; stuck is what does not end in time.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter, deque
from typing import Any

from agents.examination import is_evaluation
from agents.training import JOB_TAG
from simulations.chaos import MODEL, Drill, main
from simulations.installation import Person
from simulations.phases import PHASES, instants
from simulations.processes import Failed
from tools.jobs.port import job_name
from tools.registry.port import Alias, Registry

RATE = 60.0
_ROUTES = 4
"""Changes of the route: three stages, and the promotion."""
_KILLS = 6
"""In one way at most: every other part of it."""
_WAY_S, _RESTART_S = 300.0, 60.0
"""What does not end within these, the second for each kill, is stuck: many times what it takes, for a machine that is busy."""

Instant = tuple[int, str, int]


class LifecycleDrill(Drill):
    limit_s = _WAY_S

    async def run(self, kills: int, resources: contextlib.AsyncExitStack) -> None:
        # Where the clock goes sixty times as fast, a fifth of a second would be hundreds of files a minute.
        self.installation.gateway_environment["OPPEN_GATEWAY_SEGMENT_AGE_S"] = "1"
        await super().run(kills, resources)

    def warm(self, labelled: Counter[str]) -> bool:
        return bool(labelled)

    async def prepare(self, registry: Registry, number: int) -> None:
        """Nothing: whatever has become champion is what the next training starts from."""

    async def through(self, approver: Person, number: int) -> dict[str, Any]:
        """The request, until it is taken; it is one by its key, however often it is sent."""
        path, body = "/v1/triggers/retrain", {"model": MODEL, "reason": f"drill {number}"}
        asked = await self.until(lambda: self.operator.post(path, body, key=f"drill-{number}"))
        incident = await self.answered(approver)
        assert incident["id"] == asked["incident_id"]
        return incident

    async def kill(self, kills: int, registry: Registry, approver: Person) -> None:
        """Several in one way. An instant that a way does not come by is tried again in another, as the next of its part."""
        crossed = self.crossed()
        spare = deque(instants(crossed, 3 * kills))
        wanted = [spare.popleft() for _ in range(min(kills, len(spare)))]
        found = ", ".join(f"{PHASES[phase]} {sum(each == phase for each, _ in crossed)}" for phase in range(len(PHASES)))
        self.stage.say(f"boundaries of a way: {found}")
        number, done = 1, 0
        while done < kills:
            number += 1
            if number > 2 * kills + 2:
                raise Failed(f"only {done} of {kills} kills met a boundary")
            plan = _one_way(wanted, kills - done)
            missed = await self._way(registry, approver, number, plan)
            done += len(plan) - len(missed)
            for phase, *_ in missed:
                wanted.append(next((each for each in spare if each[0] == phase), (phase, "sql: connection released", 1)))
                if wanted[-1] in spare:
                    spare.remove(wanted[-1])

    async def _way(self, registry: Registry, approver: Person, number: int, plan: list[Instant]) -> list[Instant]:
        """From a request to its end, with the kills of the plan; those that did not come about."""
        before, score = await self.generation(), self.score
        missed = list(plan)
        self._trace.write_text("")
        self._next(missed)
        watch = asyncio.create_task(self._kept_alive(missed))
        limit = _WAY_S + _RESTART_S * len(plan)
        try:
            async with asyncio.timeout(limit):
                os.kill(self._worker.process.pid, signal.SIGUSR1)
                way = asyncio.create_task(self.through(approver, number))
                await asyncio.wait((way, watch), return_when=asyncio.FIRST_COMPLETED)
                if watch.done():
                    way.cancel()
                    await watch
                incident = await way
        except TimeoutError:
            score.stuck += 1
            raise Failed(f"way {number} did not end within {limit:.0f} s; the logs are in {self.installation.home}") from None
        finally:
            self._order.write_text("0")
        await self._settled(watch)
        await self.judge(incident, approver, registry, number, routes=await self.generation() - before)
        self.stage.say(f"way {number}: {len(plan) - len(missed)} kills; {score}")
        return missed

    async def _settled(self, watch: "asyncio.Task[None]") -> None:
        """Once nobody is being brought back any more."""
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        if self._worker.process.poll() is not None:
            self._worker = await self._life()

    async def _kept_alive(self, missed: list[Instant]) -> None:
        """What an init system does; each new process is told where to die."""
        while True:
            while self._worker.process.poll() is None:  # noqa: ASYNC110 - it is another process that ends
                await asyncio.sleep(0.05)
            phase, boundary = self.crossed()[-1]
            if self._worker.process.returncode != -signal.SIGKILL:
                raise Failed(f"the service ended by itself, in {PHASES[phase]}:\n{self._worker.tail()}")
            self.score.kills += 1
            self.score.at[f"{PHASES[phase]}: {boundary}"] += 1
            self.score.parts[PHASES[phase]] += 1
            missed.remove(next(each for each in missed if each[:2] == (phase, boundary)))
            self._next([each for each in missed if each[0] > phase])
            self._worker = await self._life(str(phase))

    def _next(self, plan: list[Instant]) -> None:
        self._order.write_text(json.dumps(min(plan) if plan else 0))

    async def judge(self, incident: dict[str, Any], approver: Person, registry: Registry, number: int, *, routes: int) -> None:
        del number
        run = incident["runs"][0]
        listed = [each["name"] for each in (await approver.get("/v1/jobs"))["items"] if each["run_id"] == run["id"]]
        jobs = [each for each in listed if not is_evaluation(each)]
        evaluations = [each for each in listed if is_evaluation(each)]
        name = job_name(f"{run['id']}/1")
        made = [each.version for each in await registry.versions(MODEL) if each.tags.get(JOB_TAG) == name]
        rollouts = [each for each in (await approver.get("/v1/rollouts"))["items"] if each["run_id"] == run["id"]]
        champion = await registry.alias(MODEL, Alias.CHAMPION)
        done = Counter(each["proposal"]["action"]["kind"] for each in incident["actions"] if each["state"] == "done")
        if incident["status"] != "resolved" or [champion] != made or [each["status"] for each in rollouts] != ["promoted"]:
            self.score.lost += 1
            self.stage.say(f"{incident['id']}: {incident['status']}, champion {champion}, made {made}, {incident['summary']}")
        once = {"retrain": 1, "start_rollout": 1, "promote": 1}
        history = [each for each in await registry.history(MODEL) if each.alias is Alias.CHAMPION and each.after == champion]
        found = (len(jobs), len(evaluations), len(made), len(history), routes)
        if found != (1, 1, 1, 1, _ROUTES) or done != once:
            self.score.doubled += 1
            self.stage.say(
                f"{incident['id']}: {len(jobs)} jobs, {len(evaluations)} evaluations, {made}, {routes} routes, {dict(done)}"
            )


def _one_way(wanted: list[Instant], most: int) -> list[Instant]:
    """Takes kills for one way from what is wanted: no two in one part, nor in parts that follow each other at once."""
    taken: dict[int, Instant] = {}
    for each in sorted(wanted, key=lambda each: (each[0] != wanted[0][0], each[0])):
        if len(taken) < min(_KILLS, most) and not {each[0] - 1, each[0], each[0] + 1} & taken.keys():
            taken[each[0]] = each
    for each in taken.values():
        wanted.remove(each)
    return list(taken.values())


if __name__ == "__main__":
    sys.exit(main(LifecycleDrill, "lifecycle-chaos.yaml", "lifecycle_chaos", RATE))
