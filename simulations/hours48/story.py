"""Two days of the shop, from outside: the clients, the clock, and an operator who decides over REST.

The platform is the real one, with the real policies of `simulations/policies/hours48.yaml`; nothing here reaches into it.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from simulations.checks import Checks
from simulations.hours48.clients import TURN, Clients
from simulations.hours48.outcome import Told, judged
from simulations.hours48.pace import Pace
from simulations.hours48.prices import price_book, seconds_per_row
from simulations.hours48.record import Record
from simulations.hours48.report import write
from simulations.hours48.timeline import is_training
from simulations.hours48.warehouse import Warehouse
from simulations.hours48.world import HOURS, PAST, SHIFT_HOUR, World
from simulations.processes import Failed
from simulations.stage import Stage
from simulations.story import BOUND_S, Options, Story, approving, ended, perform
from tools.clock import SharedClock
from tools.costs.meters.idle import WORKLOAD as IDLE

MODEL = "shop"
BEGINS = datetime(2025, 3, 3, 9, tzinfo=UTC)
"""A Monday morning, when the shop opens."""
WIDTH = 512
NARROW = 32
"""Where INT8 pays nothing: such a layer takes as long to prepare as to compute."""
_HOUR = timedelta(hours=1)
_QUIET, _WATCHED = 3600 / 0.7, 3600 / 3.0
"""Simulated seconds per real second, at most: where nothing is on its way, and where something is."""
_FOLLOWED = 20.0
"""So many times slower is what a person is to follow: a quarter of an hour, and their own time to decide."""
_STRIDE, _STEP_BUSY, _STEP = timedelta(minutes=30), timedelta(minutes=10), timedelta(minutes=5)
"""How far the clock may go before it is looked whether all have come along: in quiet hours; while something is on its way, as
often as rollouts are looked at (`rollouts.look_every`); and in the hours around the shift."""
_AGAIN_S, _AGAIN_JOB_S = 0.06, 0.3
_A_JOB, _A_JOB_S = timedelta(minutes=15), 8.0
"""So long a job of the shop takes at most, whatever the machine makes of it; and the real seconds in which the clock goes two
thirds of that way."""
_A_MOVE = timedelta(minutes=3)
"""The same of a step of the platform's own: reading, deciding, moving traffic."""
_LAG, _LAG_CAREFUL = timedelta(minutes=60), timedelta(minutes=4)
"""How far the clock may be ahead of what the platform's monitors should have looked at."""
_WAITS = "oppen_gateway_log_segments"
"""The gateway's own metric: files of predictions or labels that wait for the store."""
_FEW = 4
"""Of each: what waits in passing."""
_EVERY = timedelta(minutes=15)
"""Policy's `monitors.every`."""
_STORED_EVERY = timedelta(minutes=10)
_CLOSELY, _NOW_AND_THEN = 14, 3
"""Until which hour somebody looks at drift every hour, and every how many hours after that."""
_CAREFUL = timedelta(hours=SHIFT_HOUR) - _EVERY, timedelta(hours=SHIFT_HOUR + 1)
"""Hours in which the clock goes slowly in any case: with a fault in them and without."""


@dataclass(frozen=True)
class HoursOptions(Options):
    seed: int = 7
    drift: bool = True
    refuse: bool = False
    """The operator says no to whatever is asked."""
    quantization_pays: bool = True
    report: Path | None = None

    @property
    def told(self) -> Told:
        return Told(drift=self.drift, refuse=self.refuse, quantization_pays=self.quantization_pays)

    @property
    def width(self) -> int:
        return WIDTH if self.quantization_pays else NARROW


class Hours(Story):
    def policies(self, template: str) -> str:
        options = self._hours
        environment = {"WAREHOUSE": str(self._warehouse_folder), "WIDTH": str(options.width), "SEED": str(options.seed)}
        filled = template.replace("{python}", sys.executable).replace("{warehouse}", str(self._warehouse_folder))
        return filled.replace("{environment}", json.dumps(environment))

    @property
    def _hours(self) -> HoursOptions:
        assert isinstance(self._options, HoursOptions)
        return self._options

    @property
    def _warehouse_folder(self) -> Path:
        return self._options.home.absolute() / "warehouse"

    async def tell(self) -> tuple[Checks, dict[str, Any]]:
        await self._open()
        try:
            await self._live()
        finally:
            await ended(self._traffic, self._stop)
        record = await self._recorded()
        checks, details = judged(record, self._hours.told)
        if self._hours.report is not None:
            write(self._hours.report, record, checks, details)
            self._stage.say(f"the report is {self._hours.report / 'report.html'}")
        return checks, details

    async def _open(self) -> None:
        """The platform with version 5 as its champion, and the clients at its door."""
        options, say = self._hours, self._stage.say
        self._start = BEGINS + self._shift
        rows = World(options.seed, drift=options.drift).draw()
        self._warehouse = Warehouse(self._warehouse_folder, rows, self._start)
        self._warehouse.store(self._start)
        say(f"a world of seed {options.seed}; training what was there before, and starting the platform")
        environment = {
            **self._installation.environment,
            "WAREHOUSE": str(self._warehouse_folder),
            "WIDTH": str(options.width),
            "SEED": str(options.seed),
        }
        arguments = ["simulations.hours48.training", "--first", self._installation.tracking_uri, MODEL, self._start.isoformat()]
        training = self._programs.start("training", arguments, environment, options.home / "training.log")
        gateway = self._programs.start(
            "gateway", ["gateway", "--model", MODEL], self._installation.gateway_environment, options.home / "gateway.log"
        )
        await asyncio.to_thread(gateway.wait_ready, f"{self._installation.gateway_url}/v2/models/{MODEL}/ready", BOUND_S)
        taken = await seconds_per_row(self._installation.gateway_url, MODEL, rows.between(-PAST, timedelta(0)))
        say(f"the gateway takes {1e6 * taken:.1f} microseconds of a processor for a customer")
        prices = options.home.absolute() / "prices.yaml"
        prices.write_text(price_book(taken))
        self._installation.environment |= {"OPPEN_PRICES": str(prices), "OPPEN_LOAD_BALANCERS": "1"}
        self._operator, self._approver = await self.open_platform()
        await asyncio.to_thread(training.wait_done, BOUND_S)
        first = str(json.loads(training.results.read_text().splitlines()[-1])["version"])
        await self._installation.shift_traffic(MODEL, {first: 100}, f"release/{first}")
        say(f"version {first} serves as champion")
        self._clients = Clients(self._installation.gateway_url, MODEL, rows, self._start, self._clock)
        self._stop = asyncio.Event()
        self._traffic = asyncio.create_task(self._clients.run(self._stop))
        self._jobs_seen: dict[str, datetime] = {}
        self._moving_since: dict[str, datetime] = {}
        self._decisions: list[dict[str, Any]] = []
        self._due: dict[str, datetime] = {}
        self._noted_down: set[str] = set()
        self._drift: list[dict[str, Any]] = []
        self._horizon = self._start
        self._metrics = httpx.AsyncClient(base_url=self._installation.gateway_url, timeout=15)
        self._resources.push_async_callback(self._metrics.aclose)

    async def _live(self) -> None:
        end, told = self._start + HOURS * _HOUR, 0
        with Pace(SharedClock(self._options.home / "clock.json")) as pace:
            while (now := self._clock.now()) < end or not await self._billed(end):
                if self._traffic.done():
                    await self._traffic
                self._warehouse.store(_floor(now, _STORED_EVERY))
                again = await self._go(pace, now)
                if (hour := int((now - self._start) / _HOUR)) > told:
                    await self._look(hour)
                    told = hour
                await asyncio.sleep(again)

    async def _go(self, pace: Pace, now: datetime) -> float:
        """Answer what is asked, and let the clock go on as far as all have come along. Returns in how many real seconds to look
        again: each look is some requests, and takes from the processors what the platform works with."""
        careful = _CAREFUL[0] <= now - self._start < _CAREFUL[1]
        (busy, limits, due, job), looked, waiting = await asyncio.gather(
            self._answered(now), self._looked(careful), self._waiting()
        )
        step = _STEP if careful else _STEP_BUSY if busy else _STRIDE
        again = _AGAIN_JOB_S if job is not None else _AGAIN_S
        if waiting > (0 if careful or busy else _FEW) or now - self._clients.asked_until >= max(step, TURN):
            # No further than it was allowed, and not past what has come up since.
            pace.allow(min([self._horizon, *limits, *due]), _WATCHED)
            return again
        horizon = self._horizon = min([now + step, *limits, *due, looked])
        rate = _WATCHED if careful or busy else _QUIET
        if not self._options.approve:
            rate /= _FOLLOWED
        if job is not None:
            rate = min(rate, (job - now) / timedelta(seconds=_A_JOB_S))
            horizon = min(horizon, job)
        pace.allow(horizon, rate)
        return again

    async def _billed(self, until: datetime) -> bool:
        """Whether the platform has read its meters up to then."""
        found = (await self._operator.get(f"/v1/costs?start={_iso(until - _HOUR)}&end={_iso(until)}"))["metered_until"]
        return found is not None and datetime.fromisoformat(found) >= until

    async def _looked(self, careful: bool) -> datetime:
        """How far the clock may go for the platform's monitors to look at each of their windows, or at all."""
        lag = _LAG_CAREFUL if careful else _LAG
        found = (await self._operator.get(f"/v1/monitors?model={MODEL}"))["items"]
        ticks = [datetime.fromisoformat(each["tick"]) for each in found if each["monitor"] in ("drift", "data_quality")]
        return min((tick + _EVERY + lag for tick in ticks), default=self._start + _EVERY)

    async def _waiting(self) -> float:
        """Files of what was asked, or came true, that are not in the store yet: of each kind, at most."""
        waiting = [
            float(line.rsplit(" ", 1)[1])
            for line in (await self._metrics.get("/metrics")).text.splitlines()
            if line.startswith(f"{_WAITS}{{")
        ]
        return max(waiting, default=0.0)

    async def _answered(self, now: datetime) -> tuple[bool, list[datetime], list[datetime], datetime | None]:
        """What is asked is answered at its time. Whether anything is on its way; what the clock may not pass because of it, and
        because a run will wake by then; and by when a job that runs has to have ended."""
        operator, limits, due, job_ends = self._operator, list[datetime](), list[datetime](), None
        open_ = (await operator.get("/v1/incidents?open=true"))["items"]
        if not open_:  # whatever is asked, runs or is rolled out belongs to an incident
            await self._noted(set(), now)
            return False, [], [], None
        asked, jobs, rolled, *incidents = await asyncio.gather(
            operator.get("/v1/approvals?status=pending"),
            operator.get("/v1/jobs"),
            operator.get("/v1/rollouts?open=true"),
            *(operator.get(f"/v1/incidents/{incident['id']}") for incident in open_),
        )
        for job in jobs["items"]:
            if job["phase"] in ("pending", "running"):
                job_ends = self._jobs_seen.setdefault(job["name"], now) + _A_JOB
        for incident in incidents:
            for run in incident["runs"]:
                wakes = datetime.fromisoformat(run["due_at"]) if run["due_at"] is not None else None
                moves = run["status"] == "running" or (run["status"] == "queued" and wakes is None)
                if moves or (run["status"] in ("queued", "waiting") and wakes is not None and wakes <= now):
                    seen = self._moving_since.setdefault(f"{run['id']}/{run['event']}/{run['due_at']}", now)
                    limits.append(seen + _A_MOVE)
                elif run["status"] in ("queued", "waiting") and wakes is not None:
                    due.append(wakes + _A_MOVE)
        pending = asked["items"]
        await self._noted({approval["id"] for approval in pending}, now)
        for approval in pending:
            if approval["id"] not in self._due:
                self._due[approval["id"]] = self._when(approval, now)
                self._stage.say(f"hour {self._hour(now):.2f}: asked: {approval['proposal']['title']}")
                if not self._options.approve:
                    await self.show(approval, self._approver)
                    self._stage.say("the clock stands still until you decide")
            if not self._options.approve:
                limits.append(now)
            elif now >= self._due[approval["id"]]:
                await self._decide(approval, now)
                limits.append(now + _A_MOVE)
            else:
                limits.append(self._due[approval["id"]] + timedelta(minutes=1))
        return bool(rolled["items"] or limits or job_ends), limits, due, job_ends

    def _when(self, approval: dict[str, Any], now: datetime) -> datetime:
        """The operator looks at trainings at once, and releases what serves at full hours, when everybody is at their desk."""
        if approval["proposal"]["action"]["kind"] in ("retrain", "quantize"):
            return now
        return _floor(now, _HOUR) + _HOUR

    async def _decide(self, approval: dict[str, Any], now: datetime) -> None:
        answer: dict[str, Any] = approving(approval)
        if self._hours.refuse:
            answer |= {"decision": "reject", "reason": "nothing is changed this week"}
        await self._approver.post(f"/v1/approvals/{approval['id']}/decision", answer, key=f"decide/{approval['id']}")
        await self._noted(set(self._due) - {approval["id"]}, now)

    async def _noted(self, pending: set[str], now: datetime) -> None:
        """What was asked and is decided, by whomever, is written down once."""
        for known in self._due.keys() - pending - self._noted_down:
            approval = await self._operator.get(f"/v1/approvals/{known}")
            if approval["status"] == "pending":
                continue
            self._noted_down.add(known)
            self._stage.say(f"hour {self._hour(now):.2f}: {approval['status']}: {approval['proposal']['title']}")
            self._decisions.append(
                {
                    "hour": round(self._hour(now), 2),
                    "action": approval["proposal"]["action"]["kind"],
                    "title": approval["proposal"]["title"],
                    "decision": approval["status"],
                }
            )

    async def _look(self, hour: int) -> None:
        """Once an hour, as somebody with a dashboard would."""
        end = self._start + hour * _HOUR
        query = f"model={MODEL}&start={_iso(end - _HOUR)}&end={_iso(end)}"
        if hour > 1 and (hour <= _CLOSELY or hour % _NOW_AND_THEN == 0):
            reference = self._start + min(max(hour - 1, 1), SHIFT_HOUR) * _HOUR
            query += f"&reference_start={_iso(self._start)}&reference_end={_iso(reference)}"
            try:
                found = await self._operator.get(f"/v1/drift?{query}")
            except Failed as error:
                self._stage.say(f"hour {hour}: drift could not be read: {error}")
                return
            scores = {each["name"]: each["score"] for each in found["finding"]["features"]["features"]}
            self._drift.append(
                {"hour": hour, "rows": found["rows_current"], "cause": found["finding"]["cause"], "scores": scores}
            )
        accuracy = self._clients.seen.accuracy(range(hour - 1, hour))
        self._stage.say(f"hour {hour}: accuracy {accuracy:.1%}" if accuracy is not None else f"hour {hour}: no answers")

    async def _recorded(self) -> Record:
        operator = self._operator
        found = (await operator.get("/v1/incidents"))["items"]
        incidents = [await operator.get(f"/v1/incidents/{each['id']}") for each in reversed(found)]
        events = []
        for each in incidents:
            told = (await operator.get(f"/v1/incidents/{each['id']}/events?limit=500"))["items"]
            events += [{"incident_id": each["id"], **one} for one in told]
        seen = self._clients.seen
        return Record(
            seed=self._hours.seed,
            start=self._start.isoformat(),
            answered={str(hour): dict(by) for hour, by in seen.answered.items()},
            right={str(hour): dict(by) for hour, by in seen.right.items()},
            failed=seen.failed,
            incidents=incidents,
            events=events,
            jobs=(await operator.get("/v1/jobs"))["items"],
            rollouts=(await operator.get("/v1/rollouts"))["items"],
            decisions=self._decisions,
            drift=self._drift,
            costs=await self._costs(),
            optimizations=(await operator.get("/v1/optimizations"))["items"],
            monitors=(await operator.get(f"/v1/monitors?model={MODEL}"))["items"],
            aliases=(await operator.get(f"/v1/models/{MODEL}"))["aliases"],
            audit=await operator.get("/v1/audit/verify"),
            seconds=self._stage.seconds,
            load=os.getloadavg()[0],
        )

    async def _costs(self) -> list[dict[str, Any]]:
        """By hour, from the ledger, but for idle workers: see `prices`."""
        end = self._start + HOURS * _HOUR
        query = f"start={_iso(self._start)}&end={_iso(end)}&by=workload&step=hour&share=none"
        bills = (await self._operator.get(f"/v1/costs?{query}"))["bills"]
        found = []
        for step in bills[0]["steps"] if bills else ():
            parts = {each["name"]: Decimal(each["exact"]) for each in step["parts"]}
            jobs = (value for name, value in parts.items() if is_training(name))
            found.append(
                {
                    "hour": int(self._hour(datetime.fromisoformat(step["start"]))),
                    "cost": str(sum((value for name, value in parts.items() if name != IDLE), Decimal(0))),
                    "training": str(sum(jobs, Decimal(0))),
                    "parts": {name: str(value) for name, value in parts.items()},
                }
            )
        return found

    def _hour(self, now: datetime) -> float:
        return (now - self._start) / _HOUR


def _floor(moment: datetime, by: timedelta) -> datetime:
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    return zero + (moment - zero) // by * by


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def play(options: HoursOptions, stage: Stage) -> tuple[Checks, dict[str, Any]]:
    """Raises Failed when a part of the platform does not come up or answer. It comes up in the hour before."""
    return await perform(Hours, options, stage, begins=BEGINS - _HOUR, policies="hours48.yaml", rate=1.0)
