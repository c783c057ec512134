"""How batches, the buying of trainings and old files are changed, each repeatable. Called by `graphs.execution` alone.

Each returns what takes it back.
"""

import structlog

from agents.actions import Action, ExpireArtifacts, MoveToSpot, RestoreArtifacts, SetBatching, WorldState
from tools.errors import Conflict, PermanentError
from tools.leftovers import Discarded, Leftover
from tools.toolbox import Toolbox

log = structlog.get_logger()


async def rebatch(action: SetBatching, before: WorldState, key: str, tools: Toolbox) -> Action:
    if before.batching is None:
        raise PermanentError(f"the batching of {action.model} before the change is not on record")
    generation = int(before.batching["generation"])
    await tools.serving.set_batching(
        action.model, rows=action.rows, wait_ms=action.wait_ms, expected_generation=generation, key=key
    )
    return SetBatching(
        model=action.model,
        from_rows=action.rows,
        from_wait_ms=action.wait_ms,
        rows=action.from_rows,
        wait_ms=action.from_wait_ms,
    )


async def move(action: MoveToSpot, key: str, tools: Toolbox) -> Action:
    await tools.jobs.set_buying(action.model, action.pricing, expected=action.from_pricing, key=key)
    return MoveToSpot(model=action.model, from_pricing=action.pricing, pricing=action.from_pricing)


async def expire(action: ExpireArtifacts, protected: frozenset[str], tools: Toolbox) -> tuple[Action | None, tuple[str, ...]]:
    """What is needed by now, or is another thing, stays, and the others go all the same. Returned is what takes it back (None:
    nothing of it can be had back), and why what stays does.

    Raises PermanentError when all of it stays.
    """
    gone: list[tuple[Leftover, Discarded]] = []
    stayed: list[str] = []
    for item in action.items:
        try:
            gone.append((item, await _discard(item, tuple(sorted(protected)), tools)))
        except Conflict as error:
            log.warning("artifact.stays", kind=item.kind, name=item.name, reason=str(error))
            stayed.append(str(error))
    if not gone:
        raise PermanentError(f"nothing of it was discarded: {'; '.join(stayed[:3])}")
    aside = tuple(item for item, found in gone if found.undo_until is not None)
    return RestoreArtifacts(model=action.model, items=aside) if aside else None, tuple(stayed)


async def restore(action: RestoreArtifacts, tools: Toolbox) -> tuple[str, ...]:
    """What is gone for good by now costs nothing else its way back; returned is why it cannot be had.

    Raises PermanentError when nothing of it can be had back.
    """
    gone: list[str] = []
    for item in action.items:
        try:
            if item.kind == "version":
                await tools.registry.restore(item.model, item.name)
            else:
                await tools.jobs.restore(item)
        except PermanentError as error:
            log.warning("artifact.gone", kind=item.kind, name=item.name, reason=str(error))
            gone.append(f"{item.kind} {item.name}: {error}")
    if len(gone) == len(action.items):
        raise PermanentError(f"nothing of it can be had back: {'; '.join(gone[:3])}")
    return tuple(gone)


async def _discard(item: Leftover, protected: tuple[str, ...], tools: Toolbox) -> Discarded:
    if item.kind == "version":
        return await tools.registry.discard(item, protected=protected)
    return await tools.jobs.discard(item)
