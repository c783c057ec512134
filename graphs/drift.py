"""The drift specialist: measure what moved, explain it, recommend one action."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from agents.alerts import Alert
from agents.drift.assess import assess
from agents.drift.case import DriftCase
from agents.drift.recommend import recommend
from agents.drift.rollouts import hand_over
from agents.evidence import Recommendation
from agents.routing import HandOver
from graphs.context import Context
from graphs.drifting import investigate


class Case(TypedDict):
    alerts: tuple[Alert, ...]


class Measured(TypedDict):
    case: DriftCase


class Concluded(TypedDict):
    recommendation: Recommendation
    handover: HandOver | None
    """Another specialist's case, if that one will have it; else the recommendation stands."""


class DriftState(Case, Measured, Concluded): ...


async def gather(state: Case, runtime: Runtime[Context]) -> Measured:
    context = runtime.context
    return {"case": await investigate(state["alerts"], context.tools.readers, context.policies, context.clock.now())}


async def conclude(state: Measured, runtime: Runtime[Context]) -> Concluded:
    case, policies, now = state["case"], runtime.context.policies, runtime.context.clock.now()
    finding = assess(case, now)
    return {"recommendation": recommend(finding, case, policies, now), "handover": hand_over(finding, case, policies)}


def build() -> Any:
    """The subgraph; what it measured stays inside, only the recommendation leaves it."""
    graph = StateGraph(DriftState, context_schema=Context, input_schema=Case, output_schema=Concluded)
    graph.add_node("gather", gather)
    graph.add_node("conclude", conclude)
    graph.add_edge(START, "gather")
    graph.add_edge("gather", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile()
