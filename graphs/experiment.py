"""The experiment specialist: what is known of the arms that somebody wants tried, and whether they may be."""

import asyncio
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from agents.alerts import Alert
from agents.evidence import Recommendation
from agents.experiment_request import ExperimentCase, recommend
from agents.requests import request_of
from graphs.context import Context
from graphs.gathering import Sources
from tools.registry.port import Alias


class Case(TypedDict):
    alerts: tuple[Alert, ...]


class Gathered(TypedDict):
    experiment_case: ExperimentCase


class Concluded(TypedDict):
    recommendation: Recommendation


class ExperimentState(Case, Gathered, Concluded): ...


async def gather(state: Case, runtime: Runtime[Context]) -> Gathered:
    registry, sources = runtime.context.tools.readers.registry, Sources()
    request = request_of(state["alerts"])
    case = ExperimentCase(alerts=state["alerts"], request=request)
    if request is None or request.plan is None:
        return {"experiment_case": case}
    champion = await sources.ask("registry", registry.alias(request.model, Alias.CHAMPION), None)
    versions = [each.version for each in request.plan.treatments]
    found = await asyncio.gather(
        *(sources.ask("registry", registry.evaluation(request.model, each, champion), None) for each in versions if champion)
    )
    evaluations = {version: each for version, each in zip(versions, found, strict=False) if each is not None}
    update = {"champion": champion, "evaluations": evaluations, "missing": sources.missing}
    return {"experiment_case": case.model_copy(update=update)}


async def conclude(state: Gathered, runtime: Runtime[Context]) -> Concluded:
    return {"recommendation": recommend(state["experiment_case"], runtime.context.policies, runtime.context.clock.now())}


def build() -> Any:
    """The subgraph; what it gathered stays inside, only the recommendation leaves it."""
    graph = StateGraph(ExperimentState, context_schema=Context, input_schema=Case, output_schema=Concluded)
    graph.add_node("gather", gather)
    graph.add_node("conclude", conclude)
    graph.add_edge(START, "gather")
    graph.add_edge("gather", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile()
