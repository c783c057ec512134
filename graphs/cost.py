"""The cost specialist: what of the ledger need not be, one thing to do about it, and what comes of an experiment."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from agents.alerts import Alert
from agents.cost.case import CostCase
from agents.cost.optimization import Optimization
from agents.cost.review import review
from agents.cost.rollout import expecting, roll_out
from agents.evidence import Recommendation
from graphs.context import Context
from graphs.costing import survey
from graphs.gathering import Sources
from tools.values import Window


class Case(TypedDict):
    alerts: tuple[Alert, ...]
    optimization: Optimization | None


class Measured(TypedDict):
    case: CostCase
    slow_ms: float | None


class Concluded(TypedDict):
    recommendation: Recommendation
    optimization: Optimization | None


class CostState(Case, Measured, Concluded): ...


async def gather(state: Case, runtime: Runtime[Context]) -> Measured:
    context, now = runtime.context, runtime.context.clock.now()
    earlier = state.get("optimization")
    readers, policies = context.tools.readers, context.policies
    case = await survey(state["alerts"], earlier, readers, context.ledger, policies, context.prices, now)
    slow_ms = None
    if earlier is not None and earlier.trial is not None and case.model is not None and case.champion is not None:
        window = Window(start=now - policies.investigation.window, end=now)
        served = await Sources().ask("predictions", readers.predictions.versions(case.model, window), ())
        of_it = next((each for each in served if each.version == case.champion), None)
        if of_it is not None and of_it.count >= policies.investigation.min_predictions:
            slow_ms = of_it.latency_p99_ms
    return {"case": case, "slow_ms": slow_ms}


async def conclude(state: Measured, runtime: Runtime[Context]) -> Concluded:
    case, policies, now = state["case"], runtime.context.policies, runtime.context.clock.now()
    earlier, mirrors = case.earlier, runtime.context.tools.traffic.mirrors
    if earlier is not None and earlier.trial is not None and earlier.version is not None:
        # Whatever moves meanwhile: what was measured is not measured again.
        known = expecting(earlier, earlier.trial, case)
        return {
            "recommendation": roll_out(known, earlier.trial, case, state["slow_ms"], policies, now, mirrors=mirrors),
            "optimization": known,
        }
    found = review(case, policies, now)
    return {"recommendation": found.recommendation, "optimization": found.optimization}


def build() -> Any:
    """The subgraph; what it measured stays inside."""
    graph = StateGraph(CostState, context_schema=Context, input_schema=Case, output_schema=Concluded)
    graph.add_node("gather", gather)
    graph.add_node("conclude", conclude)
    graph.add_edge(START, "gather")
    graph.add_edge("gather", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile()
