"""The incident specialist: gather what the platform knows, assess it, recommend one action, or hand the case over."""

from datetime import datetime
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from agents.alerts import Alert
from agents.evidence import Recommendation
from agents.incident.assess import assess
from agents.incident.handing import hand_over
from agents.incident.observations import Observations
from agents.incident.patience import again_at
from agents.incident.recommend import recommend
from agents.routing import HandOver
from graphs.context import Context
from graphs.gathering import observe
from tools.errors import TemporaryError


class Case(TypedDict):
    alerts: tuple[Alert, ...]


class Gathered(TypedDict):
    observations: Observations


class Concluded(TypedDict):
    recommendation: Recommendation
    handover: HandOver | None
    """Another specialist's case, if that one finds something to do; else the recommendation stands."""
    again_at: datetime | None
    """When it is looked at again before anything is done, because it is too early to tell."""


class IncidentState(Case, Gathered, Concluded): ...


async def gather(state: Case, runtime: Runtime[Context]) -> Gathered:
    context = runtime.context
    return {"observations": await observe(state["alerts"], context.tools.readers, context.policies, context.clock.now())}


async def conclude(state: Gathered, runtime: Runtime[Context]) -> Concluded:
    observations, policies, now = state["observations"], runtime.context.policies, runtime.context.clock.now()
    finding = assess(observations, policies, now)
    recommended = recommend(finding, observations, policies, now)
    over = hand_over(recommended, observations, policies.investigation.min_labels)
    again = again_at(recommended, observations, policies.investigation, now) if over is None else None
    return {"recommendation": recommended, "handover": over, "again_at": again}


def build() -> Any:
    """The subgraph; what it gathered stays inside, only the recommendation leaves it."""
    graph = StateGraph(IncidentState, context_schema=Context, input_schema=Case, output_schema=Concluded)
    graph.add_node("gather", gather, retry_policy=RetryPolicy(retry_on=TemporaryError))
    graph.add_node("conclude", conclude)
    graph.add_edge(START, "gather")
    graph.add_edge("gather", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile()
