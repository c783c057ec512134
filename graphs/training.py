"""A training on its way: looked at until it ends, then what it made is evaluated, and goes to the promotion specialist."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.actions import Retrain
from agents.drift.retraining import held_back
from agents.proposals import AGENT, Proposal
from agents.routing import Specialist
from agents.training import follow
from agents.verification import Status
from graphs.context import Context
from graphs.state import Ended, Outcome, RunState
from tools.errors import PermanentError
from tools.jobs.port import job_name


async def outrun(proposal: Proposal, context: Context) -> str | None:
    """Why a training that was decided on may not begin now, because of others that have begun meanwhile; None: it may."""
    if not isinstance(proposal.action, Retrain):
        return None
    model = proposal.action.model
    trainings, rules = await context.tools.jobs.jobs(model=model), context.policies.training_of(model)
    by_person = bool(proposal.asked_by) or not proposal.requested_by.startswith(AGENT)
    return held_back(trainings, rules, context.clock.now(), by_person=by_person)


async def attend(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    context, proposal = runtime.context, state["proposal"]
    if not isinstance(proposal.action, Retrain):
        raise TypeError(f"{proposal.id} trains nothing")
    model, name, now = proposal.action.model, job_name(proposal.id), context.clock.now()
    try:
        job = await context.tools.jobs.state(name)
        # Asked for once the job is over: before that none of them is its.
        versions = await context.tools.registry.versions(model) if job.final else ()
        usage = await context.tools.jobs.usage(name) if job.started_at is not None else None
    except PermanentError as error:
        reason = f"what became of the job {name} cannot be found out: {error}"
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=reason))
    found = follow(job, usage, versions, now)
    update = {"verification": found.verification, "wake_at": now + context.policies.training_of(model).look_every}
    match found.verification.status:
        case Status.WAITING:
            return Command(goto="wait", update=update)
        case Status.FAILED:
            return Command(goto="report", update={**update, **Ended(outcome=Outcome.FAILED, reason=found.verification.reason)})
        case Status.HOLDS:
            # The next proposal takes the place of this one and of what became of it.
            await context.timeline.tell({**state, **update})  # type: ignore[typeddict-item]
            # Should the world move, it is the promotion that is looked at again: the training is done.
            onward = {"specialist": Specialist.PROMOTION, "candidate": found.candidate}
            return Command(goto="examine", update={**update, **onward})
