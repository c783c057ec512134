"""What a change that was made to save money has saved by now: the ledger since, beside the ledger before."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, assert_never

from agents.actions import CHANGES_NOTHING, Promote
from agents.cost.confirming import Consolidated, Look, confirm, confirm_consolidated, look_at, verification_of_expiry
from agents.cost.inefficiency import Consolidation, Expiry, Move, Quantization, Rebatching, Shrinking
from agents.cost.optimization import Optimization
from agents.cost.remedies import action_of
from agents.cost.savings import LOOKS, Hour, Saved, saved
from agents.policies import Policies
from agents.proposals import Proposal, Receipt
from agents.verification import Status, Verification
from graphs.context import Context
from graphs.costing import booked, rates_since, serving_hours, settled, training_hours
from graphs.gathering import Sources
from graphs.state import RunState
from tools.costs.port import Component, CostReader, Dimension, Question
from tools.errors import PermanentError
from tools.jobs.port import JobState, Phase
from tools.toolbox import Readers
from tools.values import Window

_BEFORE = timedelta(days=7)
"""How far back hours without the change are looked for: a week has each hour of a day seven times."""


def applied(state: RunState) -> Optimization | None:
    """The optimisation whose last step has been carried out, and is looked at now; None: the run verifies something else."""
    optimization, receipt = state.get("optimization"), state.get("receipt")
    if optimization is None or receipt is None or state.get("undo_of") is not None:
        return None
    if isinstance(receipt.action, Promote):
        return optimization if receipt.action.version == optimization.version else None
    return optimization if receipt.action.kind == action_of(optimization.inefficiency.remedy).kind else None


def begun(state: RunState, proposal: Proposal, receipt: Receipt) -> dict[str, Optimization]:
    """When what was carried out is the first of the change, and when all of it."""
    optimization, at = state.get("optimization"), receipt.finished_at
    if optimization is None or proposal.undo_of is not None or isinstance(proposal.action, CHANGES_NOTHING):
        return {}
    update = {"applied_at": at} | ({"began_at": at} if optimization.began_at is None else {})
    return {"optimization": optimization.model_copy(update=update)}


async def look(optimization: Optimization, quality: Verification, context: Context) -> tuple[Verification, Optimization]:
    """One look: what became of quality, and of the saving. A ledger that is away is asked again until the time is over."""
    now, remedy = context.clock.now(), optimization.inefficiency.remedy
    assert optimization.applied_at is not None
    assert optimization.began_at is not None
    rules = context.policies.optimizations_of(remedy.model)
    if isinstance(remedy, Consolidation):
        found = await _consolidated(remedy, optimization, context.tools.readers, context.policies, now)
        verification, gained = confirm_consolidated(found, optimization.applied_at, rules, now)
        return verification, optimization.model_copy(update={"saved": gained})
    if isinstance(remedy, Expiry):
        # The room is free when what was put aside is emptied, and nobody waits for that.
        return verification_of_expiry(quality, now), optimization
    # The hours of a look are whole, so that the same look finds the same however often it is repeated.
    due = look_at(optimization.applied_at, rules, settled(context.policies, now))
    gained = bill = None
    held = isinstance(remedy, Quantization | Rebatching) and rules.billed == "held"
    if due is not None:
        gained = await Sources().ask("costs", _saved(optimization, due, context), None)
        if held:
            bill = await Sources().ask("costs", _billed(optimization, due, context), None)
    lenient = isinstance(remedy, Move)
    verification = confirm(quality, due, gained, optimization.applied_at, rules, now, bill=bill, held=held, lenient=lenient)
    if verification.status is not Status.WAITING:
        optimization = await _with_its_cost(optimization, context.tools.readers.costs, now)
    known = {"saved": gained or optimization.saved, "bill": bill or optimization.bill, "held": held}
    return verification, optimization.model_copy(update=known)


async def _saved(optimization: Optimization, due: Look, context: Context) -> Saved | None:
    remedy, readers = optimization.inefficiency.remedy, context.tools.readers
    began, applied_at, currency = optimization.began_at, optimization.applied_at, optimization.inefficiency.expected.currency
    assert began is not None
    assert applied_at is not None
    rules = context.policies.optimizations_of(remedy.model)
    past, since = Window(start=began - _BEFORE, end=began), Window(start=applied_at, end=due.until)
    both = Window(start=past.start, end=since.end)
    component = Component.TRAINING if isinstance(remedy, Move) else Component.SERVING
    at = await rates_since(applied_at, remedy.model, component, both, currency, readers.costs, context.prices)
    before: tuple[Hour, ...]
    after: tuple[Hour, ...]
    unit: Literal["1,000 predictions", "hour", "core-hour"] = "1,000 predictions"
    a_day = 24.0
    match remedy:
        case Quantization(model=model, version=version):
            # Version against version: hours in which both answered count for either that answered half of them.
            before = await serving_hours(model, both, currency, readers, version=version, as_all=True, at=at)
            tried = Window(start=began, end=since.end)
            after = await serving_hours(model, tried, currency, readers, version=optimization.version or "", as_all=True, at=at)
        case Rebatching(model=model):
            before = await serving_hours(model, past, currency, readers, held=False, at=at)
            after = await serving_hours(model, since, currency, readers, held=False, at=at)
        case Shrinking(model=model):
            before = _by_the_hour(await serving_hours(model, past, currency, readers, at=at))
            after = _by_the_hour(await serving_hours(model, since, currency, readers, at=at))
            unit = "hour"
        case Move(model=model):
            before = await training_hours(model, past, currency, readers, at)
            after = await training_hours(model, since, currency, readers, at)
            unit, a_day = "core-hour", len(after) * 24 / max((due.until - applied_at) / timedelta(hours=1), 1.0)
        case Consolidation() | Expiry():
            raise TypeError(f"{remedy.kind} is not judged by hours")
        case unknown:
            assert_never(unknown)
    return saved(
        before, after, currency=currency, unit=unit, hours_a_day=a_day, least=rules.least_hours, level=rules.level / len(LOOKS)
    )


async def _billed(optimization: Optimization, due: Look, context: Context) -> Saved | None:
    """All that serving the model costs, with what is held idle: by the hour where something is, because what is held costs the
    same however many predictions share it."""
    remedy, readers = optimization.inefficiency.remedy, context.tools.readers
    began, applied_at, currency = optimization.began_at, optimization.applied_at, optimization.inefficiency.expected.currency
    assert began is not None
    assert applied_at is not None
    past, since = Window(start=began - _BEFORE, end=began), Window(start=applied_at, end=due.until)
    both = Window(start=past.start, end=since.end)
    at = await rates_since(applied_at, remedy.model, Component.SERVING, both, currency, readers.costs, context.prices)
    before, after = [await serving_hours(remedy.model, each, currency, readers, at=at) for each in (past, since)]
    used = [await serving_hours(remedy.model, each, currency, readers, held=False, at=at) for each in (past, since)]
    unit: Literal["1,000 predictions", "hour"] = "1,000 predictions"
    if _cost((*before, *after)) > _cost((*used[0], *used[1])):
        before, after, unit = _by_the_hour(before), _by_the_hour(after), "hour"
    rules = context.policies.optimizations_of(remedy.model)
    return saved(before, after, currency=currency, unit=unit, least=rules.least_hours, level=rules.level / len(LOOKS))


def _by_the_hour(hours: tuple[Hour, ...]) -> tuple[Hour, ...]:
    return tuple(each.model_copy(update={"units": Decimal(1)}) for each in hours)


def _cost(hours: Iterable[Hour]) -> Decimal:
    return sum((each.cost for each in hours), Decimal(0))


async def _with_its_cost(optimization: Optimization, costs: CostReader, now: datetime) -> Optimization:
    """The experiment's cost as the ledger has it by now, both of its jobs."""
    trial, ordered = optimization.trial, optimization.ordered
    if trial is None:
        return optimization
    jobs = tuple({trial.job, *([ordered.job] if ordered is not None else [])})
    asked = Question(window=Window(start=optimization.found_at, end=now), where={Dimension.WORKLOAD: jobs})
    amounts = await Sources().ask("costs", costs.breakdown(asked), ())
    currency = optimization.inefficiency.expected.currency
    paid = sum((each.cost for each in amounts if each.currency == currency), Decimal(0))
    if not paid:
        return optimization
    return optimization.model_copy(update={"trial": trial.model_copy(update={"cost": paid, "currency": currency})})


async def _consolidated(
    remedy: Consolidation, optimization: Optimization, readers: Readers, policies: Policies, now: datetime
) -> Consolidated:
    at, currency = optimization.applied_at, optimization.inefficiency.expected.currency
    assert at is not None
    known: dict[str, JobState] = {}
    for name in (remedy.kept, *remedy.cancelled):
        try:
            known[name] = await readers.jobs.state(name)
        except PermanentError:
            continue  # forgotten, so it is over
    cancelled = tuple(known[name] for name in remedy.cancelled if name in known)
    ended = max([at, *(each.ended_at for each in cancelled if each.ended_at is not None)])
    over, until, costs = ended + policies.verification.settle, settled(policies, now), readers.costs
    told = Consolidated(kept=known.get(remedy.kept), cancelled=cancelled, since=None, currency=currency)
    if until <= over or await Sources().ask("costs", booked(Window(start=over, end=until), costs), None) is None:
        return told

    async def cost(window: Window, *names: str) -> Decimal:
        asked = Question(window=window, where={Dimension.WORKLOAD: names})
        # A ledger that does not answer is asked again: that nothing is on record has to be its own word.
        return sum((each.cost for each in await costs.breakdown(asked) if each.currency == currency), Decimal(0))

    took: tuple[float, ...] = ()
    if (kept := told.kept) is not None and kept.work:
        likes = [each for each in await readers.jobs.jobs(model=remedy.model) if each.work == kept.work]
        took = tuple(
            (each.ended_at - each.started_at) / timedelta(hours=1)
            for each in likes
            if each.phase is Phase.SUCCEEDED and each.started_at is not None and each.ended_at is not None
        )
    return told.model_copy(
        update={
            "since": await cost(Window(start=over, end=now), *remedy.cancelled),
            "costs": {each.name: await cost(Window(start=each.submitted_at, end=now), each.name) for each in cancelled},
            "took": took,
        }
    )
