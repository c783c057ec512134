"""The one place that changes the world.

Every action goes through `execute`: its intent is in the ledger before the first call, every call carries a key derived from
the proposal's, and the receipt ends it. Killed at any instant and run again, the action has happened once.
"""

import asyncio
from typing import assert_never

import structlog

from agents import guard
from agents.actions import Action, NoAction, Notify, QuarantineData, ReleaseData, Retrain, Rollback, Scale, WorldState
from agents.proposals import Proposal, Receipt
from graphs.context import Context
from graphs.world import read_state
from tools.errors import Conflict, PermanentError, PortError, TemporaryError
from tools.notify.port import Message
from tools.registry.port import Alias
from tools.serving.port import Route
from tools.toolbox import Toolbox

log = structlog.get_logger()

_PAUSES_S = (0.2, 1.0)
"""Between tries at telling people."""


async def execute(proposal: Proposal, actor: str, context: Context) -> Receipt:
    """Carry the proposal out on the state it was decided on, in the name of `actor`; repeating it returns the first receipt.

    Raises TemporaryError when it may be tried again as it is, PermanentError when it cannot be done: then nothing of it is left
    in the world, or the message says what is.
    """
    started = context.clock.now()
    if await context.ledger.intended(proposal.id) is None:
        world = await read_state(proposal.action, context.tools.readers)
        if world != proposal.state:
            raise Conflict(f"the world has moved since it was decided: {guard.differences(proposal.state, world)}")
    before, done = await context.ledger.intend(proposal, proposal.state)
    if done is not None:
        return done
    undo = await _perform(proposal, before, actor, context)
    receipt = Receipt(
        key=proposal.id,
        action=proposal.action,
        before=before,
        after=await read_state(proposal.action, context.tools.readers),
        undo=undo,
        started_at=started,
        finished_at=context.clock.now(),
    )
    await context.ledger.complete(receipt)
    return receipt


async def left_of(proposal: Proposal, context: Context) -> str:
    """What an action that was broken off has left changed, to be put behind the reason; empty when nothing is.

    Generations are left out: they only count.
    """
    try:
        world = await read_state(proposal.action, context.tools.readers)
    except PortError as error:
        return f". How things stand now could not be read: {error}."
    then, now = (state.model_dump(exclude={"route_generation"}) for state in (proposal.state, world))
    moved = [f"{name} {now[name]} instead of {then[name]}" for name in then if then[name] != now[name]]
    return f". It leaves {', '.join(moved)}." if moved else ""


async def announce(channel: str, message: Message, key: str, context: Context) -> None:
    """Tell people what a run is doing; the same key is said once.

    A channel that is gone does not stop the run, nor keep its incident open: what it has come to is in the record, and people
    look there as well, where they read that they were not told.
    """
    reason = ""
    for pause_s in (*_PAUSES_S, None):
        try:
            return await context.tools.notify.send(channel, message, key=key)
        except TemporaryError as error:
            reason = str(error)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        except PermanentError as error:
            reason = str(error)
            break
    log.warning("announcement.failed", channel=channel, key=key, reason=reason)
    return await context.timeline.not_announced(channel, key, reason)


async def _perform(proposal: Proposal, before: WorldState, actor: str, context: Context) -> Action | None:
    """Do it, and return what takes it back."""
    match proposal.action:
        case Rollback() as rollback:
            return await _roll_back(rollback, proposal, before, actor, context)
        case Scale(model=model, workers=workers):
            if before.workers is None:
                raise PermanentError(f"the capacity of {model} before the change is not on record")
            await context.tools.serving.scale(model, workers, expected_workers=before.workers, key=proposal.id)
            return Scale(model=model, from_workers=workers, workers=before.workers)
        case Retrain():
            raise PermanentError("no training backend is configured")
        case QuarantineData(model=model, window=window, features=features) as quarantine:
            placed = await context.tools.quarantines.place(
                model,
                window,
                features,
                expected=before.quarantined or (),
                key=proposal.id,
                actor=actor,
                reason=proposal.finding.summary,
            )
            return ReleaseData(**quarantine.model_dump(exclude={"kind"}), quarantine=placed.id)
        case ReleaseData(quarantine=placed_before) as release:
            summary = proposal.finding.summary
            await context.tools.quarantines.release(placed_before, key=proposal.id, actor=actor, reason=summary)
            return QuarantineData(**release.model_dump(exclude={"kind", "quarantine"}))
        case Notify() as notify:
            await _tell(notify, proposal, context)
            return None
        case NoAction():
            return None
        case unknown:
            assert_never(unknown)


async def _tell(action: Notify, proposal: Proposal, context: Context) -> None:
    """Telling people changes nothing that would have to be ended, so a channel that stays away is given up."""
    body = f"{action.body}\n\nIncident: {proposal.incident_id}"
    link = context.incident_link(proposal.incident_id)
    message = Message(title=action.title, body=body, severity=action.severity, link=link)
    try:
        await context.tools.notify.send(action.channel, message, key=proposal.id)
    except TemporaryError as error:
        since, limit = await context.ledger.intended(proposal.id), context.policies.notify_within
        if since is not None and context.clock.now() - since >= limit:
            raise PermanentError(f"nobody was told: {action.channel} did not answer within {limit}: {error}") from error
        raise


async def _roll_back(action: Rollback, proposal: Proposal, before: WorldState, actor: str, context: Context) -> Action:
    """Routes first, alias second.

    The traffic is what hurts, and the gateway loads and warms the old version before it switches, so no moment leaves requests
    on nothing. Interrupted between the two, the repetition finds the route by its key and goes on with the alias.
    """
    tools = context.tools
    if before.champion != action.from_version or before.route_generation is None:
        raise Conflict(f"{action.model}: the champion is {before.champion}, not {action.from_version}")
    moved = await tools.serving.set_weights(
        action.model, {action.to_version: 100}, expected_generation=before.route_generation, key=f"{proposal.id}/route"
    )
    await _still_ours(action, moved, tools)
    try:
        await tools.registry.set_alias(
            action.model,
            Alias.CHAMPION,
            action.to_version,
            expected=action.from_version,
            key=f"{proposal.id}/alias",
            actor=actor,
            reason=proposal.finding.summary,
        )
    except PermanentError as error:
        # Somebody else moved the alias meanwhile: theirs stands, and our half is taken back.
        await tools.serving.set_weights(
            action.model, before.weights, expected_generation=moved.generation, key=f"{proposal.id}/route-back"
        )
        raise PermanentError(f"the alias could not be moved, the weights are back on {before.weights}: {error}") from error
    return Rollback(model=action.model, from_version=action.to_version, to_version=action.from_version)


async def _still_ours(action: Rollback, moved: Route, tools: Toolbox) -> None:
    """A repetition finds our change by its key, also when somebody has changed the route again since: theirs stands then, and
    the alias is left alone, unless we had moved it before and nothing but the receipt was missing."""
    route = await tools.serving.route(action.model)
    if route.generation == moved.generation:
        return
    if await tools.registry.alias(action.model, Alias.CHAMPION) == action.from_version:
        raise Conflict(f"somebody has changed the route of {action.model} to {route.weights} before the rollback was through")
