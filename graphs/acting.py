"""Carrying out what was decided, or not: judged once more on the state of now, and where the run goes on instead."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents import guard
from agents.actions import (
    OPTIMIZES,
    NoAction,
    Notify,
    Quantize,
    QuarantineData,
    ReleaseData,
    Retrain,
    Scale,
    StartExperiment,
    StartRollout,
)
from agents.guard import Deny
from agents.proposals import AGENT, Failure
from agents.requests import asker_of
from agents.routing import Specialist
from graphs import experimenting, rolling, saving, trial
from graphs.context import Context
from graphs.execution import execute, left_of, retire, stranded, untouched
from graphs.state import Acted, Ended, Judged, Outcome, RunState
from graphs.training import Outrun, outrun
from graphs.under_way import ENDS, giving_up, model_of, not_begun, over, overtaken, under_way
from graphs.world import read_state
from tools.errors import Conflict, PermanentError, PortError, TemporaryError
from tools.registry.port import Alias

MAX_MOVES = 3
"""How often a proposal is made anew because the world moved, before people are told that it does not hold still."""


_NO_END = (NoAction, Notify, Scale, Retrain, QuarantineData, ReleaseData, *OPTIMIZES)
"""What leaves a rollout where it is, although it was made of one."""


async def act(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """Judge again, on the state of now, and carry it out.

    One step: were they two, what had been judged could be carried out hours later, by whoever finds the run after a crash. What
    has been begun in the world is ended, whatever is thought of it by now; an intent alone is not a beginning.
    """
    context, proposal = runtime.context, state["proposal"]
    if state.get("verdict") is None:
        # Where nobody was asked, nobody has been told yet what is done, and why.
        await context.timeline.tell(state)
    try:
        # Killed after it was given up, and before the run had gone on from there, it goes the same way.
        failure = await context.ledger.failure(proposal.id) or await _barred(state, context)
        receipt = await execute(proposal, actor(state), context) if failure is None else None
    except TemporaryError:
        if await _goes_blind(state, context):
            # The next look finds out what is away, and needs no registry to take the traffic back.
            await context.ledger.fail(proposal.id, "it is taken back without the registry, which does not answer", kind="look")
            return Command(goto="look", update={"moves": state.get("moves", 0) + 1})
        raise
    except Outrun as error:
        failure, receipt = Failure(kind="outrun", reason=str(error)), None
    except Exception as error:  # noqa: BLE001 - whatever it is, the record has to say what is left in the world
        failure, receipt = await _failure_of(state, error, context), None
    if receipt is None:
        assert failure is not None
        await context.ledger.fail(proposal.id, failure.reason, kind=failure.kind, route=failure.route)
        return await _given_up(state, failure, context)
    policies, done_at = context.policies, receipt.finished_at
    match proposal.action:
        case changed if under_way(state) and isinstance(changed, _NO_END):
            # Somebody made this of whether the rollout goes on.
            return Command(goto="give_back", update=Acted(receipt=receipt, wake_at=done_at))
        case NoAction() | Notify():
            return Command(goto="report", update=Acted(receipt=receipt, wake_at=done_at))
        case Retrain(model=model):
            return Command(goto="wait", update=Acted(receipt=receipt, wake_at=done_at + policies.training_of(model).look_every))
        case Quantize(model=model):
            acted = Acted(receipt=receipt, wake_at=done_at + policies.quantization_of(model).look_every)
            return Command(
                goto="wait", update={**acted, "optimization": trial.begun(state.get("optimization"), proposal, receipt)}
            )
        case StartRollout() as start:
            acted = Acted(receipt=receipt, wake_at=done_at + policies.rollouts_of(start.model).look_every)
            fresh = rolling.begun(proposal.id, start, receipt.after, done_at)
            begins = saving.begun(state, proposal, receipt)
            return Command(goto="wait", update={**acted, **over(state, start), "rollout": fresh, **begins})
        case StartExperiment() as tried:
            acted = Acted(receipt=receipt, wake_at=done_at + tried.rules.look_every)
            begun = experimenting.begun(proposal.id, tried, receipt.after, done_at)
            return Command(goto="wait", update={**acted, "experiment": begun})
        case changed:
            acted = Acted(receipt=receipt, wake_at=done_at + policies.verification.settle)
            # What is left changes the route for good: an abort, a promotion, a rollback.
            return Command(goto="wait", update={**acted, **over(state, changed), **saving.begun(state, proposal, receipt)})


async def _barred(state: RunState, context: Context) -> Failure | None:
    """Why what was decided is not carried out, where it does not hold any more and nothing of it has been begun."""
    proposal, now = state["proposal"], context.clock.now()
    if await context.ledger.intended(proposal.id) is not None and not await untouched(proposal, context):
        return None
    if under_way(state) and not isinstance(proposal.action, ENDS):
        reason = await overtaken(state, context)
        if reason is not None:
            return Failure(kind="look", reason=reason)
    world = await read_state(proposal.action, context)
    mode, verdict = await context.mode(), state.get("verdict")
    answer = guard.recheck(proposal, world, context.policies, mode, now, verdict=verdict)
    if isinstance(answer, guard.Holds) and (outrun_by := await outrun(proposal, context)) is not None:
        answer = guard.Moved(reason=outrun_by)
    match answer:
        case guard.Holds():
            return None
        case guard.Moved(reason=reason):
            return Failure(kind="moved", reason=reason)
        case guard.Denied(reason=reason):
            return Failure(kind="denied", reason=reason)


def actor(state: RunState) -> str:
    """In whose name it is done: of those who approved, of who edited it, or of the policy that asks nobody."""
    verdict, requester = state.get("verdict"), state["proposal"].requested_by
    if verdict is not None:
        return ", ".join(verdict.decided_by)
    return "policy:automatic" if requester.startswith(AGENT) else requester


async def _failure_of(state: RunState, error: Exception, context: Context) -> Failure:
    reason = str(error) if isinstance(error, PermanentError) else f"{type(error).__name__}: {error}"
    reason += await left_of(state["proposal"], context)
    if isinstance(error, Conflict):
        return Failure(kind="conflict", reason=reason)
    if not under_way(state) or isinstance(state["proposal"].action, ENDS):
        return Failure(kind="broke", reason=reason)
    try:
        # Our half is back by now, which has counted the route on: had somebody else touched it, that were a Conflict.
        left = await context.tools.traffic.state(model_of(state))
    except PortError:
        return Failure(kind="broke", reason=reason)
    return Failure(kind="broke", reason=reason, route=left.token)


async def _given_up(state: RunState, failure: Failure, context: Context) -> Command[Any]:
    """Where the run goes on instead of what was given up. A challenger that it leaves on traffic is taken back before it ends.

    Decided by what is in the ledger alone: killed here, it is decided the same way again.
    """
    proposal, moves, reason = state["proposal"], state.get("moves", 0), failure.reason
    begun, ends = under_way(state), isinstance(proposal.action, ENDS)
    if not begun and (route := await stranded(proposal, context)) is not None:
        return Command(goto="give_back", update=not_begun(proposal, route, reason, context.clock.now()))
    if not begun and isinstance(proposal.action, StartRollout) and await context.ledger.intended(proposal.id) is not None:
        await retire(proposal, actor(state), context)
    match failure.kind:
        case "look" if begun:
            return Command(goto="look")
        case "moved" if state.get("asked_back") and moves < MAX_MOVES:
            # It stays what somebody wants; whether it can still be done is judged on the world of now.
            return Command(goto="propose", update={"moves": moves + 1})
        case "moved" if moves < MAX_MOVES:
            fresh = {"moves": moves + 1, "requested_by": asker_of(state["alerts"])}
            fresh |= {"undo_of": None, "part_of": None, "reason": reason}
            fresh |= {"handover": None, "handed": None}
            return Command(goto="look" if begun else specialist_of(state), update=fresh)
        case "denied" if begun:
            return Command(goto="give_back", update=Judged(judgement=Deny(reason=reason)))
        case "denied":
            return Command(goto="report", update=Ended(outcome=Outcome.DENIED, reason=reason))
        case "conflict" if begun and moves < MAX_MOVES:
            return Command(goto="look", update={"moves": moves + 1})
        case "moved" | "outrun" if begun:
            return Command(goto="give_back", update=giving_up(state, reason))
        case "outrun":
            # Another training of the model has come first: what it makes is looked at for both.
            return Command(goto="report", update=Ended(outcome=Outcome.NO_ACTION, reason=reason))
        case _ if begun and not ends:
            left = failure.route
            if left is None and failure.kind == "broke":
                left = (await context.tools.traffic.state(model_of(state))).token
            return Command(goto="give_back", update=giving_up(state, reason, left))
        case _:
            # The thread ends here: trying again is a new proposal, which a person sees first.
            return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=reason))


async def _goes_blind(state: RunState, context: Context) -> bool:
    """Whether the rollout or experiment is to be taken back by the route alone, of which nothing has been done yet."""
    proposal = state["proposal"]
    action, moves = proposal.action, state.get("moves", 0)
    if not under_way(state) or not isinstance(action, ENDS) or action.blind or moves >= MAX_MOVES:
        return False
    if await context.ledger.intended(proposal.id) is None:
        return True
    if not await untouched(proposal, context):
        return False
    try:
        await context.tools.registry.alias(action.model, Alias.CHAMPION)
    except PortError:
        return True
    return False


def specialist_of(state: RunState) -> str:
    """The node's name. A checkpoint gives a StrEnum back as the plain text that it is."""
    return NODES.get(specialist := Specialist(state["specialist"]), specialist.value)


NODES = {Specialist.EXPERIMENT: "experiment_specialist", Specialist.PROMOTION: "examine"}
"""A node may not be called what the state has already; and a candidate is evaluated first."""
SPECIALISTS = tuple(NODES.get(each, each.value) for each in Specialist)
