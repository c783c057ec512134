"""A training on its way: looked at until it ends, then what it made is evaluated, and goes to the promotion specialist."""

from datetime import timedelta
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.actions import Retrain, WorldState
from agents.drift.retraining import held_back
from agents.proposals import AGENT, Proposal, Receipt
from agents.routing import Specialist
from agents.training import Followed, follow, forgotten, made_by
from agents.verification import Status, Verification
from graphs.context import Context
from graphs.state import Ended, Outcome, RunState
from tools.errors import Claimed, Conflict, PermanentError
from tools.jobs.port import JobState, job_name

_REFUSED = timedelta(days=3)
"""For so long after a training has ended what cannot be found out about it is asked for again: over a weekend."""


class Outrun(Conflict):
    """Another training is under way, or has taken what was left of the time or the budget."""


async def claim(proposal: Proposal, before: WorldState, context: Context) -> tuple[WorldState, Receipt | None]:
    """The intent of a training, which is the only one of its model from now on until it ends. Raises Outrun beside another.

    A claim that nobody let go, because its run broke or its end was never looked at, is one as long as its job is there.
    """
    try:
        return await context.ledger.intend(proposal, before)
    except Claimed as taken:
        if taken.pending or await _under_way(taken.holder, proposal, context):
            raise Outrun(f"it is being trained already ({job_name(taken.holder)})") from taken
        await context.ledger.release(taken.holder)
    try:
        return await context.ledger.intend(proposal, before)
    except Claimed as taken:
        raise Outrun(f"it is being trained already ({job_name(taken.holder)})") from taken


async def _under_way(key: str, proposal: Proposal, context: Context) -> bool:
    assert isinstance(proposal.action, Retrain)
    known = await context.tools.jobs.jobs(model=proposal.action.model)
    return any(each.name == job_name(key) and not each.final for each in known)


async def outrun(proposal: Proposal, context: Context) -> str | None:
    """Why a training that was decided on may not begin now, because of others that have begun meanwhile; None: it may."""
    if not isinstance(proposal.action, Retrain):
        return None
    model = proposal.action.model
    trainings, rules = await context.tools.jobs.jobs(model=model), context.policies.training_of(model)
    by_person = bool(proposal.asked_by) or not proposal.requested_by.startswith(AGENT)
    return held_back(trainings, rules, context.clock.now(), by_person=by_person)


async def trained(name: str, model: str, context: Context) -> str | None:
    """The version that the job of that name has made; None, too, where the registry does not say. It outlives the job."""
    try:
        return made_by(name, await context.tools.registry.versions(model))
    except PermanentError:
        return None


async def attend(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    context, proposal = runtime.context, state["proposal"]
    if not isinstance(proposal.action, Retrain):
        raise TypeError(f"{proposal.id} trains nothing")
    model, name, now = proposal.action.model, job_name(proposal.id), context.clock.now()
    job: JobState | None = None
    try:
        job = await context.tools.jobs.state(name)
        usage = await context.tools.jobs.usage(name) if job.started_at is not None else None
        # Asked for once the job is over: before that none of them is its.
        versions = await context.tools.registry.versions(model) if job.final else ()
        found = follow(job, usage, versions, now)
    except PermanentError as error:
        reason = f"what became of the job {name} cannot be found out: {error}"
        if job is not None and job.ended_at is not None and now - job.ended_at < _REFUSED:
            # Credentials that have run out are made anew by people.
            found = Followed(verification=Verification(status=Status.WAITING, reason=f"For now, {reason}", at=now))
        elif job is None and (made := await trained(name, model, context)) is not None:
            found = forgotten(name, made, now)
        else:
            return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=reason))
    update = {"verification": found.verification, "wake_at": now + context.policies.training_of(model).look_every}
    if found.verification.status is not Status.WAITING:
        await context.ledger.release(proposal.id)
    match found.verification.status:
        case Status.WAITING:
            return Command(goto="wait", update=update)
        case Status.FAILED:
            return Command(goto="report", update={**update, **Ended(outcome=Outcome.FAILED, reason=found.verification.reason)})
        case Status.HOLDS if found.merged:
            # What the kept one makes is looked at by whoever asked for that.
            return Command(
                goto="report", update={**update, **Ended(outcome=Outcome.NO_ACTION, reason=found.verification.reason)}
            )
        case Status.HOLDS:
            # The next proposal takes the place of this one and of what became of it.
            await context.timeline.tell({**state, **update})  # type: ignore[typeddict-item]
            # Should the world move, it is the promotion that is looked at again: the training is done.
            onward = {"specialist": Specialist.PROMOTION, "candidate": found.candidate}
            return Command(goto="examine", update={**update, **onward})
