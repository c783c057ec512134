"""How traffic and aliases are moved, each step by a key of its own. Called by `graphs.execution` alone.

Routes first, champions second: the traffic is what hurts, and what moves it warms a version before it switches, so no moment
leaves requests on nothing. Interrupted between the two, the repetition finds the route by its key and goes on. The challenger's
alias serves nobody: it comes before the traffic, so that what forbids it forbids the rollout, and goes after it.
"""

import structlog

from agents.actions import (
    AbortRollout,
    Action,
    Promote,
    Rollback,
    StartExperiment,
    StartRollout,
    StopExperiment,
    WorldState,
)
from agents.proposals import Proposal
from tools.errors import Conflict, PermanentError
from tools.registry.port import Alias
from tools.rollouts.port import Plan, Standing
from tools.toolbox import Toolbox

log = structlog.get_logger()


async def roll_back(action: Rollback, proposal: Proposal, before: WorldState, actor: str, tools: Toolbox) -> Action:
    await _hand_over(action.model, action.from_version, action.to_version, before.weights, proposal, before, actor, tools)
    return Rollback(model=action.model, from_version=action.to_version, to_version=action.from_version)


async def promote(action: Promote, proposal: Proposal, before: WorldState, actor: str, tools: Toolbox) -> Action:
    # At the last stage the weights before are the challenger's: taken back, all traffic is the champion's.
    back = {action.from_version: 100}
    await _hand_over(action.model, action.from_version, action.version, back, proposal, before, actor, tools)
    return Rollback(model=action.model, from_version=action.version, to_version=action.from_version)


async def begin(
    action: StartRollout, proposal: Proposal, before: WorldState, actor: str, tools: Toolbox
) -> tuple[Action, Standing]:
    """The first stage, and the route as that left it. The alias says who the challenger is; it serves nobody by itself."""
    if before.champion != action.from_version or before.route_generation is None:
        raise Conflict(f"{action.model}: the champion is {before.champion}, not {action.from_version}")
    if (await tools.traffic.state(action.model)).token == before.route_generation:
        # Else the traffic has been moved, and who has moved the alias since has it.
        await _name_challenger(action, proposal, actor, tools)
    made = await asked_for(action, proposal, before, tools)
    return AbortRollout(model=action.model, version=action.version, to_version=action.from_version), made


async def asked_for(action: StartRollout | StartExperiment, proposal: Proposal, before: WorldState, tools: Toolbox) -> Standing:
    """The traffic that it begins with, by its key. Raises PermanentError when it was not asked for, and cannot be any more."""
    expected = before.route_generation
    if expected is None:
        raise Conflict(f"the route of {action.model} is not known")
    if isinstance(action, StartRollout):
        return await tools.traffic.begin(_plan(action, proposal.id), expected=expected, key=f"{proposal.id}/stage/0")
    return await tools.traffic.split(
        action.model, action.weights, salt=proposal.id, expected=expected, key=f"{proposal.id}/arms"
    )


async def _name_challenger(action: StartRollout, proposal: Proposal, actor: str, tools: Toolbox) -> None:
    carried = await tools.registry.alias(action.model, Alias.CHALLENGER)
    if carried == action.version:
        return
    await tools.registry.set_alias(
        action.model,
        Alias.CHALLENGER,
        action.version,
        expected=carried,
        key=f"{proposal.id}/challenger",
        actor=actor,
        reason=proposal.finding.summary,
    )


async def retire(model: str, version: str, proposal: Proposal, actor: str, tools: Toolbox) -> None:
    """Nobody is challenger, if the version still is. Whoever else has become it stays."""
    if await tools.registry.alias(model, Alias.CHALLENGER) != version:
        return
    await tools.registry.set_alias(
        model,
        Alias.CHALLENGER,
        None,
        expected=version,
        key=f"{proposal.id}/no-challenger",
        actor=actor,
        reason=f"its rollout is over: {proposal.title}",
    )


async def shift(action: StartRollout, key: str, stage: int, generation: int, tools: Toolbox) -> Standing:
    return await tools.traffic.shift(_plan(action, key), stage, expected=generation, key=f"{key}/stage/{stage}")


async def abort(action: AbortRollout, proposal: Proposal, before: WorldState, tools: Toolbox) -> None:
    if before.route_generation is None or (before.champion not in (None, action.to_version) and not action.blind):
        raise Conflict(f"{action.model}: the champion is {before.champion}, not {action.to_version}")
    await tools.traffic.abort(action.model, action.to_version, expected=before.route_generation, key=f"{proposal.id}/route")


async def split(action: StartExperiment, proposal: Proposal, before: WorldState, tools: Toolbox) -> tuple[Action, Standing]:
    """The arms, and the route as that left it. The salt is the proposal's own: no two experiments part the same customers."""
    if before.champion != action.from_version or before.route_generation is None:
        raise Conflict(f"{action.model}: the champion is {before.champion}, not {action.from_version}")
    made = await asked_for(action, proposal, before, tools)
    return StopExperiment(model=action.model, versions=action.versions, to_version=action.from_version), made


async def unite(action: StopExperiment, proposal: Proposal, before: WorldState, tools: Toolbox) -> None:
    if before.route_generation is None or (before.champion not in (None, action.to_version) and not action.blind):
        raise Conflict(f"{action.model}: the champion is {before.champion}, not {action.to_version}")
    await tools.traffic.abort(action.model, action.to_version, expected=before.route_generation, key=f"{proposal.id}/route")


def _plan(action: StartRollout, key: str) -> Plan:
    steps = tuple(round(100 * stage.weight) for stage in action.stages)
    return Plan(
        key=key,
        model=action.model,
        version=action.version,
        from_version=action.from_version,
        steps=steps,
        mirror=round(100 * action.stages[0].mirror),
    )


async def _hand_over(
    model: str,
    old: str,
    new: str,
    back: dict[str, int],
    proposal: Proposal,
    before: WorldState,
    actor: str,
    tools: Toolbox,
) -> None:
    """All traffic and the champion alias from `old` to `new`; `back`: the weights where the alias stays with `old`."""
    if before.champion != old or before.route_generation is None:
        raise Conflict(f"{model}: the champion is {before.champion}, not {old}")
    moved = await tools.traffic.give(model, new, expected=before.route_generation, key=f"{proposal.id}/route")
    await _still_ours(model, old, moved, tools)
    try:
        await tools.registry.set_alias(
            model,
            Alias.CHAMPION,
            new,
            expected=old,
            key=f"{proposal.id}/alias",
            actor=actor,
            reason=proposal.finding.summary,
        )
    except PermanentError as error:
        # Somebody else moved the alias meanwhile, and theirs stands; or it may not be moved. Our half goes by where it is now.
        weights = await _follow_the_alias(model, old, back, moved, proposal, tools)
        raise PermanentError(f"the alias could not be moved, the weights are back on {weights}: {error}") from error


async def _follow_the_alias(
    model: str, old: str, back: dict[str, int], moved: Standing, proposal: Proposal, tools: Toolbox
) -> dict[str, int]:
    """The traffic to whom the alias names by now, and else back. Returns the weights that it gave.

    Raises PermanentError when it could do neither: somebody has the route in hand, or nothing can be loaded.
    """
    champion = await tools.registry.alias(model, Alias.CHAMPION)
    key = f"{proposal.id}/route-back"
    if champion is not None and champion != old:
        try:
            given = await tools.traffic.give(model, champion, expected=moved.token, key=f"{key}/{champion}")
        except Conflict:
            raise
        except PermanentError as error:
            log.warning("alias.not_servable", model=model, version=champion, reason=str(error))
        else:
            return given.weights
    return (await tools.traffic.restore(model, back, expected=moved.token, key=key)).weights


async def _still_ours(model: str, old: str, moved: Standing, tools: Toolbox) -> None:
    """A repetition finds our change by its key, also when somebody has changed the route again since: theirs stands then, and
    the alias is left alone, unless we had moved it before and nothing but the receipt was missing."""
    now = await tools.traffic.state(model)
    if now.token == moved.token:
        return
    if await tools.registry.alias(model, Alias.CHAMPION) == old:
        raise Conflict(f"somebody has changed the route of {model} to {now.weights} before the rollback was through")
