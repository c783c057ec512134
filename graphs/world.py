"""The state of the world that an action was decided on, and is checked against right before it is carried out."""

import asyncio
from typing import assert_never

from agents.actions import Catalogue, NoAction, Notify, QuarantineData, ReleaseData, Retrain, Rollback, Scale, WorldState
from tools.quarantines.port import ids
from tools.registry.port import Alias
from tools.toolbox import Readers


async def read_state(action: Catalogue, readers: Readers) -> WorldState:
    """What is true of the action's subject now: exactly what its fingerprint covers, and what its undo puts back."""
    match action:
        case Rollback(model=model):
            champion, route = await asyncio.gather(readers.registry.alias(model, Alias.CHAMPION), readers.serving.route(model))
            return WorldState(champion=champion, route_generation=route.generation, weights=route.weights)
        case Scale(model=model):
            capacity = await readers.serving.capacity(model)
            return WorldState(workers=capacity.workers)
        case Retrain(model=model):
            # No port trains yet, so nothing could be named that would.
            return WorldState(champion=await readers.registry.alias(model, Alias.CHAMPION))
        case QuarantineData(model=model, window=window) | ReleaseData(model=model, window=window):
            return WorldState(quarantined=ids(await readers.quarantines.in_force(model, window)))
        case Notify() | NoAction():
            return WorldState()
        case unknown:
            assert_never(unknown)
