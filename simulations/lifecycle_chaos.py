"""`make chaos-lifecycle`: the service is killed between a request for a training and its version being champion.

For each kill a training is asked for, approved, run as a real local job, rolled out on live traffic in three stages and
promoted. Lost is one that does not end with its version as champion; doubled is a second job, evaluation, version, rollout,
move of the alias or change of the route; stuck is what does not end in time.
"""

import sys
from collections import Counter
from typing import Any

from agents.examination import is_evaluation
from agents.training import JOB_TAG
from simulations.chaos import MODEL, Drill, main
from simulations.installation import Person
from tools.jobs.port import job_name
from tools.registry.port import Alias, Registry

RATE = 60.0
_ROUTES = 4
"""Changes of the route: three stages, and the promotion."""


class LifecycleDrill(Drill):
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


if __name__ == "__main__":
    sys.exit(main(LifecycleDrill, "lifecycle-chaos.yaml", "lifecycle_chaos", RATE))
