"""A whole platform on the world's time: the real intake, runner, graphs, policies, ledger, monitors, registry, store and API.

It is what `api.container` builds, but for three things. Time stands still between events, so nothing is polled: the drive says
what is due. The durable engine, which exists to outlive processes, is a queue in memory here. And the ports that touch the
world (serving, jobs, metrics) are the world's.
"""

import asyncio
import contextlib
import secrets
import shutil
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
from pydantic import SecretStr
from sqlalchemy import func, select

from agents.policies import Policies
from agents.training import JOB_TAG
from api.container import Adapters
from api.settings import Sender
from api.store import audit, keys
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.notifications import SentMessages
from api.store.quarantines import SqlQuarantines
from api.store.records import ApprovalRecord, RunRecord
from api.web.app import create_app
from api.web.auth import Role, new_key
from api.web.services import Services
from api.work.approvals import Approvals
from api.work.autonomy import Autonomy
from api.work.dispatching import Dispatcher, Sweep
from api.work.experiments import Experiments
from api.work.following import Joined
from api.work.intake import Intake
from api.work.metering import Billing, Metering
from api.work.meters import Meters, Sources
from api.work.monitors import Watch
from api.work.orders import Orders
from api.work.progress import Progress
from api.work.reports import Reports
from api.work.rollouts import Rollouts
from api.work.runner import Runner
from api.work.trials import Trials
from graphs.context import Context, Timeline
from graphs.supervisor import build
from simulations.evaluation.ports import OwnStore, SimulatedClock, WorldJobs, WorldTelemetry
from simulations.evaluation.publishing import publish
from simulations.evaluation.recorder import Recorder
from simulations.worlds.world import World
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.list_prices import LIST_PRICES
from tools.notify.outbox import OutboxNotifier
from tools.offload import ChildProcess
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.port import Lag
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.registry.history import SqlHistory
from tools.registry.mlflow import MlflowAliases, MlflowRegistry
from tools.registry.moves import Moves
from tools.registry.port import Alias
from tools.registry.tracking import Tracking

ADDRESS = "http://oppen.invalid"
_BODIES = (1_000_000, 64)
_TRAINING = timedelta(minutes=45)
"""How long a training takes in a world."""
OPERATORS = ("ann", "bob")
"""Two, for what needs two yes."""


@dataclass(frozen=True)
class Workshop:
    """What the scenarios of one process share, because it takes seconds to start: MLflow, the prediction store, and an empty
    database of the platform to copy. Each scenario has a model of its own in the first two."""

    home: Path
    tracking: ChildProcess
    reading: ChildProcess
    store: ClickHouseStore
    template: Path

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.home / 'mlflow.db'}"


@contextlib.asynccontextmanager
async def open_workshop(home: Path) -> AsyncIterator[Workshop]:
    uri, template = f"sqlite:///{home / 'mlflow.db'}", home / "template.db"
    database = Database(f"sqlite:///{template}")
    await database.migrate()
    await database.close()
    tracking, reading = ChildProcess("registry", Tracking, uri), ChildProcess("registry files", Tracking, uri)
    store = open_store(f"chdb://{home / 'predictions'}")
    try:
        await asyncio.gather(tracking.start(), store.models())
        yield Workshop(home, tracking, reading, store, template)
    finally:
        await asyncio.gather(store.close(), tracking.close(), reading.close())


class Queue:
    """`Mover`: what is to be moved, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._moves: deque[tuple[str, str]] = deque()

    async def dispatch(self, run_id: str, event: str, *, again: str = "") -> None:  # noqa: ARG002
        if (run_id, event) not in self._moves:
            self._moves.append((run_id, event))

    def next(self) -> tuple[str, str] | None:
        return self._moves.popleft() if self._moves else None


class Refused(Exception):
    """The API said no to what the scenario's people do."""


class Platform:
    """Made by `open_platform`."""

    def __init__(
        self,
        world: World,
        clock: SimulatedClock,
        policies: Policies,
        raw: Adapters,
        database: Database,
        folder: Path,
        store: ClickHouseStore,
        recorder: Recorder,
        jobs: WorldJobs,
    ) -> None:
        """`raw`: the ports as they are; the platform gets them through the recorder, and what others do goes past it."""
        adapters = recorder.decorate(raw)
        self.world = world
        self.clock = clock
        self.policies = policies
        self.recorder = recorder
        self.jobs = jobs
        self._raw = raw
        self._database = database
        self._folder = folder
        self._store = store
        self._segments = 0
        self._queue = Queue()
        self._token = secrets.token_urlsafe(24)
        self._keys: dict[str, str] = {}

        # Not before `graphs`, which says how strictly it reads what it has written.
        from langgraph.checkpoint.memory import InMemorySaver

        def policy() -> Policies:
            return policies

        approvals, autonomy = Approvals(database, policy, clock), Autonomy(database, policy, clock)
        ledger, orders, joined = ActionLedger(database, clock), Orders(database), Joined(database)
        toolbox = adapters.toolbox

        def context(timeline: Timeline) -> Context:
            read = joined.unread
            return Context(
                toolbox, ledger, policies, autonomy.mode, clock, timeline, orders.standing, read, ADDRESS, LIST_PRICES
            )

        intake = Intake(database, policy, clock)
        self._runner = Runner(build(InMemorySaver()), Progress(database, approvals, clock), context, clock)
        self._sweep = Sweep(database, self._queue, approvals, clock)
        self._watch = Watch(database, intake, adapters.predictions, adapters.registry, adapters.quarantines, policy, clock)
        sources = Sources(adapters.jobs, adapters.predictions, adapters.serving, adapters.registry, real_time=False)
        meters = Meters(adapters.costs, LIST_PRICES, sources, policy, Trials(database).of)
        services = Services(
            database=database,
            intake=intake,
            approvals=approvals,
            autonomy=autonomy,
            rollouts=Rollouts(database, clock),
            experiments=Experiments(database, clock),
            policies=policy,
            clock=clock,
            dispatch=Dispatcher(database, self._queue).dispatch,
            registry=adapters.registry,
            serving=adapters.serving,
            predictions=adapters.predictions,
            quarantines=adapters.quarantines,
            jobs=adapters.jobs,
            costs=adapters.costs,
            billing=Billing(LIST_PRICES, "list prices", Metering(database, adapters.costs, LIST_PRICES, meters, jobs, clock)),
            reports=Reports(adapters.predictions, folder / "reports"),
            datasets=None,
            features=None,
            checks={"database": database.ping},
            required=frozenset({"database"}),
            lag=_no_lag,
            chores=(),
            dropped={},
            retried={},
            senders={"alertmanager": Sender(bearer=SecretStr(self._token))},
        )
        app = create_app(lambda: contextlib.nullcontext(services), _BODIES)
        app.state.services = services
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS)

    async def begin(self) -> None:
        """Keys for the people, and the monitors' first look, which only notes where they stand."""
        for name in OPERATORS:
            record, key = new_key(name, Role.APPROVER, self.clock.now())
            async with self._database.begin() as transaction:
                await keys.add(transaction, record)
                told = {"key": record.id, "name": name}
                audit.append(
                    transaction, at=self.clock.now(), actor="scenario", action="key.created", subject=record.id, data=told
                )
            self._keys[name] = key
        await self._watch.once()

    async def close(self) -> None:
        await self._http.aclose()

    async def take_in(self, records: list[PredictionRecord | LabelRecord]) -> None:
        """As the loader does with what the gateway wrote."""
        encoder = msgspec.json.Encoder()
        for kind in (PredictionRecord, LabelRecord):
            if own := [each for each in records if isinstance(each, kind)]:
                self._segments += 1
                path = self._folder / f"{kind.__name__.lower()}-{self._segments:016d}-{self.world.model}-000001.ndjson"
                path.write_bytes(encoder.encode_lines(own))
                await self._store.load(path)
                path.unlink()

    async def look(self) -> None:
        """What is due by the hour: the platform's own monitors."""
        await self._watch.once()

    async def settle(self) -> bool:
        """Move whatever is due until nothing is; whether anything was."""
        moved = False
        await self.jobs.settle()
        for part in (self._sweep.expire, self._sweep.wake, self._sweep.dispatch):
            await part()
        while (move := self._queue.next()) is not None:
            moved = True
            await self._runner.advance(*move)
            await self._sweep.dispatch()
        return moved

    async def due(self) -> datetime | None:
        """When something falls due by itself: a run that waits, a question that runs out, a job that ends."""
        async with self._database.read() as session:
            run = await session.scalar(select(func.min(RunRecord.due_at)).where(RunRecord.due_at.is_not(None)))
            asked = await session.scalar(select(func.min(ApprovalRecord.expires_at)).where(ApprovalRecord.status == "pending"))
        return min((each for each in (run, asked, self.jobs.due) if each is not None), default=None)

    async def deliver(self, body: dict[str, Any]) -> None:
        """Post as Alertmanager does."""
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "Alertmanager/0.25.0"}
        _body(await self._http.post("/v1/alerts/alertmanager", json=body, headers=headers))

    async def get(self, path: str) -> dict[str, Any]:
        return _body(await self._http.get(path, headers={"Authorization": f"Bearer {self._keys[OPERATORS[0]]}"}))

    async def post(self, path: str, body: dict[str, Any], *, by: str) -> dict[str, Any]:
        return _body(await self._http.post(path, json=body, headers={"Authorization": f"Bearer {self._keys[by]}"}))

    async def release(self, version: str, holdback: int) -> None:
        """As a release pipeline does, past the platform's hands: the traffic, and the alias."""
        raw = self._raw
        before = await raw.registry.alias(self.world.model, Alias.CHAMPION)
        route = await raw.serving.route(self.world.model)
        weights = {version: 100} if not holdback or before is None else {version: 100 - holdback, before: holdback}
        key = f"release/{version}/{self.clock.now().isoformat()}"
        await raw.serving.set_weights(self.world.model, weights, expected_generation=route.generation, key=key)
        await raw.registry.set_alias(
            self.world.model,
            Alias.CHAMPION,
            version,
            expected=before,
            key=key,
            actor="release-pipeline",
            reason="it passed its offline evaluation",
        )


@contextlib.asynccontextmanager
async def open_platform(workshop: Workshop, world: World, policies: Policies) -> AsyncIterator[Platform]:
    folder = workshop.home / world.model
    folder.mkdir()
    shutil.copyfile(workshop.template, folder / "oppen.db")
    url = f"sqlite:///{folder / 'oppen.db'}"
    begins = world.start - world.scenario.traffic.history
    clock = SimulatedClock(begins)
    async with contextlib.AsyncExitStack() as stack:
        database = Database(url)
        stack.push_async_callback(database.close)
        history = SqlHistory(url)
        stack.push_async_callback(history.close)
        moves = Moves(MlflowAliases(workshop.tracking), history, clock)
        registry = MlflowRegistry(workshop.tracking_uri, workshop.tracking, workshop.reading, moves, clock)

        async def made(job: str, at: datetime) -> None:
            version = await workshop.tracking.call(publish, workshop.tracking_uri, world.model, job, {JOB_TAG: job})
            world.train(version, at)

        jobs = WorldJobs(clock, _TRAINING, made)
        raw = Adapters(
            registry=registry,
            serving=world.serving,
            predictions=OwnStore(workshop.store, world.model),
            telemetry=WorldTelemetry(world),
            notify=OutboxNotifier(folder / "outbox.jsonl", SentMessages(database, clock), clock),
            quarantines=SqlQuarantines(database, clock),
            jobs=jobs,
            costs=ClickHouseLedger(workshop.store.engine),
        )
        for version in sorted(world.scenario.versions, key=int):
            await workshop.tracking.call(publish, workshop.tracking_uri, world.model, version, {})
        await registry.set_alias(
            world.model,
            Alias.CHAMPION,
            world.scenario.champion,
            expected=None,
            key=f"first/{world.model}",
            actor="release-pipeline",
            reason="first release",
        )
        recorder = Recorder(clock)
        platform = Platform(world, clock, policies, raw, database, folder, workshop.store, recorder, jobs)
        stack.push_async_callback(platform.close)
        yield platform


async def _no_lag() -> Lag:
    return Lag(segments=0, bytes=0, oldest=None)


def _body(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        request = response.request
        raise Refused(f"{request.method} {request.url.path} was answered {response.status_code}: {response.text}")
    found: dict[str, Any] = response.json()
    return found
