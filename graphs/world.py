"""The state of the world that an action was decided on, and is checked against right before it is carried out."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import assert_never

from agents.actions import (
    AbortRollout,
    Catalogue,
    ConsolidateTraining,
    ExpireArtifacts,
    MoveToSpot,
    NoAction,
    Notify,
    Promote,
    Quantize,
    QuarantineData,
    ReleaseData,
    RestoreArtifacts,
    Retrain,
    Rollback,
    Scale,
    SetBatching,
    StartExperiment,
    StartRollout,
    StopExperiment,
    WorldState,
)
from agents.cost.expiring import ident
from agents.cost.retention import needed
from graphs.context import Context
from graphs.keeping import kept_of
from tools.errors import PortError
from tools.leftovers import Leftover
from tools.quarantines.port import ids
from tools.registry.port import Alias
from tools.rollouts.port import Standing
from tools.toolbox import Readers

SOON = timedelta(minutes=1)
"""Between a look and what it decided, where the looks are closer than that: a look at a month of minutes takes seconds."""


async def champion_of(model: str, readers: Readers) -> tuple[str | None, PortError | None]:
    """Who is champion, or why the registry does not say. The traffic needs no registry to be taken back."""
    try:
        return await readers.registry.alias(model, Alias.CHAMPION), None
    except PortError as error:
        return None, error


async def read_state(action: Catalogue, context: Context) -> WorldState:
    """What is true of the action's subject now: exactly what its fingerprint covers, and what its undo puts back."""
    readers = context.tools.readers
    match action:
        case AbortRollout(model=model, blind=True) | StopExperiment(model=model, blind=True):
            traffic = await readers.traffic.state(model)
            return WorldState(route_generation=traffic.token, weights=traffic.weights)
        case (
            Rollback(model=model)
            | StartRollout(model=model)
            | AbortRollout(model=model)
            | Promote(model=model)
            | StartExperiment(model=model)
            | StopExperiment(model=model)
        ):
            champion, traffic = await asyncio.gather(
                readers.registry.alias(model, Alias.CHAMPION), readers.traffic.state(model)
            )
            shadowed = isinstance(action, StartRollout) and action.stages[0].weight == 0
            mirrors = readers.traffic.mirrors if shadowed else None
            weights = traffic.weights
            if isinstance(action, StartExperiment | StartRollout) and readers.traffic.mirrors:
                # A shadow is a change of the traffic under way as well, though it answers nobody. Its own is no other change.
                own = action.version if isinstance(action, StartRollout) else None
                shadow = (await readers.serving.route(model)).shadow
                weights = {**{version: part for version, part in shadow.items() if version != own}, **weights}
            return WorldState(champion=champion, route_generation=traffic.token, weights=weights, mirrors=mirrors)
        case Scale(model=model):
            capacity = await readers.serving.capacity(model)
            return WorldState(workers=capacity.workers)
        case ConsolidateTraining(model=model, kept=kept, cancelled=cancelled):
            about = {kept, *cancelled}
            known = [job.name for job in await readers.jobs.jobs(model=model) if job.name in about and not job.final]
            return WorldState(running=tuple(sorted(known)))
        case SetBatching(model=model):
            found = await readers.serving.batching(model)
            batching = {"rows": float(found.rows), "wait_ms": found.wait_ms, "generation": float(found.generation)}
            return WorldState(batching=batching)
        case MoveToSpot(model=model):
            return WorldState(buying=(await readers.jobs.buying(model)).pricing)
        case ExpireArtifacts(model=model, items=items) | RestoreArtifacts(model=model, items=items):
            return await _artifacts(model, items, context)
        case Retrain(model=model) | Quantize(model=model):
            return WorldState(champion=await readers.registry.alias(model, Alias.CHAMPION))
        case QuarantineData(model=model, window=window) | ReleaseData(model=model, window=window):
            return WorldState(quarantined=ids(await readers.quarantines.in_force(model, window)))
        case Notify() | NoAction():
            return WorldState()
        case unknown:
            assert_never(unknown)


async def _artifacts(model: str, items: Sequence[Leftover], context: Context) -> WorldState:
    """What is there of them as it was listed, and which of them are needed, by whatever needs them. Others are left out: that
    something else is needed by now is no change of what was decided on."""
    readers = context.tools.readers
    kept = await kept_of(model, await readers.jobs.jobs(model=model), readers, context.ledger)
    there, about = {ident(each) for each in kept.leftovers}, {ident(each) for each in items}
    stay = needed(kept, context.policies.optimizations_of(model).keeping)
    protected = stay & {each.name for each in items if each.kind == "version"}
    return WorldState(artifacts=tuple(sorted(there & about)), protected=tuple(sorted(protected)))


async def in_other_hands(model: str, left: int, readers: Readers) -> str | None:
    """Why the route is not ours to change any more, which we left at the token `left`; None: it is, or cannot be read now, and
    whoever changes it finds out."""
    try:
        traffic = await readers.traffic.state(model)
    except PortError:
        return None
    return theirs(traffic) if traffic.token != left else None


def theirs(traffic: Standing) -> str:
    return f"somebody has given the traffic of {traffic.model} to {traffic.weights} since: theirs stands"
