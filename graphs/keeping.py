"""What of a model takes room, and what of it is needed: read when a list is proposed, and again right before it goes."""

from collections.abc import Sequence

from agents.cost.retention import Kept
from graphs.context import Ledger
from tools.jobs.port import JobState
from tools.registry.port import Alias
from tools.toolbox import Readers


async def kept_of(model: str, jobs: Sequence[JobState], readers: Readers, ledger: Ledger) -> Kept:
    """`jobs`: the model's. Whatever cannot be read is raised: nothing is called unneeded by a part of what may need it."""
    registry = readers.registry
    carried = {await registry.alias(model, alias) for alias in Alias}
    named = {version for version in carried if version is not None} | await ledger.named(model)
    if model in await readers.serving.models():
        route = await readers.serving.route(model)
        named |= {*route.weights, *route.shadow}
    return Kept(
        model=model,
        leftovers=(*await registry.stored(model), *await readers.jobs.leftovers(model)),
        history=await registry.history(model),
        versions=tuple(each.version for each in await registry.versions(model)),
        named=frozenset(named),
        jobs=frozenset(each.name for each in jobs if not each.final),
    )
