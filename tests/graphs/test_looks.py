"""While people are asked whether a rollout goes on, somebody looks at it all the same."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agents.actions import AbortRollout
from agents.policies import Mode, Policies, Slo
from agents.promotion_rules import Guardrails, Rollouts, Stage
from agents.proposals import Approve
from agents.requests import Request, to_alert
from api.store import rollouts
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.records import ApprovalRecord, RolloutRecord
from api.work import rollouts as work
from api.work.approvals import Approvals
from api.work.intake import Intake
from api.work.looks import LOOKS, Looks
from api.work.progress import Progress
from api.work.runner import Runner
from graphs.context import Context, Order, Timeline
from tests.graphs.platform import MODEL, UNEXAMINED, Platform, healthy
from tests.graphs.runs import Case
from tests.twins.clock import SteppedClock
from tools.errors import TemporaryError

STEP = timedelta(minutes=10)
POLICIES = Policies(
    slo=Slo(min_accuracy=0.8),
    rollouts=Rollouts(
        stages=(Stage(weight=0.1, hold=STEP), Stage(weight=1.0)),
        look_every=STEP,
        guardrails=Guardrails(errors=None, accuracy=0.05, latency=None),
        extend=STEP,
    ),
    models=UNEXAMINED,
)


class Ordered(Platform):
    """Orders are those of the record."""

    standing: work.Rollouts

    def context_with(self, timeline: Timeline) -> Context:
        return replace(super().context_with(timeline), order=self._ordered)

    async def _ordered(self, run_id: str) -> Order | None:
        return await self.standing.standing(run_id)


class Asked(Case):
    """The challenger has a tenth of the traffic, and people are asked, because none came."""

    platform: Ordered
    dispatched: list[str]
    looks: Looks

    @property
    def record(self) -> Any:
        return self._record()

    async def _record(self) -> RolloutRecord:
        async with self.database.read() as session:
            page = await rollouts.page(session)
        return page.items[-1]

    async def question(self) -> ApprovalRecord:
        return (await self.asked())[-1]

    async def minutes(self, accuracy: float) -> None:
        await self.platform.routed(STEP, accuracy={"1": 0.9, "2": accuracy}, per_minute=60)

    async def settled(self) -> None:
        """As the engine moves what is queued."""
        while (await self.run()).status == "queued":
            await self.advance()


@pytest.fixture
async def asked(database: Database) -> Asked:
    clock = SteppedClock()
    platform = await healthy(Ordered, policies=POLICIES, clock=clock, ledger_on=lambda clock: ActionLedger(database, clock))
    platform.standing = work.Rollouts(database, clock)
    approvals = Approvals(database, lambda: platform.policies, clock)
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="better on the new routes")
    accepted = await Intake(database, lambda: platform.policies, clock).accept(
        [to_alert(request, "trg", clock.now())], actor="carol"
    )
    (run_id,), (incident_id,) = accepted.runs, accepted.incidents
    platform.run_id = run_id
    runner = Runner(platform.graph, Progress(database, approvals, clock), platform.context_with, clock)
    case = Asked(database, platform, approvals, runner, incident_id, run_id)
    case.dispatched = []

    async def dispatch(run_id: str) -> None:
        case.dispatched.append(run_id)

    case.looks = Looks(database, platform.standing, runner.glance, dispatch, lambda: platform.policies, clock)
    await case.settled()
    for by in ("alice", "bob"):
        await case.decide(by=by)
    await case.settled()
    while (await case.question()).status != "pending":
        await case.wake()
        await case.settled()
    assert await platform.weights() == {"1": 90, "2": 10}
    return case


async def test_what_turns_worse_is_taken_back_and_the_question_ends_as_superseded(asked: Asked) -> None:
    looked = 0
    while not asked.dispatched:
        await asked.minutes(accuracy=0.4)
        looked += await asked.looks.once()
        assert looked < 60
    question = await asked.question()
    assert question.status == "superseded"
    assert question.verdict is not None
    assert question.verdict["decided_by"] == [LOOKS]
    assert "worse, beyond chance" in question.verdict["decision"]["reason"]
    record = await asked.record
    assert (record.ordered, record.ordered_by, record.look["choice"]) == ("worse", LOOKS, "rollback")
    assert asked.dispatched == [asked.run_id]
    await asked.settled()
    assert (await asked.platform.weights(), await asked.platform.champion()) == ({"1": 100}, "1")
    assert isinstance((await asked.platform.graph.aget_state(asked.platform.config)).values["proposal"].action, AbortRollout)
    record = await asked.record
    assert (record.status, "worse, beyond chance" in record.reason) == ("taken_back", True)
    titles = [message.title for _, message, key in asked.platform.notify.sent if key.endswith("/worse")]
    assert len(titles) == 1
    assert "while people were asked" in titles[0]
    told = await asked.told()
    assert (told["rollout.worse"], told["approval.decided"]) == (1, 2)


async def test_what_is_no_worse_is_only_seen(asked: Asked) -> None:
    for _ in range(12):
        await asked.minutes(accuracy=0.92)
        assert await asked.looks.once() == 1
    assert await asked.looks.once() == 0, "it is looked at as often as policy says"
    assert (await asked.question()).status == "pending"
    record = await asked.record
    assert (record.ordered, asked.dispatched) == (None, [])
    assert record.look["at"] == asked.platform.clock.now().isoformat().replace("+00:00", "Z")
    assert record.look["judged"][0]["canary_samples"] > 100


async def worse_and_due(asked: Asked) -> None:
    """Within the hour in which they may say yes."""
    for _ in range(5):
        await asked.minutes(accuracy=0.3)


async def test_two_that_find_it_at_once_order_it_once(asked: Asked) -> None:
    await worse_and_due(asked)
    glance = asked.runner.glance

    async def overtaken(run_id: str) -> Any:
        """Another replica, between the look and the order."""
        found = await glance(run_id)
        await asked.looks.once()
        return found

    other = Looks(
        asked.database,
        asked.platform.standing,
        overtaken,
        asked.platform.notify.sent.append,  # type: ignore[arg-type]  # never called
        lambda: asked.platform.policies,
        asked.platform.clock,
    )
    assert await other.once() == 1
    assert asked.dispatched == [asked.run_id]
    assert (await asked.told())["rollout.worse"] == 1


async def test_a_process_that_dies_after_the_order_leaves_it_to_the_next(asked: Asked) -> None:
    await worse_and_due(asked)

    async def dies(run_id: str) -> None:
        raise ConnectionResetError(run_id)

    dying = Looks(
        asked.database,
        asked.platform.standing,
        asked.runner.glance,
        dies,
        lambda: asked.platform.policies,
        asked.platform.clock,
    )
    with pytest.raises(ConnectionResetError):
        await dying.once()
    # The run is queued by the order itself: a sweep finds it.
    assert (await asked.run()).status == "queued"
    assert await asked.looks.once() == 0
    await asked.settled()
    assert await asked.platform.weights() == {"1": 100}


async def test_a_yes_that_comes_in_the_same_moment_does_not_let_it_go_on(asked: Asked) -> None:
    await worse_and_due(asked)
    glance = asked.runner.glance

    async def answered(run_id: str) -> Any:
        found = await glance(run_id)
        for by in ("alice", "bob"):
            await asked.decide(Approve(), by=by)
        return found

    late = Looks(
        asked.database,
        asked.platform.standing,
        answered,
        asked.runner.glance,  # type: ignore[arg-type]  # only has to be awaited
        lambda: asked.platform.policies,
        asked.platform.clock,
    )
    assert await late.once() == 1
    assert (await asked.question()).status == "approved"
    await asked.settled()
    assert await asked.platform.weights() == {"1": 100}
    assert (await asked.record).status == "taken_back"


async def test_under_the_kill_switch_the_question_stays(asked: Asked) -> None:
    await worse_and_due(asked)
    asked.platform.mode = Mode.OBSERVE
    assert await asked.looks.once() == 1
    assert ((await asked.question()).status, asked.dispatched) == ("pending", [])
    asked.platform.mode = Mode.PROPOSE
    asked.platform.clock.pass_(STEP)
    await asked.looks.once()
    assert asked.dispatched == [asked.run_id]


async def test_what_somebody_else_has_taken_in_hand_is_theirs(asked: Asked) -> None:
    await worse_and_due(asked)
    generation = (await asked.platform.serving.route(MODEL)).generation
    await asked.platform.serving.set_weights(MODEL, {"1": 70, "2": 30}, expected_generation=generation, key="by hand")
    await asked.looks.once()
    assert ((await asked.question()).status, asked.dispatched) == ("pending", [])


async def test_one_that_cannot_be_measured_is_said_and_tried_again(asked: Asked) -> None:
    await worse_and_due(asked)
    asked.platform.predictions.go_down()
    with pytest.raises(TemporaryError, match="cannot be seen for now"):
        await asked.looks.once()
    asked.platform.predictions.come_back()
    assert await asked.looks.once() == 1
    assert asked.dispatched == [asked.run_id]


async def test_what_is_worse_is_seen_and_ordered_back_while_the_registry_is_away(asked: Asked) -> None:
    await worse_and_due(asked)
    asked.platform.registry.go_down()
    assert await asked.looks.once() == 1
    assert ((await asked.question()).status, asked.dispatched) == ("superseded", [asked.run_id])
    assert (await asked.record).ordered == "worse"
    asked.platform.registry.come_back()
    await asked.settled()
    assert (await asked.platform.weights(), await asked.platform.champion()) == ({"1": 100}, "1")


async def test_what_is_no_worse_goes_no_further_while_the_registry_is_away(asked: Asked) -> None:
    for _ in range(3):
        await asked.minutes(accuracy=0.92)
    asked.platform.registry.go_down()
    assert await asked.looks.once() == 1
    assert ((await asked.question()).status, asked.dispatched) == ("pending", [])


async def test_a_person_may_still_end_it_in_their_own_name(asked: Asked) -> None:
    await worse_and_due(asked)
    await asked.looks.once()
    record = await asked.record
    await asked.platform.standing.order(record.id, "abort", by="dave", reason="so I see")
    assert ((await asked.record).ordered, (await asked.record).ordered_by) == ("abort", "dave")
    with pytest.raises(Exception, match="is being ended already"):
        await asked.platform.standing.order(record.id, "resume", by="erin", reason="no")
    await asked.settled()
    assert await asked.platform.weights() == {"1": 100}
