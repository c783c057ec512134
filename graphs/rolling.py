"""A rollout on its way: look at both versions, bring it on, end it, or leave it for the next look.

look -> wait           it goes on as it is, or its traffic has not moved yet
     -> shift -> wait  the challenger gets more
     -> propose        it is through, or over, or a person has to say whether it goes on
     -> report         somebody else has taken it in hand

What a look decided is in the thread before anything is done about it: killed in between, the same is done again, by its key.
"""

import asyncio
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Protocol

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.actions import AbortRollout, Promote, StartRollout, WorldState
from agents.cost import shadowing
from agents.cost.quantization_traffic import weigh_copies
from agents.evidence import Recommendation
from agents.guard import Deny
from agents.narrative import plain
from agents.policies import Mode, Policies
from agents.proposals import Reject
from agents.rollouts import Choice, Decision, decide
from agents.wording import share, span
from graphs.context import Context, Order
from graphs.execution import announce, shift
from graphs.side_by_side import observed
from graphs.state import Advised, Ended, Outcome, Rolling, Rollout, RunState
from graphs.world import SOON, champion_of, in_other_hands, theirs
from tools.errors import Conflict, PermanentError, PortError, TemporaryError
from tools.notify.port import Message
from tools.rollouts.port import Phase, Standing

MAX_TRIES = 10
"""Looks at a rollout that is to be taken back and cannot be, for a reason that lasts; then people have it."""


class Step(Protocol):
    async def __call__(self, state: RunState, runtime: Runtime[Context]) -> Command[Any]: ...


def begun(key: str, action: StartRollout, after: WorldState, at: datetime) -> Rollout:
    """`after`: the state of the world with the first stage in force, or asked for."""
    if after.route_generation is None:
        raise TypeError("a rollout that began has a route")
    moving = after.weights.get(action.version, 0) != round(100 * action.stages[0].weight)
    return Rollout(key=key, action=action, started=(at,), generation=after.route_generation, moving=moving)


def _kept(step: Step) -> Step:
    """What fails for good on the way ends the rollout, not the run: the challenger is taken back."""

    @wraps(step)
    async def kept(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
        try:
            return await step(state, runtime)
        except PermanentError as error:
            return Command(goto="give_back", update=giving_up(state, f"it cannot go on: {error}"))

    return kept


@_kept
async def look(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    context, rollout = runtime.context, _rollout(state)
    now, action = context.clock.now(), rollout.action
    (champion, unread), traffic = await asyncio.gather(
        champion_of(action.model, context.tools.readers), context.tools.traffic.state(action.model)
    )
    if traffic.token != rollout.generation:
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=theirs(traffic)))
    rules = context.policies.rollouts_of(action.model)
    untouched = Command(goto="wait", update=Rolling(rollout=rollout, wake_at=now + rules.look_every))
    # Nothing is changed then, not even back, and by no order: whoever threw the switch has it in hand.
    observing = await context.mode() is Mode.OBSERVE
    if unread is None and champion != action.from_version:
        if observing:
            return untouched
        if champion is None:
            return await _leaderless(state, rollout, context)
        return _over(state, rollout, f"somebody has made version {champion} champion meanwhile", to=champion)
    if rollout.moving and traffic.phase is Phase.SETTLED:
        # The stage's time begins with its traffic.
        rollout = rollout.model_copy(update={"started": (*rollout.started[:-1], now), "moving": False})
        untouched = Command(goto="wait", update=Rolling(rollout=rollout, wake_at=now + rules.look_every))
    order = await context.order(state["run_id"])
    if order is not None and order.ends:
        return untouched if observing else await _as_ordered(state, rollout, order, context, unread)
    if rollout.given_up:
        return untouched if observing else _over(state, rollout, rollout.given_up, unread=unread)
    if (stuck := _stuck(rollout, traffic, rules.extend, now)) is not None:
        return untouched if observing else _over(state, rollout, stuck, unread=unread)
    if isinstance(unread, PermanentError):
        # It can end by the route alone, and never become champion.
        return untouched if observing else _over(state, rollout, f"it cannot go on: {unread}", unread=unread)
    if rollout.moving and rollout.stage == 0:
        return untouched
    # What has not moved yet is judged as the stage that it is still in.
    begun = rollout.started[:-1] if rollout.moving else rollout.started
    try:
        decision = await _decided(rollout, begun, context, now)
    except TemporaryError as error:
        return await _unseen(state, rollout, str(error), context, observing=observing, unread=unread)
    paused = order.by if order is not None else None
    held = paused is not None or _frozen(action, context.policies, now)
    fresh = rollout.model_copy(
        update={
            "decision": decision,
            "paused_by": paused,
            "blind_since": None,
            "held_since": (rollout.held_since or now) if held else None,
        }
    )
    later = Rolling(rollout=fresh, wake_at=now + rules.look_every)
    if observing:
        return Command(goto="wait", update=later)
    match decision.choice:
        case Choice.ROLLBACK:
            return _over(state, fresh, decision.reason, unread=unread)
        case _ if unread is not None:
            # Only back, until it is known who is champion.
            return Command(goto="wait", update=later)
        case _ if rollout.moving:
            return Command(goto="wait", update=later)
        case _ if held:
            return await _held(state, fresh, decision, context, later)
        case Choice.ADVANCE:
            return Command(goto="shift", update=later)
        case Choice.COMPLETE if rollout.stage + 1 == len(action.stages):
            return _through(state, fresh, decision.reason)
        case Choice.COMPLETE:
            return Command(goto="shift", update=later)
        case Choice.ASK:
            return _unclear(state, fresh, decision.reason)
        case Choice.HOLD | Choice.EXTEND:
            return Command(goto="wait", update=later)


async def _leaderless(state: RunState, rollout: Rollout, context: Context) -> Command[Any]:
    """Who it runs beside is still there, and answers most; only the alias is not. That one has the traffic again."""
    action = rollout.action
    reason = f"somebody has taken the alias champion from version {action.from_version} meanwhile"
    message = Message(
        title=plain(f"{action.model}: nobody is champion any more; version {action.version} is being taken back", 300),
        body=f"{reason}. Version {action.from_version} gets the traffic: give the alias to whom it belongs.\n\n"
        f"Incident: {state['incident_id']}",
        severity="warning",
        link=context.incident_link(state["incident_id"]),
    )
    await announce(context.policies.notify_channel, message, f"{rollout.key}/leaderless", context)
    return _over(state, rollout, reason)


async def _held(state: RunState, rollout: Rollout, decision: Decision, context: Context, later: Rolling) -> Command[Any]:
    """Paused, or frozen: about what is unclear people would have been asked, and are told that they are not. A freeze ends by
    itself; a pause that nobody ends is asked about after a while."""
    action, since, now = rollout.action, rollout.held_since, context.clock.now()
    assert since is not None
    frozen = _frozen(action, context.policies, now)
    lasts = now - since >= context.policies.rollouts_of(action.model).longest_pause
    if lasts and not frozen:
        reason = f"{rollout.paused_by} paused it, and it has been held for {span(now - since)}. {decision.reason}"
        return _unclear(state, rollout, reason)
    if lasts or decision.choice is Choice.ASK:
        by = "a change freeze" if frozen else f"the pause of {rollout.paused_by}"
        weight = share(action.stages[rollout.stage].weight)
        message = Message(
            title=plain(f"{action.model}: version {action.version} is held at {weight} of the traffic by {by}", 300),
            body=f"For {span(now - since)} nobody has been asked whether it goes on. {decision.reason}\n\n"
            f"Incident: {state['incident_id']}",
            severity="warning",
            link=context.incident_link(state["incident_id"]),
        )
        key = f"{rollout.key}/held/{since:%Y%m%dT%H%M%SZ}/{'frozen' if frozen else 'paused'}"
        await announce(context.policies.notify_channel, message, key, context)
    return Command(goto="wait", update=later)


async def glance(rollout: Rollout, context: Context) -> Decision | None:
    """At one about which people are asked meanwhile: what the look of now would find. None where it would not look: somebody
    else has the traffic or the alias in hand, nothing may be changed, or nothing has moved yet.

    Raises TemporaryError when nothing could be measured.
    """
    now, action = context.clock.now(), rollout.action
    (champion, unread), traffic = await asyncio.gather(
        champion_of(action.model, context.tools.readers), context.tools.traffic.state(action.model)
    )
    # Without the registry it is looked at all the same: it is taken back by the route alone.
    moved = unread is None and champion != action.from_version
    if traffic.token != rollout.generation or moved or rollout.moving:
        return None
    if await context.mode() is Mode.OBSERVE:
        return None
    return await _decided(rollout, rollout.started, context, now)


async def _decided(rollout: Rollout, begun: tuple[datetime, ...], context: Context, now: datetime) -> Decision:
    """What was approved holds, whatever the policy says by now."""
    policy = context.policies.rollouts_of(rollout.action.model)
    rules = policy.approved(rollout.action.stages, rollout.action.judging)
    action, predictions = rollout.action, context.tools.predictions
    decision = decide(rules, await observed(rollout, begun, predictions, rules, now), now)
    stage = action.stages[decision.stage]
    if action.weighed is None or not shadowing.is_weighed(stage, decision):
        return decision
    window, margins = shadowing.look_at(stage, begun[-1], now, action.weighed)
    copies = await predictions.copies(action.model, action.version, action.from_version, window)
    return shadowing.joined(decision, weigh_copies(copies, margins))


async def _unseen(
    state: RunState, rollout: Rollout, error: str, context: Context, *, observing: bool, unread: PortError | None
) -> Command[Any]:
    """Nothing could be measured. A challenger that nobody sees does not stay for longer than one that is unclear: it is taken
    back, by the route, and people are told."""
    now, rules = context.clock.now(), context.policies.rollouts_of(rollout.action.model)
    since = rollout.blind_since or now
    rollout = rollout.model_copy(update={"blind_since": since})
    later = Command(goto="wait", update=Rolling(rollout=rollout, wake_at=now + rules.look_every))
    if now - since < rules.extend:
        return later
    action = rollout.action
    reason = f"nothing could be measured for {span(now - since)}, so nobody knows whether it holds: {error}"
    then = "nothing may be changed now, so it keeps its traffic" if observing else "it is being taken back"
    message = Message(
        title=plain(f"{action.model}: version {action.version} is served unseen; {then}", 300),
        body=f"{reason}\n\nIncident: {state['incident_id']}",
        severity="warning",
        link=context.incident_link(state["incident_id"]),
    )
    key = f"{rollout.key}/unseen/{since:%Y%m%dT%H%M%SZ}/{'kept' if observing else 'back'}"
    await announce(context.policies.notify_channel, message, key, context)
    return later if observing else _over(state, rollout, reason, unread=unread)


@_kept
async def advance(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """To the next stage, as the last look decided, unless another one has to decide by now. What has been asked for under the
    stage's key already is found."""
    context, rollout = runtime.context, _rollout(state)
    action, stage = rollout.action, rollout.stage + 1
    asked_for = (await context.tools.traffic.state(action.model)).token != rollout.generation
    if not asked_for and await _changed(state, rollout, context):
        return Command(goto="look")
    try:
        traffic = await shift(rollout.key, action, stage, rollout.generation, context)
    except Conflict as error:
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=f"it was taken in hand by somebody: {error}"))
    now = context.clock.now()
    moving = traffic.phase is Phase.MOVING
    fresh = rollout.model_copy(update={"started": (*rollout.started, now), "generation": traffic.token, "moving": moving})
    has = "gets" if moving else "has"
    message = Message(
        title=plain(f"{action.model}: version {action.version} {has} {share(action.stages[stage].weight)} of the traffic", 300),
        body=f"{rollout.decision.reason if rollout.decision else ''}\n\nIncident: {state['incident_id']}",
        severity="info",
        link=context.incident_link(state["incident_id"]),
    )
    await announce(context.policies.notify_channel, message, f"{rollout.key}/stage/{stage}", context)
    every = context.policies.rollouts_of(action.model).look_every
    return Command(goto="wait", update=Rolling(rollout=fresh, wake_at=now + every))


async def _changed(state: RunState, rollout: Rollout, context: Context) -> bool:
    """Since the look that decided: what moves nothing while it is so, or simply the time."""
    now, decision = context.clock.now(), rollout.decision
    if decision is None or now - decision.at > _fresh(rollout, context.policies):
        return True
    observing = await context.mode() is Mode.OBSERVE
    return observing or await context.order(state["run_id"]) is not None or _frozen(rollout.action, context.policies, now)


async def overtaken(state: RunState, context: Context) -> str | None:
    """Why what was to be done about it is not done before another look; None: it is.

    What people have said yes to while it was paused, as they could read, is done all the same.
    """
    rollout, verdict, now = _rollout(state), state.get("verdict"), context.clock.now()
    order, goes_on = await context.order(state["run_id"]), isinstance(state["proposal"].action, StartRollout | Promote)
    if order is not None and (order.ends or (goes_on and (verdict is None or rollout.paused_by is None))):
        return f"{order.by} ordered: {order.kind}"
    if not goes_on:
        return None
    patience = _fresh(rollout, context.policies)
    if verdict is None:
        if _frozen(rollout.action, context.policies, now):
            return "a change freeze has begun"
        waited = now - state["proposal"].proposed_at
        return f"it was decided {span(waited)} ago" if waited > patience else None
    if now - verdict.decided_at <= patience:
        return None
    try:
        seen = await glance(rollout, context)
    except TemporaryError as error:
        return f"it was approved some time ago, and cannot be looked at again: {error}"
    if seen is None or seen.choice is Choice.ROLLBACK:
        return f"it was approved {span(now - verdict.decided_at)} ago, and is not as it was"
    return None


def _fresh(rollout: Rollout, policies: Policies) -> timedelta:
    """For how long what a look has decided, or a person, is carried out without another look."""
    return max(policies.rollouts_of(rollout.action.model).look_every, SOON)


async def give_back(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """What was to be done about it is not done: the challenger does not stay half-way.

    Where nothing may be changed, or the giving back itself is refused, the next look sees to it.
    """
    context, rollout, action = runtime.context, _rollout(state), state["proposal"].action
    # The next proposal takes the place of this one and of what became of it.
    await context.timeline.tell(state)
    lasts, reason = _not_gone_on(state, rollout)
    observing = await context.mode() is Mode.OBSERVE
    if isinstance(action, AbortRollout) and not observing:
        if rollout.tries + 1 >= MAX_TRIES:
            told = f"it could not be taken back in {MAX_TRIES} tries, and is left as it is: {reason}"
            return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=told))
        rollout = rollout.model_copy(update={"tries": rollout.tries + 1})
    if isinstance(action, AbortRollout) or observing:
        if lasts and not isinstance(action, AbortRollout):
            rollout = rollout.model_copy(update={"given_up": reason})
        wake_at = context.clock.now() + context.policies.rollouts_of(rollout.action.model).look_every
        return Command(goto="wait", update=Rolling(rollout=rollout, wake_at=wake_at))
    if (taken := await in_other_hands(rollout.action.model, rollout.generation, context.tools.readers)) is not None:
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=f"{reason}; {taken}"))
    order = await context.order(state["run_id"])
    if order is not None and order.ends:
        return await _as_ordered(state, rollout, order, context)
    return _over(state, rollout, reason)


async def _as_ordered(
    state: RunState, rollout: Rollout, order: Order, context: Context, unread: PortError | None = None
) -> Command[Any]:
    if order.kind == "abort":
        return _over(state, rollout, f"{order.by} ended it: {order.reason}", by=order.by, unread=unread)
    # Who was asked is told that there is nothing to decide any more.
    action = rollout.action
    message = Message(
        title=plain(
            f"{action.model}: version {action.version} turned worse while people were asked; it is being taken back", 300
        ),
        body=f"{order.reason}\n\nThe question whether it goes on is closed.\n\nIncident: {state['incident_id']}",
        severity="warning",
        link=context.incident_link(state["incident_id"]),
    )
    await announce(context.policies.notify_channel, message, f"{rollout.key}/worse", context)
    return _over(state, rollout, order.reason, unread=unread)


def giving_up(state: RunState, reason: str, route: int | None = None) -> dict[str, Rollout]:
    """`route`: its token as we have left it, where we have touched it."""
    left = {"generation": route} if route is not None else {}
    return {"rollout": _rollout(state).model_copy(update={"given_up": reason, **left})}


def _not_gone_on(state: RunState, rollout: Rollout) -> tuple[bool, str]:
    """Why, and whether that is decided for good: what policy or the mode forbids may be allowed again."""
    verdict, judgement = state.get("verdict"), state["judgement"]
    if rollout.given_up:
        return True, rollout.given_up
    if verdict is not None and isinstance(verdict.decision, Reject):
        return True, "whether it goes on was asked, and was not approved"
    if isinstance(judgement, Deny):
        return False, f"it may not go on: {judgement.reason}"
    return True, f"whether it goes on was asked, and it was made into: {state['proposal'].title}"


def under_way(state: RunState) -> bool:
    """Whether the run has a rollout whose end has not been carried out yet."""
    rollout = state.get("rollout")
    return rollout is not None and not rollout.over


def _through(state: RunState, rollout: Rollout, reason: str) -> Command[Any]:
    return Command(goto="propose", update={**_promoting(state, rollout, reason, part_of=rollout.key), "rollout": rollout})


def _unclear(state: RunState, rollout: Rollout, reason: str) -> Command[Any]:
    """It could not be told: a person says whether it goes on all the same."""
    action = rollout.action
    left = action.stages[rollout.stage + 1 :]
    if not left:
        return Command(goto="propose", update={**_promoting(state, rollout, reason, part_of=None), "rollout": rollout})
    going_on = action.model_copy(update={"stages": left})
    recommendation = Recommendation(finding=state["recommendation"].finding, action=going_on, reason=reason)
    advised = Advised(recommendation=recommendation, requested_by="", undo_of=None, part_of=None)
    return Command(goto="propose", update={**advised, "rollout": rollout})


def _promoting(state: RunState, rollout: Rollout, reason: str, *, part_of: str | None) -> Advised:
    action = rollout.action
    promote = Promote(model=action.model, from_version=action.from_version, version=action.version)
    recommendation = Recommendation(finding=state["recommendation"].finding, action=promote, reason=reason)
    return {"recommendation": recommendation, "requested_by": "", "undo_of": None, "part_of": part_of}


def _over(
    state: RunState, rollout: Rollout, reason: str, *, to: str = "", by: str = "", unread: PortError | None = None
) -> Command[Any]:
    """`unread`: why nobody knows who is champion."""
    if unread is not None:
        reason = f"{reason}. The registry does not answer ({unread}), so the traffic goes back and no alias is looked at"
    ending = _ending(state, rollout, reason, to or rollout.action.from_version, blind=unread is not None)
    return Command(goto="propose", update={**ending, "requested_by": by, "rollout": rollout})


def _ending(state: RunState, rollout: Rollout, reason: str, to: str, *, blind: bool = False) -> Advised:
    abort = AbortRollout(model=rollout.action.model, version=rollout.action.version, to_version=to, blind=blind)
    recommendation = Recommendation(finding=state["recommendation"].finding, action=abort, reason=reason)
    return {"recommendation": recommendation, "requested_by": "", "undo_of": rollout.key, "part_of": rollout.key}


def _stuck(rollout: Rollout, traffic: Standing, patience: timedelta, now: datetime) -> str | None:
    """Why what moves the traffic will not bring the rollout on any more."""
    if traffic.phase is Phase.FAILED:
        return f"what moves the traffic has taken it back: {traffic.detail}"
    if rollout.moving and now - rollout.started[-1] >= patience:
        asked = f"{share(rollout.action.stages[rollout.stage].weight)} of the traffic was asked for {span(patience)} ago"
        return f"{asked}, and it is still {traffic.weights}: {traffic.detail}"
    return None


def _frozen(action: StartRollout, policies: Policies, now: datetime) -> bool:
    return any(freeze.holds(action.model, now) for freeze in policies.freezes)


def _rollout(state: RunState) -> Rollout:
    rollout = state.get("rollout")
    if rollout is None:
        raise TypeError("no rollout is under way")
    return rollout
