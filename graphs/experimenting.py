"""An experiment on its way: look at its arms, end it, propose its winner, or leave it for the next look.

look -> wait      nothing can be told yet
     -> propose   StopExperiment: an arm harms or loses, the split is not as assigned, its time is up, somebody orders it
     -> propose   Promote: an arm has won, and people say whether it becomes champion
     -> report    somebody else has taken the traffic in hand

What a look decided is in the thread before anything is done about it: killed in between, the same is done again, by its key.
"""

import asyncio
from datetime import datetime
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents import experiment_looks
from agents.actions import Promote, StartExperiment, StopExperiment, WorldState
from agents.evidence import Recommendation
from agents.experiment_looks import Look
from agents.experiments import Arm, Call
from agents.guard import Deny
from agents.narrative import plain
from agents.policies import Mode
from agents.proposals import Reject
from agents.wording import span
from graphs.context import Context
from graphs.execution import announce
from graphs.state import Advised, Ended, Experiment, Experimenting, Outcome, RunState
from graphs.world import SOON, champion_of, in_other_hands, theirs
from tools.errors import PermanentError, PortError, TemporaryError
from tools.notify.port import Message
from tools.values import Window


def begun(key: str, action: StartExperiment, after: WorldState, at: datetime) -> Experiment:
    """`after`: the state of the world with the arms in force; `at`: when they were."""
    if after.route_generation is None:
        raise TypeError("an experiment that began has a route")
    return Experiment(key=key, action=action, started=at, generation=after.route_generation)


async def look(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """What fails for good on the way ends the experiment, not the run: the control has the traffic again."""
    try:
        return await _look(state, runtime.context)
    except PermanentError as error:
        return Command(goto="give_back", update=giving_up(state, f"it cannot go on: {error}"))


async def _look(state: RunState, context: Context) -> Command[Any]:
    experiment = _experiment(state)
    now, action = context.clock.now(), experiment.action
    (champion, unread), traffic = await asyncio.gather(
        champion_of(action.model, context.tools.readers), context.tools.traffic.state(action.model)
    )
    if traffic.token != experiment.generation:
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=theirs(traffic)))
    untouched = _later(experiment, now)
    # Nothing is changed then, not even back, and by no order: whoever threw the switch has it in hand.
    observing = await context.mode() is Mode.OBSERVE
    if unread is None and champion != action.from_version:
        reason = (
            f"somebody has {f'made version {champion} champion' if champion else 'taken the alias champion away'} meanwhile"
        )
        if observing:
            return untouched
        if champion is None:
            await _say(
                state, experiment, "left", "nobody is champion any more; the control gets the traffic back", context, reason
            )
        return _over(state, experiment, reason, "left", to=champion or action.from_version)
    order = await context.order(state["run_id"])
    if order is not None:
        reason = f"{order.by} ended it: {order.reason}"
        return untouched if observing else _over(state, experiment, reason, "stopped", by=order.by, unread=unread)
    if experiment.given_up:
        return untouched if observing else _over(state, experiment, experiment.given_up, "given_up", unread=unread)
    if isinstance(unread, PermanentError):
        # It can end by the route alone, and nobody can win.
        return untouched if observing else _over(state, experiment, f"it cannot go on: {unread}", "given_up", unread=unread)
    window = (
        experiment_looks.lasts(Window(start=experiment.started, end=now), action.rules.look_every)
        if now > experiment.started
        else None
    )
    if window is None:
        return untouched
    try:
        found = await context.tools.predictions.exposures(
            action.model,
            window,
            action.rules.look_every,
            versions=tuple(action.weights),
            slow_ms=action.plan.slow_ms,
            metrics=action.plan.metrics,
            within=action.plan.outcomes_after,
        )
    except TemporaryError as error:
        return await _unseen(state, experiment, str(error), context, observing=observing, unread=unread)
    seen = await asyncio.to_thread(experiment_looks.take, action, found, window, now)
    fresh = experiment.model_copy(update={"look": seen, "blind_since": None})
    if observing:
        return _later(fresh, now)
    return await _decided(state, fresh, seen, context, unread)


async def _decided(
    state: RunState, experiment: Experiment, seen: Look, context: Context, unread: PortError | None
) -> Command[Any]:
    action, call, reason, now = experiment.action, seen.outcome.call, seen.outcome.reason, seen.at
    if call is Call.MISMATCH:
        return await _ended(state, experiment, "mismatch", reason, context, unread)
    if harmed := experiment_looks.harmful(seen):
        reason = " ".join(f"version {each.name}: {each.reason}" for each in harmed)
        return await _ended(state, experiment, "harmful", reason, context, unread)
    if call is Call.LOSER:
        return await _ended(state, experiment, call.value, reason, context, unread)
    if unread is not None:
        # What does nobody any harm waits until it is known who is champion.
        return _later(experiment, now)
    if (arm := experiment_looks.winner(seen)) is not None:
        if any(freeze.holds(action.model, now) for freeze in context.policies.freezes):
            return _later(experiment, now)
        await _say(state, experiment, "winner", f"version {arm.name} has won its experiment", context)
        return _won(state, experiment, seen, arm)
    if call is Call.INCONCLUSIVE:
        return await _ended(state, experiment, call.value, reason, context)
    return _later(experiment, now)


async def _unseen(
    state: RunState, experiment: Experiment, error: str, context: Context, *, observing: bool, unread: PortError | None
) -> Command[Any]:
    """Nothing could be measured. Arms that nobody sees may harm whom they answer: after a while the control has the traffic."""
    now = context.clock.now()
    since = experiment.blind_since or now
    experiment = experiment.model_copy(update={"blind_since": since})
    if now - since < experiment.action.rules.blind:
        return _later(experiment, now)
    reason = f"nothing could be measured for {span(now - since)}, so nobody would see harm: {error}"
    if observing:
        said = "the experiment is not seen; nothing may be changed now, so its arms keep their traffic"
        await _say(state, experiment, f"unseen/{since:%Y%m%dT%H%M%SZ}/kept", said, context, reason)
        return _later(experiment, now)
    return await _ended(state, experiment, "unseen", reason, context, unread)


async def _ended(
    state: RunState, experiment: Experiment, ending: str, reason: str, context: Context, unread: PortError | None = None
) -> Command[Any]:
    said = {
        "mismatch": "the experiment's split is not as assigned; the control gets the traffic back",
        "harmful": "an arm of the experiment harms; the control gets the traffic back",
        "loser": "the experiment's treatment is worse; the control gets the traffic back",
        "inconclusive": "the experiment ends without a winner; the control gets the traffic back",
        "unseen": "the experiment is not seen; the control gets the traffic back",
    }[ending]
    await _say(state, experiment, ending, said, context, reason)
    return _over(state, experiment, reason, ending, unread=unread)


async def _say(state: RunState, experiment: Experiment, ending: str, said: str, context: Context, reason: str = "") -> None:
    unseen = ending == "left" or ending.startswith("unseen")
    body = experiment_looks.told(experiment.look) if experiment.look is not None and not unseen else reason
    message = Message(
        title=plain(f"{experiment.action.model}: {said}", 300),
        body=f"{body}\n\nIncident: {state['incident_id']}",
        severity="warning" if unseen or ending in ("mismatch", "harmful") else "info",
        link=context.incident_link(state["incident_id"]),
    )
    await announce(context.policies.notify_channel, message, f"{experiment.key}/told/{ending}", context)


async def overtaken(state: RunState, context: Context) -> str | None:
    """Why what the last look decided is not carried out before another one; None: it is."""
    order, experiment = await context.order(state["run_id"]), _experiment(state)
    if order is not None and order.ends:
        return f"{order.by} ordered: {order.kind}"
    if state.get("verdict") is not None:
        # What people have said yes to holds for as long as policy says.
        return None
    waited = context.clock.now() - state["proposal"].proposed_at
    return f"it was decided {span(waited)} ago" if waited > max(experiment.action.rules.look_every, SOON) else None


async def give_back(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """What was to be done about it is not done: the arms do not stay as they are.

    Where nothing may be changed, or the giving back itself is refused, the next look sees to it.
    """
    context, experiment, action = runtime.context, _experiment(state), state["proposal"].action
    # The next proposal takes the place of this one and of what became of it.
    await context.timeline.tell(state)
    stopping = isinstance(action, StopExperiment)
    lasts, reason = _not_gone_on(state, experiment)
    if stopping or await context.mode() is Mode.OBSERVE:
        if lasts and not stopping:
            experiment = experiment.model_copy(update={"given_up": reason})
        return _later(experiment, context.clock.now())
    if (taken := await in_other_hands(experiment.action.model, experiment.generation, context.tools.readers)) is not None:
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=f"{reason}; {taken}"))
    order = await context.order(state["run_id"])
    if order is not None:
        return _over(state, experiment, f"{order.by} ended it: {order.reason}", "stopped", by=order.by)
    return _over(state, experiment, reason, experiment.ending or "given_up")


def giving_up(state: RunState, reason: str, route: int | None = None) -> dict[str, Experiment]:
    """`route`: its token as we have left it, where we have touched it."""
    left = {"generation": route} if route is not None else {}
    return {"experiment": _experiment(state).model_copy(update={"given_up": reason, **left})}


def under_way(state: RunState) -> bool:
    """Whether the run has an experiment whose end has not been carried out yet."""
    experiment = state.get("experiment")
    return experiment is not None and not experiment.over


def _not_gone_on(state: RunState, experiment: Experiment) -> tuple[bool, str]:
    """Why, and whether that is decided for good: what policy or the mode forbids may be allowed again."""
    verdict, judgement = state.get("verdict"), state["judgement"]
    if experiment.given_up:
        return True, experiment.given_up
    if verdict is not None and isinstance(verdict.decision, Reject):
        return True, f"its winner is not made champion: {verdict.decision.reason}"
    if isinstance(judgement, Deny):
        return False, f"its winner may not be made champion: {judgement.reason}"
    return True, f"its winner was not made champion, but into: {state['proposal'].title}"


def _won(state: RunState, experiment: Experiment, seen: Look, arm: Arm) -> Command[Any]:
    action = experiment.action
    promote = Promote(
        model=action.model,
        from_version=action.from_version,
        version=arm.name,
        beside=tuple(each for each in action.versions if each != arm.name),
    )
    found = experiment_looks.finding(action, seen, arm, state["recommendation"].finding)
    recommendation = Recommendation(finding=found, action=promote, reason=found.summary)
    advised = Advised(recommendation=recommendation, requested_by="", undo_of=None, part_of=None)
    ending = experiment.model_copy(update={"ending": "winner"})
    return Command(goto="propose", update={**advised, "experiment": ending})


def _over(
    state: RunState,
    experiment: Experiment,
    reason: str,
    ending: str,
    *,
    to: str = "",
    by: str = "",
    unread: PortError | None = None,
) -> Command[Any]:
    """How an experiment ends was approved with it, so nobody is asked. `unread`: why nobody knows who is champion."""
    action, back, blind = experiment.action, to or experiment.action.from_version, unread is not None
    if blind:
        reason = f"{reason}. The registry does not answer ({unread}), so the traffic goes back and no alias is looked at"
    stop = StopExperiment(model=action.model, versions=action.versions, to_version=back, blind=blind)
    recommendation = Recommendation(finding=state["recommendation"].finding, action=stop, reason=reason)
    advised = Advised(recommendation=recommendation, requested_by=by, undo_of=None, part_of=experiment.key)
    return Command(goto="propose", update={**advised, "experiment": experiment.model_copy(update={"ending": ending})})


def _later(experiment: Experiment, now: datetime) -> Command[Any]:
    return Command(goto="wait", update=Experimenting(experiment=experiment, wake_at=now + experiment.action.rules.look_every))


def _experiment(state: RunState) -> Experiment:
    experiment = state.get("experiment")
    if experiment is None:
        raise TypeError("no experiment is under way")
    return experiment
