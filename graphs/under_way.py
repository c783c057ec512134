"""What a run has under way on its model's traffic: a rollout or an experiment, one at a time.

The supervisor asks here and need not know which: either is looked at, and given back where it may not go on.
"""

from datetime import datetime
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.actions import AbortRollout, Catalogue, StartExperiment, StartRollout, StopExperiment, WorldState
from agents.proposals import Proposal
from graphs import experimenting, rolling
from graphs.context import Context
from graphs.state import RunState
from tools.rollouts.port import Standing

ENDS = (AbortRollout, StopExperiment)
"""What ends it, and so is carried out also when it is not to go on."""


def under_way(state: RunState) -> bool:
    return experimenting.under_way(state) or rolling.under_way(state)


async def look(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    return await (experimenting.look if experimenting.under_way(state) else rolling.look)(state, runtime)


async def give_back(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    return await (experimenting.give_back if experimenting.under_way(state) else rolling.give_back)(state, runtime)


async def overtaken(state: RunState, context: Context) -> str | None:
    """Why what the last look decided is not carried out before another one; None: it is."""
    return await (experimenting.overtaken if experimenting.under_way(state) else rolling.overtaken)(state, context)


def giving_up(state: RunState, reason: str, route: int | None = None) -> dict[str, Any]:
    """`route`: its token as we have left it, where we have touched it."""
    giving = experimenting.giving_up if experimenting.under_way(state) else rolling.giving_up
    return dict(giving(state, reason, route))


def model_of(state: RunState) -> str:
    """Whose traffic it is about."""
    if (experiment := state.get("experiment")) is not None and not experiment.over:
        return experiment.action.model
    rollout = state.get("rollout")
    assert rollout is not None
    return rollout.action.model


def not_begun(proposal: Proposal, route: Standing, reason: str, at: datetime) -> dict[str, Any]:
    """What failed while it was begun, and has the traffic at `route` all the same, as something under way that is given up."""
    after = WorldState(route_generation=route.token, weights=route.weights)
    match proposal.action:
        case StartRollout() as start:
            return {"rollout": rolling.begun(proposal.id, start, after, at).model_copy(update={"given_up": reason})}
        case StartExperiment() as tried:
            return {"experiment": experimenting.begun(proposal.id, tried, after, at).model_copy(update={"given_up": reason})}
        case _:
            raise TypeError(f"{proposal.id} begins nothing")


def over(state: RunState, action: Catalogue) -> dict[str, Any]:
    """What is ended by an action that changes the route for good. `action`: carried out."""
    ended: dict[str, Any] = {}
    if (rollout := state.get("rollout")) is not None:
        ended["rollout"] = rollout.model_copy(update={"over": True})
    if (experiment := state.get("experiment")) is not None:
        # What has ended it may be followed by something else: that does not end it again.
        by = experiment.ended_by or action.kind
        ended["experiment"] = experiment.model_copy(update={"over": True, "ended_by": by})
    return ended
