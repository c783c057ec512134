"""The composition root: reads settings, chooses backends, wires them by hand, and takes them down in reverse order."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from agents.policies import Policies
from agents.training import TRACKING
from api import evaluation_key, first_key, home, policy_file, price_file
from api.settings import Settings
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.notifications import SentMessages
from api.store.quarantines import SqlQuarantines
from api.web.services import Auditor, Services
from api.work.approvals import Approvals
from api.work.autonomy import Autonomy
from api.work.checkpoints import open_checkpoints
from api.work.chores import Chore
from api.work.costs import CostWatch
from api.work.datasets import DatasetWatch
from api.work.dispatching import Dispatcher, Sweep
from api.work.engine import Engine
from api.work.experiments import Experiments
from api.work.features import JobProcess, Materializing
from api.work.following import Joined
from api.work.gates import Gates
from api.work.intake import Intake
from api.work.lineage import LineageFile
from api.work.looks import Looks, Seen
from api.work.metering import Billing, Metering
from api.work.meters import Meters, Places, Sources
from api.work.monitors import Watch
from api.work.orders import Orders
from api.work.progress import Progress
from api.work.reports import Reports
from api.work.rollouts import Rollouts
from api.work.schedules import Schedules
from api.work.tidying import Tidying
from api.work.trials import Trials
from graphs.context import Context, Timeline
from tools.clock import Clock, clock_from
from tools.costs.port import CostLedger
from tools.errors import PortError, TemporaryError
from tools.features.port import Features
from tools.jobs.port import Jobs
from tools.leftovers import KEPT
from tools.notify.port import Notifier
from tools.predictions.loader import Loader
from tools.predictions.port import PredictionStore
from tools.quality.arrivals import Arrivals
from tools.quality.history import Histories
from tools.quarantines.port import Quarantines
from tools.registry.evaluations import KEY
from tools.registry.port import Registry
from tools.rollouts.gateway import GatewayTraffic
from tools.rollouts.port import Traffic
from tools.serving.port import Serving
from tools.telemetry.port import Telemetry
from tools.toolbox import Toolbox

if TYPE_CHECKING:
    from api.work.runner import Runner
    from tools.rollouts.flagger import FlaggerTraffic

log = structlog.get_logger()

_SWEEP, _SWEEP_FAST = timedelta(milliseconds=500), timedelta(milliseconds=200)
"""How late a run may be woken, or an expired question be closed."""
_LOAD, _LOAD_FAST = timedelta(milliseconds=500), timedelta(milliseconds=100)
"""How often new segments are looked for; the gateway completes one every few seconds."""
_WATCH = timedelta(seconds=30)
"""How soon a window that has ended is looked at."""
_TRACE = timedelta(seconds=2)
"""How often new lines in the file of lineage are looked for; jobs take minutes."""
_METER, _METER_FAST = timedelta(minutes=1), timedelta(seconds=2)
"""How often it is seen whether the meters are to be read; and on a clock that passes days in seconds."""
_TIDY = timedelta(hours=1)
"""How often rows that have served are dropped."""
_AUDIT = timedelta(seconds=25)
"""How long OpenCost may take to begin its answer: the command line waits half a minute for all of it."""
_BUILD = _WARM = timedelta(seconds=1)
"""How long the first pause is after what is done once at the start has failed."""


@dataclass(frozen=True)
class Adapters:
    """The ports as this installation has them."""

    registry: Registry
    serving: Serving
    predictions: PredictionStore
    telemetry: Telemetry
    notify: Notifier
    quarantines: Quarantines
    jobs: Jobs
    costs: CostLedger
    flagger: "FlaggerTraffic | None" = None
    """What moves the traffic of rollouts, where it is not the serving layer."""

    @property
    def traffic(self) -> Traffic:
        return self.flagger or GatewayTraffic(self.serving)

    @property
    def toolbox(self) -> Toolbox:
        return Toolbox(
            self.registry,
            self.serving,
            self.predictions,
            self.telemetry,
            self.notify,
            self.quarantines,
            self.jobs,
            self.traffic,
            self.costs,
        )


Decorate = Callable[[Adapters], Adapters]
"""For drills that watch or disturb what goes through the ports."""


class DatabaseUnavailable(Exception):
    """It does not answer, or not with what this build needs."""


@contextlib.asynccontextmanager
async def open_services(settings: Settings, decorate: Decorate = lambda adapters: adapters) -> AsyncIterator[Services]:
    """Raises HomeInUse, HomeUnusable, and DatabaseUnavailable."""
    clock, policies = clock_from(settings.clock), policy_file.load(settings.policies)
    book = price_file.load(settings.prices)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(home.service(settings))
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        try:
            await database.migrate()
            await first_key.ensure(database, settings.first_key, clock)
        except PortError as error:
            raise DatabaseUnavailable(str(error)) from error
        adapters = decorate(await _open_adapters(settings, database, clock, stack))

        def policy() -> Policies:
            return policies

        approvals = Approvals(database, policy, clock)
        autonomy = Autonomy(database, policy, clock)
        rollouts, experiments, joined = Rollouts(database, clock), Experiments(database, clock), Joined(database)
        orders = Orders(database)
        toolbox, ledger = adapters.toolbox, ActionLedger(database, clock)
        # Entered here to be left after the engine has stopped: a run that still moves then needs its thread.
        checkpoints = await stack.enter_async_context(contextlib.AsyncExitStack())

        progress = Progress(database, approvals, clock)

        def context(timeline: Timeline) -> Context:
            read = joined.unread
            where = settings.address
            return Context(toolbox, ledger, policies, autonomy.mode, clock, timeline, orders.standing, read, where, book)

        build = Chore("build runner", lambda: _build_runner(settings, progress, context, clock, checkpoints), _BUILD)
        building = asyncio.create_task(build.until_done(), name=build.name)
        stack.push_async_callback(_end, building)

        async def advance(run_id: str, event: str) -> None:
            await (await asyncio.shield(building)).advance(run_id, event)

        engine = Engine(settings.engine, advance, executor=settings.executor)
        await engine.start()
        stack.push_async_callback(engine.stop)

        loader = Loader(adapters.predictions, settings.segment_folder)
        # On a clock that passes days in seconds, windows end and runs are due as quickly.
        fast = settings.clock != "system"
        wakes = Sweep(database, engine, approvals, clock).parts.items()
        sweep = [Chore(name, part, _SWEEP_FAST if fast else _SWEEP) for name, part in wakes]
        load = Chore("load", loader.sweep, _LOAD_FAST if fast else _LOAD)
        features = _open_features(settings, clock, stack)
        warm = Chore("warm", lambda: _warm(adapters, features), _WARM)
        tidying = Tidying(engine, SentMessages(database, clock), lambda: policies.retention, clock)

        async def tidied() -> None:
            await tidying.once()
            with contextlib.suppress(TemporaryError):  # an hour later will do
                await adapters.registry.empty(clock.now() - KEPT)

        tidy = Chore("tidy", tidied, _TIDY)
        sweeping = LineageFile(database, settings.lineage_file, clock)
        trace = Chore("lineage", sweeping.once, _TRACE)
        intake = Intake(database, policy, clock)
        watching = Watch(database, intake, adapters.predictions, adapters.registry, adapters.quarantines, policy, clock)
        often = _SWEEP if fast else _WATCH
        watch = Chore("watch", watching.once, often)
        repeated: tuple[Chore[Any], ...] = (*sweep, load, tidy, watch, trace, *_materializing(settings, policy, clock))
        histories = open_histories(settings)
        arrivals = Arrivals(histories, clock) if histories is not None else None
        timely = Schedules(database, intake, adapters.predictions, adapters.registry, policy, clock, arrivals)
        repeated = (*repeated, Chore("schedules", timely.once, often))
        if histories is not None:
            tables = DatasetWatch(database, intake, histories, policy, clock)
            repeated = (*repeated, Chore("watch datasets", tables.once, often))
        dispatch = Dispatcher(database, engine).dispatch

        async def glance(run_id: str) -> Seen | None:
            return await (await asyncio.shield(building)).glance(run_id)

        looks = Looks(database, rollouts, glance, dispatch, policy, clock)
        meters = Meters(adapters.costs, book, _metered(settings, adapters), policy, Trials(database).of)
        metering = Metering(database, adapters.costs, book, meters, adapters.jobs, clock)
        meter = Chore("meter", metering.once, _METER_FAST if fast else _METER)
        repeated = (*repeated, Chore("look while people are asked", looks.once, often), meter)
        spending = CostWatch(database, intake, adapters.costs, adapters.jobs, policy, clock)
        repeated = (*repeated, Chore("watch costs", spending.once, often))
        working = [asyncio.create_task(chore.forever(), name=chore.name) for chore in repeated]
        stack.push_async_callback(_end, *working, asyncio.create_task(warm.until_done(), name=warm.name))

        reports = Reports(adapters.predictions, settings.home / "reports")
        stack.push_async_callback(reports.close)

        yield Services(
            database=database,
            intake=intake,
            approvals=approvals,
            autonomy=autonomy,
            rollouts=rollouts,
            experiments=experiments,
            policies=policy,
            clock=clock,
            dispatch=dispatch,
            registry=adapters.registry,
            serving=adapters.serving,
            predictions=adapters.predictions,
            quarantines=adapters.quarantines,
            jobs=adapters.jobs,
            costs=adapters.costs,
            billing=Billing(book, price_file.source(settings.prices), metering),
            reports=reports,
            datasets=histories,
            features=features,
            checks=_checks(settings, database, adapters, features),
            required=frozenset({"database"}),
            lag=loader.lag,
            chores=(build, *repeated, warm),
            dropped=tidying.dropped,
            retried=engine.retried,
            senders=settings.senders,
            auditor=_open_auditor(settings, book.currency, stack),
            gates=None if adapters.flagger is None else Gates(database, adapters.flagger, autonomy.mode, clock),
        )


def _metered(settings: Settings, adapters: Adapters) -> Sources:
    return Sources(
        jobs=adapters.jobs,
        predictions=adapters.predictions,
        serving=adapters.serving,
        registry=adapters.registry,
        places=Places(
            artifacts=settings.artifact_folder,
            checkpoints=settings.home.absolute() / "jobs" if settings.jobs == "local" else None,
            lake=settings.lake_folder,
        ),
        load_balancers=settings.load_balancers,
        monitored=bool(settings.prometheus_url),
        real_time=settings.clock == "system",
    )


def open_histories(settings: Settings) -> Histories | None:
    """None: no lake is configured."""
    if not settings.lake:
        return None
    from tools.quality.lakes import LakeHistories

    return LakeHistories(settings.lake, settings.lake_password.get_secret_value() if settings.lake_password else None)


def _checks(
    settings: Settings, database: Database, adapters: Adapters, features: Features | None
) -> Mapping[str, Callable[[], Awaitable[None]]]:
    checks = {
        "database": database.ping,
        "registry": adapters.registry.ping,
        "predictions": adapters.predictions.ping,
        "serving": adapters.serving.ping,
        "notify": adapters.notify.ping,
        "jobs": adapters.jobs.ping,
    }
    if features is not None:
        checks["features"] = features.ping
    if adapters.flagger is not None:
        checks["flagger"] = adapters.flagger.ping
    return {**checks, "telemetry": adapters.telemetry.ping} if settings.prometheus_url else checks


def _open_features(settings: Settings, clock: Clock, stack: contextlib.AsyncExitStack) -> Features | None:
    from tools.features.offloaded import OffloadedFeatures

    if (place := settings.feature_place) is None:
        return None
    features = OffloadedFeatures(place, clock)
    stack.push_async_callback(features.close)
    return features


def _open_auditor(settings: Settings, currency: str, stack: contextlib.AsyncExitStack) -> Auditor | None:
    """None: no OpenCost is configured. It is not among the checks of readiness: each would have it reckon an hour anew."""
    from tools.costs.opencost import OpenCost

    if settings.opencost_url is None:
        return None
    token = settings.opencost_token.get_secret_value() if settings.opencost_token else None
    reader = OpenCost(settings.opencost_url.get_secret_value(), token, timeout=_AUDIT)
    stack.push_async_callback(reader.close)
    return Auditor(reader, settings.opencost_currency or currency, settings.opencost_controllers)


def _materializing(settings: Settings, policies: Callable[[], Policies], clock: Clock) -> tuple[Chore[Any], ...]:
    """None where no lake is named: then somebody else computes, and here features are only looked up."""
    if (job := settings.feature_job) is None or not settings.lake:
        return ()
    return (Chore("materialize", Materializing(JobProcess(job), lambda: policies().features, clock).once, _WATCH),)


async def _open_adapters(settings: Settings, database: Database, clock: Clock, stack: contextlib.AsyncExitStack) -> Adapters:
    from tools.costs.clickhouse import ClickHouseLedger
    from tools.notify.apprise import AppriseNotifier
    from tools.notify.outbox import OutboxNotifier
    from tools.predictions.clickhouse import open_store
    from tools.registry.mlflow import open_registry
    from tools.serving.gateway import open_serving
    from tools.telemetry.absent import AbsentTelemetry
    from tools.telemetry.prometheus import PrometheusTelemetry

    key = evaluation_key.of(settings)
    registry = await stack.enter_async_context(open_registry(settings.mlflow, settings.database, clock, key))
    predictions = open_store(settings.predictions)
    stack.push_async_callback(predictions.close)
    token = settings.gateway_token.get_secret_value() if settings.gateway_token else None
    serving = await scaled(await stack.enter_async_context(open_serving(settings.gateway_url, token)), settings, stack)
    telemetry: Telemetry = AbsentTelemetry()
    if settings.prometheus_url:
        bearer = settings.prometheus_token.get_secret_value() if settings.prometheus_token else None
        prometheus = PrometheusTelemetry(settings.prometheus_url, bearer)
        stack.push_async_callback(prometheus.close)
        telemetry = prometheus
    sent = SentMessages(database, clock)
    notify: Notifier = OutboxNotifier(settings.home / "outbox.jsonl", sent, clock)
    if settings.channels:
        urls = {name: [url.get_secret_value() for url in given] for name, given in settings.channels.items()}
        notify = AppriseNotifier(urls, sent)
    quarantines, jobs = SqlQuarantines(database, clock), await _open_jobs(settings, clock, stack, key)
    flagger = await _open_flagger(settings, stack)
    # In the same store as the predictions: the embedded engine lets one process in.
    costs = ClickHouseLedger(predictions.engine)
    return Adapters(registry, serving, predictions, telemetry, notify, quarantines, jobs, costs, flagger)


async def scaled(serving: Serving, settings: Settings, stack: contextlib.AsyncExitStack) -> Serving:
    """With the capacity that the settings name: its own, or a cluster's."""
    kind, _, namespace = settings.scaling.partition(":")
    if kind != "kubernetes":
        return serving
    from tools.kubernetes.cluster import connected
    from tools.serving.replicas import ReplicaServing

    cluster = await stack.enter_async_context(connected(namespace, kubeconfig=settings.kubeconfig))
    return ReplicaServing(serving, cluster, settings.scaling_cluster)


async def _open_jobs(settings: Settings, clock: Clock, stack: contextlib.AsyncExitStack, key: str) -> Jobs:
    kind, _, namespace = settings.jobs.partition(":")
    if kind == "kubernetes":
        from tools.jobs.kubernetes import KubernetesJobs
        from tools.kubernetes.cluster import connected

        assert settings.jobs_cluster is not None
        cluster = await stack.enter_async_context(connected(namespace, kubeconfig=settings.kubeconfig))
        return KubernetesJobs(cluster, settings.jobs_cluster)
    from tools.jobs.local import LocalJobs

    secrets = {name: value.get_secret_value() for name, value in settings.job_secrets.items()}
    return LocalJobs(settings.home.absolute() / "jobs", secrets={TRACKING: settings.mlflow, **secrets, KEY: key}, clock=clock)


async def _open_flagger(settings: Settings, stack: contextlib.AsyncExitStack) -> "FlaggerTraffic | None":
    kind, _, namespace = settings.rollouts.partition(":")
    if kind != "flagger":
        return None
    from tools.kubernetes.cluster import connected
    from tools.rollouts.flagger import FlaggerTraffic

    assert settings.rollouts_cluster is not None
    assert settings.canary_key is not None
    cluster = await stack.enter_async_context(connected(namespace, kubeconfig=settings.kubeconfig))
    return FlaggerTraffic(cluster, settings.rollouts_cluster, settings.canary_key.get_secret_value())


async def _build_runner(
    settings: Settings,
    progress: Progress,
    context: Callable[[Timeline], Context],
    clock: Clock,
    stack: contextlib.AsyncExitStack,
) -> "Runner":
    """LangGraph takes seconds to import, in a thread: alerts are taken meanwhile, and their runs wait for it."""
    supervisor, runner = await asyncio.to_thread(
        lambda: (importlib.import_module("graphs.supervisor"), importlib.import_module("api.work.runner"))
    )
    async with contextlib.AsyncExitStack() as attempt:
        saver = await attempt.enter_async_context(open_checkpoints(settings.checkpoints))
        built: Runner = runner.Runner(supervisor.build(saver), progress, context, clock)
        # Handed over whole: a try that failed has closed what it opened.
        stack.push_async_exit(attempt.pop_all())
    return built


async def _warm(adapters: Adapters, features: Features | None) -> None:
    """Have the slow libraries in their child processes before the first investigation asks for them."""
    slow: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("predictions", adapters.predictions.models),
        ("registry", adapters.registry.models),
    ]
    if features is not None:
        slow.append(("features", features.ping))
    for name, first in slow:
        try:
            await first()
        except PortError as error:
            log.warning("dependency.unavailable", dependency=name, reason=str(error))


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """All at once: each takes its time to complete what it is at."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
