"""A platform of twins with one model, its traffic written record by record, and a supervisor that runs on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, RetryPolicy

from agents.alerts import Alert
from agents.evaluation_job import EvaluationJob
from agents.policies import Mode, ModelPolicy, Policies, Slo
from agents.proposals import Approve, Decision, Proposal, Verdict
from agents.training import TRACKING
from graphs.context import Context, Order, Timeline
from graphs.context import Ledger as LedgerPort
from graphs.supervisor import RETRY, build
from tests.graphs.interference import DisturbedQuarantines, DisturbedRegistry, DisturbedServing
from tests.twins.clock import SteppedClock
from tests.twins.costs import TwinCosts
from tests.twins.jobs import TwinJobs
from tests.twins.ledger import TwinLedger
from tests.twins.notify import RememberingNotifier
from tests.twins.predictions import TwinPredictions
from tests.twins.telemetry import RememberedTelemetry
from tests.twins.timeline import RememberingTimeline
from tools.costs.prices import PriceBook
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.registry.evaluations import KEY
from tools.registry.port import Alias
from tools.rollouts.gateway import GatewayTraffic
from tools.rollouts.port import Traffic
from tools.toolbox import Toolbox

P = TypeVar("P", bound="Platform")

MODEL = "flights"
UNEXAMINED = {MODEL: ModelPolicy(evaluation=EvaluationJob(command=None))}
"""Where what is looked at comes after the evaluation."""
POLICIES = Policies(slo=Slo(min_accuracy=0.8))
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
PER_HOUR = 60
ADDRESS = "https://oppen.example"
"""Where people reach the service."""
SETTLED = POLICIES.verification.settle + POLICIES.verification.hold

FAST_RETRY = RetryPolicy(retry_on=RETRY.retry_on, max_attempts=RETRY.max_attempts, initial_interval=0.001, jitter=False)
"""As in production, but for the pauses."""


def alert(at: datetime, **values: Any) -> Alert:
    content = {
        "source": "alertmanager",
        "fingerprint": "a",
        "status": "firing",
        "name": "ModelAccuracyLow",
        "labels": {"alertname": "ModelAccuracyLow", "model": MODEL},
        "starts_at": at - timedelta(minutes=10),
    }
    return Alert.model_validate(content | values)


@dataclass
class Platform:
    clock: SteppedClock = field(default_factory=SteppedClock)
    policies: Policies = POLICIES
    mode: Mode = Mode.PROPOSE
    predictions: TwinPredictions = field(default_factory=TwinPredictions)
    notify: RememberingNotifier = field(default_factory=RememberingNotifier)
    telemetry: RememberedTelemetry = field(default_factory=RememberedTelemetry)
    timeline: RememberingTimeline = field(default_factory=RememberingTimeline)
    ledger_on: Callable[[SteppedClock], LedgerPort] = TwinLedger
    run_id: str = "run-1"
    mover: Traffic | None = None
    """None: the serving layer's own."""
    prices: PriceBook | None = None

    def __post_init__(self) -> None:
        self.registry = DisturbedRegistry(self.clock)
        self.jobs = TwinJobs(self.clock, secrets=frozenset({TRACKING, KEY}))
        self.orders: dict[str, Order] = {}
        self.joined: list[Alert] = []
        """What has joined the run's incident, and no run has read."""
        self.serving = DisturbedServing()
        self.costs = TwinCosts()
        self.quarantines = DisturbedQuarantines(self.clock)
        self.ledger = self.ledger_on(self.clock)
        self.graph = build(InMemorySaver(), retry=FAST_RETRY)

    @property
    def context(self) -> Context:
        return self.context_with(self.timeline)

    @property
    def moving(self) -> Traffic:
        return self.mover or GatewayTraffic(self.serving)

    def context_with(self, timeline: Timeline) -> Context:
        tools = Toolbox(
            self.registry,
            self.serving,
            self.predictions,
            self.telemetry,
            self.notify,
            self.quarantines,
            self.jobs,
            self.moving,
            self.costs,
        )
        asked = self._order, self._joined
        return Context(tools, self.ledger, self.policies, self._mode, self.clock, timeline, *asked, ADDRESS, prices=self.prices)

    async def _order(self, run_id: str) -> Order | None:
        return self.orders.get(run_id)

    async def _joined(self, _: str) -> tuple[Alert, ...]:
        return tuple(self.joined)

    async def _mode(self) -> Mode:
        return self.mode

    # The world.

    def traffic(
        self,
        version: str,
        time: timedelta,
        *,
        accuracy: float = 0.9,
        latency_ms: float = 40.0,
        wind: float = 0.0,
        cpu_s: float | None = None,
    ) -> None:
        """Let `time` pass, with requests that `version` answers."""
        start = self.clock.now()
        end = self.clock.pass_(time)
        step = timedelta(hours=1) / PER_HOUR
        for place in range(int(time / step)):
            at = start + place * step
            number = int((at - datetime(2026, 1, 1, tzinfo=UTC)) / step)
            late = number % 10 < 3
            right = (number * 0.618034) % 1 < accuracy
            micros = int(at.timestamp() * 1e6)
            record = PredictionRecord(
                id=f"{micros}",
                model=MODEL,
                version=version,
                at=micros,
                entity=f"flight-{number}",
                latency_us=int(latency_ms * 1000),
                cpu_us=cpu_s * 1e6 if cpu_s is not None else None,
                features={
                    "distance": float((number * 37) % 101),
                    "wind": float((number * 53) % 97) + wind,
                    "carrier": ("UA", "B6", "DL")[number % 3],
                },
                prediction="late" if late else "on_time",
                score=0.3,
            )
            truth = late if right else not late
            label = LabelRecord(id=record.id, model=MODEL, at=micros, label="late" if truth else "on_time")
            assert at < end
            self.predictions.add([record, label])

    async def routed(self, time: timedelta, *, accuracy: dict[str, float] | None = None, per_minute: int = 20) -> None:
        """Let `time` pass, with requests that the versions answer in the shares of the route; `accuracy` by version."""
        weights = await self.weights()
        slots = [version for version, weight in sorted(weights.items()) for _ in range(weight)]
        start = self.clock.now()
        end = self.clock.pass_(time)
        step = timedelta(minutes=1) / per_minute
        for place in range(int(time / step)):
            at = start + place * step
            number = int((at - datetime(2026, 1, 1, tzinfo=UTC)) / step)
            version = slots[(number * 61) % 100]
            late = number % 10 < 3
            right = (number * 0.618034) % 1 < (accuracy or {}).get(version, 0.9)
            micros = int(at.timestamp() * 1e6)
            record = PredictionRecord(
                id=f"r{micros}",
                model=MODEL,
                version=version,
                at=micros,
                entity=f"flight-{number}",
                latency_us=40_000,
                features={"distance": float((number * 37) % 101)},
                prediction="late" if late else "on_time",
                score=0.3,
            )
            truth = late if right else not late
            label = LabelRecord(id=record.id, model=MODEL, at=micros, label="late" if truth else "on_time")
            assert at < end
            self.predictions.add([record, label])

    async def move(self, version: str, *, actor: str = "deploy") -> None:
        """Alias and route, as a release would."""
        before = await self.registry.alias(MODEL, Alias.CHAMPION)
        served = await self.serving.models()
        generation = (await self.serving.route(MODEL)).generation if MODEL in served else 0
        key = f"release-{version}-{self.clock.now():%s}"
        await self.serving.set_weights(MODEL, {version: 100}, expected_generation=generation, key=key)
        await self.registry.set_alias(MODEL, Alias.CHAMPION, version, expected=before, key=key, actor=actor, reason="release")

    async def champion(self) -> str | None:
        return await self.registry.alias(MODEL, Alias.CHAMPION)

    async def weights(self) -> dict[str, int]:
        return (await self.moving.state(MODEL)).weights

    # The run.

    @property
    def config(self) -> Any:
        return {"configurable": {"thread_id": self.run_id}, "recursion_limit": 200}

    async def start(self, *alerts: Alert) -> dict[str, Any]:
        given = alerts or (alert(self.clock.now()),)
        return await self._go({"run_id": self.run_id, "incident_id": "inc-1", "alerts": given})

    async def decide(
        self, decision: Decision | None = None, *, by: str | tuple[str, ...] = "alice", fingerprint: str | None = None
    ) -> Any:
        """Answer the question that is open; an approval unless something else is given."""
        verdict = Verdict(
            decision=decision or Approve(),
            fingerprint=fingerprint or (await self.proposal()).fingerprint,
            decided_by=(by,) if isinstance(by, str) else by,
            decided_at=self.clock.now(),
        )
        return await self._resume("approval", verdict.model_dump(mode="json"))

    async def go_on(self) -> Any:
        """As the engine does after a step that failed for a moment, or a process that was killed."""
        return await self._go(None)

    async def wake(self) -> Any:
        """Go on at the moment that the run waits for, or now when that has passed."""
        until = datetime.fromisoformat((await self.waits_for("wait"))["until"])
        if until > self.clock.now():
            self.clock.pass_(until - self.clock.now())
        return await self._resume("wait", self.clock.now().isoformat())

    async def waits_for(self, kind: str) -> dict[str, Any]:
        interrupts = (await self.graph.aget_state(self.config)).interrupts
        assert [each.value["kind"] for each in interrupts] == [kind]
        question: dict[str, Any] = interrupts[0].value
        return question

    async def proposal(self) -> Proposal:
        return Proposal.model_validate((await self.waits_for("approval"))["proposal"])

    async def _resume(self, kind: str, answer: Any) -> dict[str, Any]:
        await self.waits_for(kind)
        interrupt = (await self.graph.aget_state(self.config)).interrupts[0]
        return await self._go(Command(resume={interrupt.id: answer}))

    async def _go(self, step: Any) -> dict[str, Any]:
        values: dict[str, Any] = await self.graph.ainvoke(step, self.config, context=self.context, durability="sync")
        return values


async def healthy(kind: type[P] = Platform, **values: Any) -> P:  # type: ignore[assignment]
    """Version 1 has served well for two and a half days."""
    platform = kind(**values)
    platform.registry.publish(MODEL)
    platform.registry.publish(MODEL)
    platform.registry.publish(MODEL)
    await platform.move("1")
    platform.traffic("1", 60 * HOUR)
    return platform


async def bad_rollout(**values: Any) -> Platform:
    """Four hours ago version 2 took over, and is wrong far more often."""
    platform = await healthy(**values)
    await platform.move("2")
    platform.traffic("2", 4 * HOUR, accuracy=0.5)
    platform.registry.calls.clear()
    platform.serving.calls.clear()
    return platform
