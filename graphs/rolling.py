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
from agents.evidence import Recommendation
from agents.guard import Deny
from agents.narrative import plain
from agents.policies import Mode, Policies
from agents.promotion_rules import Rollouts
from agents.proposals import Reject
from agents.rollout_facts import Counts, Discordant, Period, Progress, Values
from agents.rollouts import Choice, Decision, decide
from agents.wording import share, span
from graphs.context import Context, Order
from graphs.execution import announce, shift
from graphs.state import Advised, Ended, Outcome, Rolling, Rollout, RunState
from tools.errors import Conflict, PermanentError, PortError, TemporaryError
from tools.notify.port import Message
from tools.predictions.port import PredictionReader, Tally
from tools.registry.port import Alias
from tools.rollouts.port import Phase, Standing
from tools.values import Window

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
    (champion, unread), traffic = await asyncio.gather(_champion(action, context), context.tools.traffic.state(action.model))
    if traffic.token != rollout.generation:
        reason = f"somebody has given the traffic of {action.model} to {traffic.weights} since: theirs stands"
        return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=reason))
    rules = context.policies.rollouts_of(action.model)
    untouched = Command(goto="wait", update=Rolling(rollout=rollout, wake_at=now + rules.look_every))
    # Nothing is changed then, not even back, and by no order: whoever threw the switch has it in hand.
    observing = await context.mode() is Mode.OBSERVE
    if unread is None and champion != action.from_version:
        now_champion = champion or action.from_version
        reason = f"somebody has made version {now_champion} champion meanwhile"
        return untouched if observing else _over(state, rollout, reason, to=now_champion)
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
    fresh = rollout.model_copy(update={"decision": decision, "paused_by": paused, "blind_since": None})
    later = Rolling(rollout=fresh, wake_at=now + rules.look_every)
    if observing:
        return Command(goto="wait", update=later)
    match decision.choice:
        case Choice.ROLLBACK:
            return _over(state, fresh, decision.reason, unread=unread)
        case _ if unread is not None:
            # Only back, until it is known who is champion.
            return Command(goto="wait", update=later)
        case _ if paused is not None or rollout.moving or _frozen(action, context.policies, now):
            return Command(goto="wait", update=later)
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


async def glance(rollout: Rollout, context: Context) -> Decision | None:
    """At one about which people are asked meanwhile: what the look of now would find. None where it would not look: somebody
    else has the traffic or the alias in hand, nothing may be changed, or nothing has moved yet.

    Raises TemporaryError when nothing could be measured.
    """
    now, action = context.clock.now(), rollout.action
    champion, traffic = await asyncio.gather(
        context.tools.registry.alias(action.model, Alias.CHAMPION), context.tools.traffic.state(action.model)
    )
    if traffic.token != rollout.generation or champion != action.from_version or rollout.moving:
        return None
    if await context.mode() is Mode.OBSERVE:
        return None
    return await _decided(rollout, rollout.started, context, now)


async def _decided(rollout: Rollout, begun: tuple[datetime, ...], context: Context, now: datetime) -> Decision:
    """What was approved holds, whatever the policy says by now."""
    policy = context.policies.rollouts_of(rollout.action.model)
    rules = policy.approved(rollout.action.stages, rollout.action.judging)
    return decide(rules, await _observed(rollout, begun, context.tools.predictions, rules, now), now)


async def _champion(action: StartRollout, context: Context) -> tuple[str | None, PortError | None]:
    """Who is champion, or why the registry does not say. The traffic needs no registry to be taken back."""
    try:
        return await context.tools.registry.alias(action.model, Alias.CHAMPION), None
    except PortError as error:
        return None, error


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
    """To the next stage, as the last look decided."""
    context, rollout = runtime.context, _rollout(state)
    action, stage = rollout.action, rollout.stage + 1
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


def giving_up(state: RunState, reason: str, route: Standing | None = None) -> dict[str, Rollout]:
    """`route`: as we have left it, where we have touched it."""
    left = {"generation": route.token} if route is not None else {}
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


async def _observed(
    rollout: Rollout, begun: tuple[datetime, ...], predictions: PredictionReader, rules: Rollouts, now: datetime
) -> Progress:
    """Both versions beside each other, period by period; none crosses from one stage, as `begun`, into the next."""
    ends, step = (*begun[1:], now), rules.look_every
    windows = [
        (stage, Window(start=start, end=start + (end - start) // step * step))
        for stage, start, end in zip(rollout.action.stages, begun, ends, strict=False)
        if end - start >= step
    ]
    looks = (
        _shadowed(rollout.action, predictions, rules, window)
        if stage.weight == 0
        else _side_by_side(rollout.action, predictions, rules, window)
        for stage, window in windows
    )
    found = await asyncio.gather(*looks)
    return Progress(started=begun, periods=tuple(period for of_stage in found for period in of_stage))


async def _side_by_side(
    action: StartRollout, predictions: PredictionReader, rules: Rollouts, window: Window
) -> tuple[Period, ...]:
    metric, step = rules.guardrails.metric, rules.look_every
    tallies = await predictions.tallies(
        action.model,
        window,
        step,
        slow_ms=action.slow_ms,
        metric=metric.name if metric is not None else None,
        cpu_hour=rules.cpu_hour,
        currency=rules.currency,
    )
    periods: dict[datetime, dict[str, Tally]] = {}
    for tally in tallies:
        periods.setdefault(tally.start, {})[tally.version] = tally
    return tuple(
        Period(
            window=Window(start=start, end=start + step),
            canary=_counts(found.get(action.version)),
            control=_counts(found.get(action.from_version)),
        )
        for start, found in sorted(periods.items())
    )


async def _shadowed(action: StartRollout, predictions: PredictionReader, rules: Rollouts, window: Window) -> tuple[Period, ...]:
    """Both on the requests that the challenger got a copy of."""
    found = await predictions.mirrored(
        action.model,
        action.version,
        action.from_version,
        window,
        rules.look_every,
        slow_ms=action.slow_ms,
        cpu_hour=rules.cpu_hour,
    )
    return tuple(
        Period(
            window=Window(start=each.start, end=each.start + rules.look_every),
            canary=_counts(each.shadow),
            control=_counts(each.served),
            pairs=Discordant(
                count=each.labelled, only_canary_wrong=each.only_shadow_wrong, only_control_wrong=each.only_served_wrong
            ),
        )
        for each in found
    )


def _counts(tally: Tally | None) -> Counts:
    if tally is None:
        nothing = Values()
        return Counts(failed=0, slow=0, labelled=0, wrong=0, loss=nothing, metric=nothing, cost=nothing)
    known = tally.wrong is not None
    return Counts(
        predictions=tally.count,
        failed=tally.errors,
        slow=tally.slow,
        labelled=tally.labelled if known else None,
        wrong=tally.wrong,
        loss=tally.loss,
        metric=tally.metric,
        cost=tally.cost,
    )


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
