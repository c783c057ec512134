"""The supervisor: triage to a specialist, then the tail that all share.

triage -> specialist -> pass on -> propose -> judge -> ask -> act -> wait -> verify -> report
           ^ ^            |           ^                 |      |       ^       |  |
           | +- hand over +           +---- revise -----+      |       +-------+  |  not yet
           | +- wait <- too early to tell                      |                  |
           +----------------------- the world moved -----------+                  |
                                      ^                                           |
                                      +--------------- take back -----------------+  it did not help

A specialist may hand a case over to another, once in an investigation: who takes it keeps it. Where that one finds nothing,
what the first would have done stands.

What fails for a moment leaves the graph as a TemporaryError: the step is tried again for as long as that lasts, so that what
was begun is ended. What fails for good ends the run with the reason, and so does what cannot be proposed for a minute: people
are told instead.
"""

from typing import Any

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, RetryPolicy

from agents import guard
from agents.actions import (
    CHANGES_NOTHING,
    NoAction,
    Notify,
    Promote,
    Quantize,
    QuarantineData,
    Retrain,
    StartRollout,
)
from agents.cost.inefficiency import Saving
from agents.cost.remedies import action_of
from agents.evidence import Cause, Recommendation
from agents.guard import Ask, Auto, Deny
from agents.narrative import closing, early, title
from agents.proposals import Edit, Proposal, Reject
from agents.requests import asker_of, others_of, request_of
from agents.risks import weigh
from agents.routing import Specialist, route
from agents.verification import Status, Verification, verify
from graphs import cost, drift, experiment, incident, promotion, rolling, saving, trial
from graphs.acting import SPECIALISTS, act, actor, specialist_of
from graphs.approval import ask
from graphs.context import Context
from graphs.examining import examine, examining
from graphs.execution import announce, retire
from graphs.gathering import observe_since
from graphs.state import Advised, Asked, Ended, Handed, Judged, LookedAt, Outcome, Proposed, Routed, RunState, Started
from graphs.training import attend
from graphs.under_way import ENDS, give_back, giving_up, look, under_way
from graphs.undoing import asked_back
from graphs.waiting import wait
from graphs.world import read_state
from tools.errors import PortError, TemporaryError
from tools.notify.port import Message

_NOTHING_FOUND = (Cause.FALSE_ALARM, Cause.UNRESOLVED)

RETRY = RetryPolicy(retry_on=TemporaryError, max_attempts=5, initial_interval=0.5, backoff_factor=2.0)


PATIENT_ATTEMPTS = 8
"""With the pauses of `RETRY` a minute: a gateway that restarts is back by then, and people wait for a proposal no longer."""


async def triage(state: Started) -> Routed:
    """Whoever asked for what is proposed does not approve it; a schedule is nobody."""
    return {"specialist": route(state["alerts"]), "requested_by": asker_of(state["alerts"])}


async def pass_on(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """To the specialist that the case is handed over to, or on to what is proposed."""
    wish, handed, recommendation = state.get("handover"), state.get("handed"), state["recommendation"]
    if (again := state.get("again_at")) is not None and handed is None:
        context = runtime.context
        message = early(state["incident_id"], recommendation.finding, again)
        message = message.model_copy(update={"link": context.incident_link(state["incident_id"])})
        await announce(context.policies.notify_channel, message, f"{state['run_id']}/early", context)
        return Command(goto="wait", update={"wake_at": again})
    if handed is not None:
        idle, cause = isinstance(recommendation.action, CHANGES_NOTHING), recommendation.finding.cause
        # What somebody asks for is not answered by telling people, unless it would be learnt from what is broken.
        request = request_of(state["alerts"])
        asked = request is not None and request.kind == "retrain" and cause not in (Cause.LABELS, Cause.DATA_QUALITY)
        action, policies = recommendation.action, runtime.context.policies
        # Where nothing trains the model people are told what was found, and not that a training is forbidden.
        idle = idle or (isinstance(action, Retrain) and not asked and policies.training_of(action.model).command is None)
        if isinstance(action, NoAction) or (idle and (asked or isinstance(action, Retrain) or cause in _NOTHING_FOUND)):
            return Command(goto="propose", update={"recommendation": handed.recommendation, "specialist": handed.by})
        said = f"{recommendation.finding.summary} Handed over by the {handed.by} specialist: {handed.reason}."
        finding = recommendation.finding.model_copy(update={"summary": said})
        return Command(goto="propose", update={"recommendation": recommendation.model_copy(update={"finding": finding})})
    if wish is None:
        return Command(goto="propose")
    given = Handed(by=Specialist(state["specialist"]), reason=wish.reason, recommendation=recommendation)
    return Command(goto=wish.to.value, update={"specialist": wish.to, "handed": given})


async def propose(state: RunState, runtime: Runtime[Context]) -> Proposed:
    """Bind what is recommended to the state of the world that it is about to change."""
    recommendation, attempt = state["recommendation"], state.get("attempt", 0) + 1
    world = await read_state(recommendation.action, runtime.context)
    proposal = Proposal(
        id=f"{state['run_id']}/{attempt}",
        run_id=state["run_id"],
        incident_id=state["incident_id"],
        requested_by=state.get("requested_by") or f"agent:{Specialist(state['specialist'])}",
        # Whatever becomes of a request on its way, it stays theirs; taking back what did not help is nobody's request.
        asked_by=asker_of(state["alerts"]) if state.get("undo_of") is None else "",
        also_asked_by=others_of(state["alerts"]) if state.get("undo_of") is None else (),
        title=title(recommendation.action),
        action=recommendation.action,
        state=world,
        finding=recommendation.finding,
        impact=weigh(recommendation.action, recommendation.finding, world, runtime.context.policies).model_copy(
            update={"saving": _expected(state)}
        ),
        undo_of=state.get("undo_of"),
        part_of=state.get("part_of"),
        proposed_at=runtime.context.clock.now(),
    )
    # What belonged to the attempt before says nothing about this one.
    return {"proposal": proposal, "attempt": attempt, "verdict": None, "receipt": None, "verification": None}


def _expected(state: RunState) -> Saving | None:
    """Of what is done to save money, and of nothing else that the run comes to."""
    optimization, action = state.get("optimization"), state["recommendation"].action
    if optimization is None or state.get("undo_of") is not None:
        return None
    inefficiency = optimization.inefficiency
    if isinstance(action, StartRollout | Promote):
        return inefficiency.expected if action.version == optimization.version else None
    return inefficiency.expected if action.kind == action_of(inefficiency.remedy).kind else None


async def judge(state: Proposed, runtime: Runtime[Context]) -> Judged:
    context = runtime.context
    return {"judgement": guard.judge(state["proposal"], context.policies, await context.mode(), context.clock.now())}


async def check(state: RunState, runtime: Runtime[Context]) -> LookedAt:
    """Has it helped? Looked at on the traffic since the change only; whoever wants it taken back has seen enough."""
    context, proposal, receipt = runtime.context, state["proposal"], state["receipt"]
    if receipt is None:
        raise TypeError("nothing was carried out that could be verified")
    now = context.clock.now()
    run_id = state["run_id"]
    # Where the registry was away when the rollout ended.
    await retire(proposal, actor(state), context)
    if (wish := asked_back(state, await context.joined(run_id), await context.order(run_id))) is not None:
        reason = f"{wish.by} wants it taken back: {wish.reason}"
        verification = Verification(status=Status.FAILED, reason=reason, measures=(), at=now)
        read = (*state["alerts"], *([wish.alert] if wish.alert is not None else []))
        return {"verification": verification, "wake_at": now, "alerts": read, "asked_back": wish.by}
    observations = await observe_since(receipt.finished_at, proposal, context.tools.readers, context.policies, now)
    verification = verify(proposal, receipt, observations, context.policies, now)
    checked = LookedAt(verification=verification, wake_at=now + context.policies.verification.recheck)
    if (optimization := saving.applied(state)) is None:
        return checked
    verification, looked = await saving.look(optimization, verification, context)
    return {**checked, "verification": verification, "optimization": looked}


async def revise(state: RunState) -> Advised:
    """A person edited the action: theirs is proposed, on their behalf, and judged like any other."""
    verdict = state["verdict"]
    if verdict is None or not isinstance(verdict.decision, Edit):
        raise TypeError("only an edit is revised")
    editor, finding = verdict.decided_by[-1], state["recommendation"].finding
    edited = Recommendation(finding=finding, action=verdict.decision.action, reason=f"edited by {editor}")
    return {"recommendation": edited, "requested_by": editor, "undo_of": state.get("undo_of"), "part_of": None}


async def take_back(state: RunState, runtime: Runtime[Context]) -> Advised:
    """What did not help is proposed to be undone."""
    # The next proposal takes the place of this one and of what became of it.
    await runtime.context.timeline.tell(state)
    receipt, verification = state["receipt"], state["verification"]
    if receipt is None or receipt.undo is None or verification is None:
        raise TypeError("there is nothing to take back")
    back = Recommendation(finding=state["recommendation"].finding, action=receipt.undo, reason=verification.reason)
    by = state.get("asked_back", "")
    return {"recommendation": back, "requested_by": by, "undo_of": receipt.key, "part_of": receipt.key if by else None}


async def report(state: RunState, runtime: Runtime[Context]) -> Ended:
    """Say how it ended, to the incident's people and to the record."""
    ended = _ended(state)
    if ended["outcome"] is Outcome.NOTIFIED:
        return ended  # telling them was the action
    if "proposal" in state:
        message = closing(state["proposal"], ended["outcome"].value, ended["reason"], state.get("verification"))
    else:
        message = Message(title=f"{state['incident_id']}: {ended['outcome'].value}", body=ended["reason"], severity="warning")
    message = message.model_copy(update={"link": runtime.context.incident_link(state["incident_id"])})
    await announce(runtime.context.policies.notify_channel, message, f"{state['run_id']}/closing", runtime.context)
    return ended


async def leave_it(state: RunState, error: NodeError) -> Command[Any]:
    """Nothing could be proposed: it is left to people, with the reason. A challenger is not: it is taken back, or looked at
    again when what failed for a moment is back."""
    reason = str(error.error) if isinstance(error.error, PortError) else f"{type(error.error).__name__} in {error.node}"
    if under_way(state) and isinstance(error.error, TemporaryError):
        return Command(goto="wait")
    action = state["recommendation"].action
    if under_way(state) and not isinstance(action, ENDS):
        return Command(goto="give_back", update=giving_up(state, reason))
    if isinstance(action, ENDS) and not action.blind:
        # Perhaps by the route alone.
        blind = state["recommendation"].model_copy(update={"action": action.model_copy(update={"blind": True})})
        return Command(goto="propose", update={"recommendation": blind})
    return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=reason))


def _ended(state: RunState) -> Ended:
    if "outcome" in state:
        return {"outcome": Outcome(state["outcome"]), "reason": state.get("reason", "")}
    judgement, verdict, verification = state["judgement"], state.get("verdict"), state.get("verification")
    if isinstance(judgement, Deny):
        return {"outcome": Outcome.DENIED, "reason": judgement.reason}
    if verdict is not None and isinstance(verdict.decision, Reject):
        return {"outcome": Outcome.DECLINED, "reason": verdict.decision.reason}
    if isinstance(state["proposal"].action, NoAction):
        return {"outcome": Outcome.NO_ACTION, "reason": state["proposal"].action.reason}
    if isinstance(state["proposal"].action, Notify):
        return {"outcome": Outcome.NOTIFIED, "reason": state["recommendation"].reason}
    if verification is not None and state.get("undo_of") is not None:
        return {"outcome": Outcome.UNDONE, "reason": verification.reason}
    if isinstance(state["proposal"].action, QuarantineData) and verification is not None:
        return {"outcome": Outcome.CONTAINED, "reason": verification.reason}
    if verification is not None and verification.status is Status.HOLDS:
        return {"outcome": Outcome.RESOLVED, "reason": verification.reason}
    return {"outcome": Outcome.UNVERIFIED, "reason": verification.reason if verification else "never verified"}


def _after_judgement(state: RunState) -> str:
    match state["judgement"]:
        case Auto():
            return "act"
        case Ask():
            return "ask"
        case Deny():
            return _left(state)


def _left(state: RunState) -> str:
    """Where what is not carried out leads: a challenger does not stay half-way."""
    return "give_back" if under_way(state) else "report"


def _after_waiting(state: RunState) -> str:
    if state.get("again_at") is not None:
        return Specialist.INCIDENT.value
    if under_way(state):
        return "look"
    if examining(state):
        return "examine"
    if isinstance(state["proposal"].action, Quantize):
        return "trial"
    return "attend" if isinstance(state["proposal"].action, Retrain) else "verify"


def _after_answer(state: RunState) -> str:
    verdict = state["verdict"]
    if verdict is not None and verdict.covers(state["proposal"]):
        return "act"
    if verdict is not None and isinstance(verdict.decision, Edit):
        return "revise"
    return _left(state)


def _after_verification(state: RunState) -> str:
    verification, receipt = state["verification"], state["receipt"]
    if verification is None or receipt is None or verification.status is Status.HOLDS:
        return "report"
    if verification.status is Status.WAITING:
        return "wait"
    # What takes something back is not itself taken back: people look at it then.
    return "take_back" if receipt.undo is not None and state.get("undo_of") is None else "report"


def build(checkpointer: Any, *, retry: RetryPolicy = RETRY) -> Any:
    """The compiled graph. One thread per run, id = the run's."""
    patient = retry._replace(max_attempts=PATIENT_ATTEMPTS)
    graph = StateGraph(RunState, context_schema=Context, input_schema=Started)
    graph.add_node("triage", triage)
    graph.add_node("incident", incident.build())
    graph.add_node("drift", drift.build())
    graph.add_node("promotion", promotion.build())
    graph.add_node("experiment_specialist", experiment.build())
    graph.add_node("cost", cost.build())
    graph.add_node("pass_on", pass_on, destinations=("incident", "drift", "propose", "wait"))
    graph.add_node("propose", propose, retry_policy=patient, error_handler=leave_it)
    graph.add_node("judge", judge)
    graph.add_node("ask", ask, input_schema=Asked)
    graph.add_node("revise", revise)
    graph.add_node(
        "act", act, retry_policy=retry, destinations=(*SPECIALISTS, "wait", "look", "give_back", "propose", "report")
    )
    graph.add_node("wait", wait)
    graph.add_node("attend", attend, retry_policy=retry, destinations=("wait", "examine", "report"))
    graph.add_node("trial", trial.attend, retry_policy=retry, destinations=("wait", "cost", "report"))
    graph.add_node("examine", examine, retry_policy=retry, destinations=("wait", "promotion"))
    graph.add_node("look", look, retry_policy=retry, destinations=("wait", "shift", "propose", "give_back", "report"))
    graph.add_node("shift", rolling.advance, retry_policy=retry, destinations=("wait", "look", "give_back", "report"))
    graph.add_node("give_back", give_back, retry_policy=retry, destinations=("wait", "propose", "report"))
    graph.add_node("verify", check, retry_policy=retry)
    graph.add_node("take_back", take_back)
    graph.add_node("report", report, retry_policy=retry)

    graph.add_edge(START, "triage")
    graph.add_conditional_edges("triage", specialist_of, list(SPECIALISTS))
    graph.add_edge("incident", "pass_on")
    graph.add_edge("drift", "pass_on")
    graph.add_edge("promotion", "propose")
    graph.add_edge("experiment_specialist", "propose")
    graph.add_edge("cost", "propose")
    graph.add_edge("propose", "judge")
    graph.add_conditional_edges("judge", _after_judgement, ["act", "ask", "give_back", "report"])
    graph.add_conditional_edges("ask", _after_answer, ["act", "revise", "give_back", "report"])
    graph.add_edge("revise", "propose")
    graph.add_conditional_edges("wait", _after_waiting, ["incident", "look", "examine", "attend", "trial", "verify"])
    graph.add_conditional_edges("verify", _after_verification, ["wait", "take_back", "report"])
    graph.add_edge("take_back", "propose")
    graph.add_edge("report", END)
    return graph.compile(checkpointer=checkpointer, name="supervisor")
