"""Fewer workers, fuller batches, spot trainings, old files: each changed once, taken back, kept where the ledger shows it."""

from datetime import timedelta
from typing import Any

import pytest

from agents.actions import Action, ExpireArtifacts, MoveToSpot, NoAction, RestoreArtifacts, Scale, SetBatching
from agents.cost.optimization_rules import Optimizations
from agents.cost.retention import Keeping, needed
from agents.evidence import Cause
from agents.guard import Deny, judge
from agents.narrative import report
from agents.policies import Mode, ModelPolicy, Policies, Slo, Training
from graphs.costing import rates_since, training_hours
from graphs.execution import execute
from graphs.keeping import kept_of
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, Platform, healthy
from tests.graphs.spending import BOOK, CPU_HOUR, core_hour, review, spend
from tests.graphs.test_execution import proposed as bound
from tools.costs.port import Component, Owner, Pricing
from tools.costs.prices import PriceBook
from tools.errors import PermanentError
from tools.leftovers import KEPT
from tools.registry.port import TrainingRun
from tools.values import Window

BATCHING = SetBatching(model=MODEL, from_rows=64, from_wait_ms=0, rows=64, wait_ms=3)
SPOT = MoveToSpot(model=MODEL)
WATCHED = Optimizations(looked_at=timedelta(days=4))
POLICIES = Policies(
    slo=Slo(min_accuracy=0.8), optimizations=WATCHED, models={MODEL: ModelPolicy(training=Training(resumes=True))}
)
OLD = timedelta(days=90)


class Killed(BaseException):
    """The process ends here."""


def stock(platform: Platform) -> None:
    now = platform.clock.now()
    for name in "abcdefg":
        run = TrainingRun(run_id=name, status="FINISHED", started_at=now, ended_at=now, params={}, metrics={}, tags={})
        platform.registry.publish(MODEL, files={"model.pt2": b"weights" * 100, "serving.json": b"{}"}, run=run)


async def aged(**values: Any) -> Platform:
    """Versions 4 and 5 were never served, are three months old, and none of the newest five; 1 is champion."""
    platform = await healthy(policies=values.pop("policies", POLICIES), **values)
    stock(platform)
    platform.clock.pass_(OLD)
    platform.traffic("1", HOUR)
    return platform


async def listed(platform: Platform, *versions: str) -> ExpireArtifacts:
    stored = await platform.registry.stored(MODEL)
    return ExpireArtifacts(model=MODEL, items=tuple(each for each in stored if each.name in versions))


async def action_of(kind: str, platform: Platform) -> Action:
    match kind:
        case "set_batching":
            return BATCHING
        case "move_to_spot":
            return SPOT
        case _:
            return await listed(platform, "4", "5")


KINDS = ("set_batching", "move_to_spot", "expire_artifacts")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_acts_once_and_the_undo_takes_it_back(kind: str) -> None:
    platform = await aged()
    proposal = await bound(await action_of(kind, platform), platform)
    receipt = await execute(proposal, "alice", platform.context)
    assert await execute(proposal, "alice", platform.context) == receipt
    assert receipt.after != proposal.state
    assert receipt.undo is not None
    undo = (await bound(receipt.undo, platform)).model_copy(update={"id": "run-1/2"})
    undone = await execute(undo, "alice", platform.context)
    before, after = (each.model_dump() for each in (proposal.state, undone.after))
    for each in (before, after):
        (each["batching"] or {}).pop("generation", None)
    assert before == after


@pytest.mark.parametrize(
    ("kind", "port", "call"),
    [
        ("set_batching", "serving", "set_batching"),
        ("move_to_spot", "jobs", "set_buying"),
        ("expire_artifacts", "registry", "discard"),
    ],
)
async def test_cut_off_between_the_deed_and_the_receipt_it_is_done_once(
    kind: str, port: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = await aged()
    proposal = await bound(await action_of(kind, platform), platform)
    whole, made = getattr(getattr(platform, port), call), []

    async def dying(*what: Any, **how: Any) -> Any:
        made.append(await whole(*what, **how))
        if len(made) == 1:
            raise Killed
        return made[-1]

    monkeypatch.setattr(getattr(platform, port), call, dying)
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)
    receipt = await execute(proposal, "alice", platform.context)
    assert receipt.before == proposal.state
    assert receipt.undo is not None
    if kind == "expire_artifacts":
        assert isinstance(receipt.undo, RestoreArtifacts)
        assert {each.name for each in receipt.undo.items} == {"4", "5"}
        assert receipt.after.artifacts == ()


async def judged(action: Action, platform: Platform) -> Any:
    return judge(await bound(action, platform), platform.policies, Mode.PROPOSE, platform.clock.now())


async def test_what_carries_an_alias_or_was_champion_before_is_never_discarded() -> None:
    platform = await aged()
    await platform.move("4")
    await platform.move("5")
    for version in ("4", "5"):
        answer = await judged(await listed(platform, version), platform)
        assert isinstance(answer, Deny)
        assert "it stays" in answer.reason


async def test_what_somebody_is_at_is_never_discarded() -> None:
    platform = await aged()
    platform.ledger.at[MODEL] = {"4"}
    assert isinstance(await judged(await listed(platform, "4"), platform), Deny)
    assert not isinstance(await judged(await listed(platform, "5"), platform), Deny)


async def test_what_was_champion_twice_before_is_never_discarded() -> None:
    platform = await aged()
    for version in ("4", "5", "2"):
        await platform.move(version)
    assert isinstance(await judged(await listed(platform, "4"), platform), Deny)


async def test_the_newest_are_never_discarded_however_old_they_are() -> None:
    platform = await aged()
    assert isinstance(await judged(await listed(platform, "6"), platform), Deny)


async def test_a_rollout_that_begins_while_people_are_asked_keeps_its_version() -> None:
    platform = await aged()
    proposal = await bound(await listed(platform, "4", "5"), platform)
    platform.ledger.at[MODEL] = {"4"}
    with pytest.raises(PermanentError, match="the world has moved"):
        await execute(proposal, "alice", platform.context)


async def test_what_somebody_is_at_since_the_first_try_stays_and_the_others_go() -> None:
    platform = await aged()
    proposal = await bound(await listed(platform, "4", "5"), platform)
    await platform.ledger.intend(proposal, proposal.state)
    platform.ledger.at[MODEL] = {"4"}
    receipt = await execute(proposal, "alice", platform.context)
    assert isinstance(receipt.undo, RestoreArtifacts)
    assert [each.name for each in receipt.undo.items] == ["5"]


async def test_what_somebody_is_at_is_not_on_the_list_that_is_proposed() -> None:
    platform = await aged()
    platform.ledger.at[MODEL] = {"4"}
    kept = await kept_of(MODEL, (), platform.context.tools.readers, platform.ledger)
    stay = needed(kept, Keeping())
    assert "4" in stay
    assert "5" not in stay


async def test_what_nobody_needs_is_asked_about() -> None:
    platform = await aged()
    assert not isinstance(await judged(await listed(platform, "5"), platform), Deny)


async def test_what_is_younger_than_policy_keeps_it_is_never_discarded() -> None:
    platform = await healthy(policies=POLICIES)
    stock(platform)
    answer = await judged(await listed(platform, "4"), platform)
    assert isinstance(answer, Deny)
    assert "policy keeps it for 60 days" in answer.reason


async def test_what_is_another_thing_by_now_or_another_model_s_is_not_discarded() -> None:
    platform = await aged()
    (item,) = (await listed(platform, "4")).items
    other = ExpireArtifacts(model=MODEL, items=(item.model_copy(update={"seen": "another"}),))
    theirs = ExpireArtifacts(model=MODEL, items=(item.model_copy(update={"model": "theirs"}),))
    for action, said in ((other, "as it was listed"), (theirs, "is of theirs")):
        answer = await judged(action, platform)
        assert isinstance(answer, Deny)
        assert said in answer.reason


async def test_a_version_that_becomes_champion_at_the_last_moment_stays_and_the_others_go() -> None:
    platform = await aged()
    proposal = await bound(await listed(platform, "4", "5"), platform)
    await platform.ledger.intend(proposal, proposal.state)
    await platform.move("4")
    receipt = await execute(proposal, "alice", platform.context)
    assert isinstance(receipt.undo, RestoreArtifacts)
    assert [each.name for each in receipt.undo.items] == ["5"]
    assert len(receipt.left_out) == 1
    assert "4" in {each.name for each in await platform.registry.stored(MODEL)}


async def test_where_all_of_it_stays_nothing_is_said_to_be_done() -> None:
    platform = await aged()
    proposal = await bound(await listed(platform, "4"), platform)
    await platform.ledger.intend(proposal, proposal.state)
    await platform.move("4")
    with pytest.raises(PermanentError, match="nothing of it was discarded"):
        await execute(proposal, "alice", platform.context)


async def put_aside(platform: Platform, version: str, attempt: int) -> None:
    proposal = await bound(await listed(platform, version), platform)
    await execute(proposal.model_copy(update={"id": f"run-1/{attempt}"}), "alice", platform.context)


async def test_what_is_gone_for_good_keeps_nothing_else_from_coming_back_and_the_receipt_says_so() -> None:
    platform = await aged()
    items = (await listed(platform, "4", "5")).items
    await put_aside(platform, "4", 1)
    platform.clock.pass_(KEPT + HOUR)
    await platform.registry.empty(platform.clock.now() - KEPT)
    await put_aside(platform, "5", 2)
    back = (await bound(RestoreArtifacts(model=MODEL, items=items), platform)).model_copy(update={"id": "run-1/3"})
    receipt = await execute(back, "alice", platform.context)
    assert await execute(back, "alice", platform.context) == receipt
    assert "5" in {each.name for each in await platform.registry.stored(MODEL)}
    (reason,) = receipt.left_out
    assert "4: its files are gone for good" in reason
    assert "4: its files are gone for good" in report([], back, Outcome.RESOLVED, "done", receipt)


async def test_where_nothing_can_be_had_back_it_is_not_said_to_be_done() -> None:
    platform = await aged()
    items = (await listed(platform, "4")).items
    await put_aside(platform, "4", 1)
    platform.clock.pass_(KEPT + HOUR)
    await platform.registry.empty(platform.clock.now() - KEPT)
    back = (await bound(RestoreArtifacts(model=MODEL, items=items), platform)).model_copy(update={"id": "run-1/2"})
    with pytest.raises(PermanentError, match="nothing of it can be had back"):
        await execute(back, "alice", platform.context)


async def test_a_training_that_would_begin_anew_each_time_is_not_moved_to_spot() -> None:
    platform = await healthy()
    answer = await judged(SPOT, platform)
    assert isinstance(answer, Deny)
    assert "training.resumes" in answer.reason


async def hold(platform: Platform, hours: int, workers: int, book: PriceBook = BOOK) -> None:
    """What is held is paid for, used or not."""
    for _ in range(hours):
        start = platform.clock.now()
        platform.traffic("1", HOUR, cpu_s=2.0)
        owner = Owner(component=Component.SERVING, part="CPU serving", model=MODEL, workload="gateway (idle)")
        await spend(platform, owner, Window(start=start, end=start + HOUR), 3600.0 * workers, book)


async def oversized() -> Platform:
    platform = await healthy(policies=POLICIES, prices=BOOK)
    await platform.serving.scale(MODEL, 4, expected_workers=1, key="by hand")
    await hold(platform, 96, 4)
    await platform.start(review(platform.clock.now()))
    return platform


async def watched(platform: Platform, workers: int, book: PriceBook = BOOK) -> dict[str, Any]:
    for _ in range(30):
        await hold(platform, 1, workers, book)
        ended: dict[str, Any] = await platform.wake()
        interrupts = (await platform.graph.aget_state(platform.config)).interrupts
        if "outcome" in ended or interrupts[0].value["kind"] != "wait":
            return ended
    raise AssertionError("it goes on for ever")


async def test_idle_workers_are_let_go_and_the_ledger_shows_it() -> None:
    platform = await oversized()
    proposal = await platform.proposal()
    assert proposal.action == Scale(model=MODEL, from_workers=4, workers=1)
    assert proposal.finding.cause is Cause.IDLE_CAPACITY
    assert proposal.impact.saving is not None
    assert proposal.impact.saving.high == 7200
    await platform.decide()
    ended = await watched(platform, 1)
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    saved = ended["optimization"].saved
    assert (saved.claim, round(saved.value), saved.unit) == ("holds", 7200, "hour")


async def test_a_price_that_falls_at_that_moment_is_no_saving() -> None:
    platform = await oversized()
    await platform.decide()
    cheaper = PriceBook(currency="USD", prices=(core_hour(CPU_HOUR), core_hour(CPU_HOUR // 2, platform.clock.now())))
    await watched(platform, 4, cheaper)
    assert (await platform.proposal()).action == Scale(model=MODEL, from_workers=1, workers=4)


async def test_a_price_that_rises_at_that_moment_undoes_no_saving() -> None:
    platform = await oversized()
    await platform.decide()
    dearer = PriceBook(currency="USD", prices=(core_hour(CPU_HOUR), core_hour(6 * CPU_HOUR, platform.clock.now())))
    ended = await watched(platform, 1, dearer)
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    saved = ended["optimization"].saved
    # Three workers at the price of now.
    assert (saved.claim, round(saved.value)) == ("holds", 3 * 24 * 6 * CPU_HOUR)


async def test_spot_is_held_against_standard_at_the_prices_of_one_moment() -> None:
    """Both become cheaper when it is moved: what is saved is the difference between them now, and not the fall of both."""
    platform = await healthy(policies=POLICIES)
    start = platform.clock.now()
    moved = start + 48 * HOUR
    spot = Pricing.SPOT
    prices = (core_hour(100), core_hour(50, moved), core_hour(70, pricing=spot), core_hour(40, moved, spot))
    book = PriceBook(currency="USD", prices=prices)
    owner = Owner(component=Component.TRAINING, part="CPU", model=MODEL, workload="job")
    for place in range(72):
        at = start + place * HOUR
        await spend(platform, owner, Window(start=at, end=at + HOUR), 3600.0, book, spot if at >= moved else Pricing.STANDARD)
    past, since = Window(start=start, end=moved), Window(start=moved, end=moved + 24 * HOUR)
    both = Window(start=past.start, end=since.end)
    at_once = await rates_since(moved, MODEL, Component.TRAINING, both, "USD", platform.costs, book)
    sides = [await training_hours(MODEL, each, "USD", platform.context.tools.readers, at_once) for each in (past, since)]
    assert [{round(each.cost, 6) for each in side} for side in sides] == [{50}, {40}]


async def test_an_hour_that_the_meters_have_not_been_read_for_is_no_part_of_a_look() -> None:
    platform = await oversized()
    await platform.decide()
    await hold(platform, 6, 1)
    assert "is looked at from" in (await platform.wake())["verification"].reason
    platform.clock.pass_(timedelta(minutes=20))
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    assert ended["optimization"].saved.hours_after == 6


async def test_workers_that_are_paid_for_all_the_same_come_back() -> None:
    platform = await oversized()
    await platform.decide()
    await watched(platform, 4)
    assert (await platform.proposal()).action == Scale(model=MODEL, from_workers=1, workers=4)
    await platform.decide(by="bob")
    assert (await platform.serving.capacity(MODEL)).workers == 4


async def test_without_a_price_book_nobody_says_what_idle_workers_cost() -> None:
    platform = await healthy(policies=POLICIES)
    await platform.serving.scale(MODEL, 4, expected_workers=1, key="by hand")
    await hold(platform, 96, 4)
    ended = await platform.start(review(platform.clock.now()))
    assert isinstance(ended["proposal"].action, NoAction), ended["proposal"].action
