"""Plays one scenario: time jumps from event to event, and at each the world, the senders, the platform and people do theirs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agents.policies import Policies, parse_policies
from simulations.evaluation.platform import OPERATORS, Platform, Workshop, open_platform
from simulations.evaluation.ports import METRICS
from simulations.evaluation.recorder import Write
from simulations.worlds.scenario import Scenario
from simulations.worlds.senders import Senders
from simulations.worlds.world import STEP, World

_HOUR = timedelta(hours=1)
_TRAINING = ("train",)
"""Of a world, where no program is run: what it makes is the world's to say."""
_DRIFT = {"reference": "14d", "seasons": 1}
"""Half of what the defaults compare with, so that a world's history is drawn and stored in seconds."""
_CALM = timedelta(hours=2)
"""So long after its last incident was closed, and the last thing that befalls it, a scenario is over."""


@dataclass(frozen=True)
class Played:
    """All that came of it, as the API and the recorder tell."""

    scenario: Scenario
    seed: int
    model: str
    """Its name, which says in what turn it was played and nothing else."""
    start: datetime
    ended: datetime
    policies: Policies
    incidents: tuple[dict[str, Any], ...]
    """Whole, oldest first."""
    writes: tuple[Write, ...]
    alerts: int
    trained: timedelta
    worker_hours: float
    """Of workers beyond those of the beginning."""


async def play(workshop: Workshop, scenario: Scenario, seed: int, number: int) -> Played:
    """`number`: tells its model from those of the other scenarios of the workshop; a model's name says nothing about it."""
    world = World(scenario, seed, f"model-{number:04d}")
    history = list(world.history())
    policies = _policies(world)
    async with open_platform(workshop, world, policies) as platform:
        await platform.take_in([record for day in history for record in day])
        history.clear()
        drive = _Drive(platform, world, Senders(world, policies.slo_of(world.model).min_accuracy or 0.0))
        platform.clock.move_to(world.start)
        await platform.begin()
        await drive.go()
        found = await _incidents(platform)
        return Played(
            scenario=scenario,
            seed=seed,
            model=world.model,
            start=world.start,
            ended=platform.clock.now(),
            policies=policies,
            incidents=found,
            writes=tuple(platform.recorder.writes),
            alerts=await _alerts(platform),
            trained=platform.jobs.spent,
            worker_hours=drive.worker_hours,
        )


@dataclass
class _Drive:
    platform: Platform
    world: World
    senders: Senders
    worker_hours: float = 0.0
    _asked: dict[str, datetime] = field(default_factory=dict)
    """When each open question is answered."""

    async def go(self) -> None:
        platform, world = self.platform, self.world
        end = world.start + world.scenario.horizon
        releases = sorted(((world.start + each.at, each) for each in world.scenario.rollouts), key=lambda pair: pair[0])
        last, calm_since = max(self._befalls(), default=world.start), None
        due: datetime | None = None
        while (now := platform.clock.now()) < end:
            moments = [now + STEP - (now - world.start) % STEP, *(at for at, _ in releases[:1])]
            moments += [each for each in (due, *self._asked.values()) if each is not None and each > now]
            then = min(moments)
            self.worker_hours += (world.serving.workers - world.scenario.serving.workers) * ((then - now) / _HOUR)
            world.flow_to(then)
            platform.clock.move_to(then)
            while releases and releases[0][0] <= then:
                _, release = releases.pop(0)
                await platform.release(release.version, release.holdback)
            bodies, hourly = self.senders.look(then), then.minute == 0 and then.second == 0 and then.microsecond == 0
            if not (bodies or hourly or (due is not None and due <= then) or min(self._asked.values(), default=end) <= then):
                continue
            await platform.take_in(world.written())
            for body in bodies:
                await platform.deliver(body)
            if hourly and world.scenario.monitors:
                await platform.look()
            await self._move()
            due = await platform.due()
            if due is not None and due <= then:
                due = then + STEP
            if hourly and then > last:
                open_ = (await platform.get("/v1/incidents?open=true&limit=1"))["items"]
                known = (await platform.get("/v1/incidents?limit=1"))["items"]
                calm_since = None if open_ or not known else calm_since or then
                if calm_since is not None and then - max(calm_since, last) >= _CALM:
                    return

    async def _move(self) -> None:
        """The platform, and its people, until nobody has anything to do at this moment."""
        while True:
            await self.platform.settle()
            if not await self._answer():
                return

    async def _answer(self) -> bool:
        now, scenario = self.platform.clock.now(), self.world.scenario
        pending = (await self.platform.get("/v1/approvals?status=pending"))["items"]
        self._asked = {each["id"]: self._asked.get(each["id"], now + scenario.operator.after) for each in pending}
        answered = False
        for each in sorted(pending, key=lambda question: str(question["id"])):
            if self._asked[each["id"]] > now:
                continue
            answered = True
            kind, refuses = each["proposal"]["action"]["kind"], scenario.operator.refuses
            words = {"decision": "reject", "reason": "not now"} if kind in refuses else {"decision": "approve"}
            for person in OPERATORS[: each["quorum"] if kind not in refuses else 1]:
                body = {**words, "fingerprint": each["fingerprint"]}
                await self.platform.post(f"/v1/approvals/{each['id']}/decision", body, by=person)
            del self._asked[each["id"]]
        return answered

    def _befalls(self) -> Iterator[datetime]:
        """When something begins or ends by the scenario."""
        start, scenario = self.world.start, self.world.scenario
        for fault in scenario.faults:
            yield start + fault.at + fault.ramp
            if fault.lasts is not None:
                yield start + fault.at + fault.lasts
        for rollout in scenario.rollouts:
            yield start + rollout.at
        yield from self.senders.moments


def _policies(world: World) -> Policies:
    """The defaults, what the installation has, and what the scenario puts over them."""
    metrics = [{"name": name, "promql": f'{name}{{model="$model"}}', "kind": "saturation"} for name in METRICS]
    promised = round(world.accuracy - world.scenario.promised_margin, 2)
    own = {
        "slo": {"min_accuracy": promised},
        "training": {"command": list(_TRAINING)},
        # What a training makes is not judged here: that is another story.
        "evaluation": {"command": None},
    }
    base: dict[str, Any] = {"metrics": metrics, "drift": _DRIFT}
    if not world.scenario.monitors:
        base["monitors"] = {"enabled": []}
    return parse_policies({**base, **world.scenario.policies, "models": {world.model: own}})


async def _incidents(platform: Platform) -> tuple[dict[str, Any], ...]:
    found = (await platform.get("/v1/incidents?limit=100"))["items"]
    return tuple([await platform.get(f"/v1/incidents/{each['id']}") for each in reversed(found)])


async def _alerts(platform: Platform) -> int:
    found, cursor = 0, ""
    while True:
        page = await platform.get(f"/v1/alerts?limit=200{f'&cursor={cursor}' if cursor else ''}")
        found += len(page["items"])
        if not (cursor := page.get("next_cursor") or ""):
            return found
