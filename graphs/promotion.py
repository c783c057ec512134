"""The promotion specialist: what the candidate is worth beside the champion, and whether it may be tried on traffic."""

from collections.abc import Sequence
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from agents.alerts import Alert
from agents.evidence import Recommendation
from agents.examination import Examination
from agents.policies import Policies
from agents.promotion.assess import assess
from agents.promotion.case import PromotionCase
from agents.promotion.recommend import recommend
from agents.requests import Request, request_of
from agents.subjects import model_of, version_of
from graphs.context import Context
from graphs.gathering import Sources
from tools.registry.port import Alias
from tools.values import Window


class Case(TypedDict):
    alerts: tuple[Alert, ...]
    candidate: str | None
    examination: Examination | None


class Measured(TypedDict):
    case: PromotionCase


class Concluded(TypedDict):
    recommendation: Recommendation


class PromotionState(Case, Measured, Concluded): ...


def named(alerts: Sequence[Alert], made: str | None, policies: Policies) -> tuple[str | None, str | None, Request | None]:
    """Model, candidate, and what was asked for; `made`: the version that a training of this run has made."""
    request = request_of(alerts)
    model = next((name for alert in alerts if (name := model_of(alert, policies.intake)) is not None), None)
    asked = request.version if request is not None else None
    candidate = made or asked or next(filter(None, (version_of(a, policies.intake) for a in alerts)), None)
    return model, candidate, request


async def gather(state: Case, runtime: Runtime[Context]) -> Measured:
    context, alerts, sources = runtime.context, state["alerts"], Sources()
    policies, readers, now = context.policies, context.tools.readers, context.clock.now()
    model, candidate, request = named(alerts, state.get("candidate"), policies)
    case = PromotionCase(alerts=alerts, model=model, candidate=candidate, request=request)
    if model is None or candidate is None:
        return {"case": case}
    champion = await sources.ask("registry", readers.registry.alias(model, Alias.CHAMPION), None)
    evaluation = claim = None
    if champion is not None and champion != candidate:
        evaluation = await sources.ask("registry", readers.registry.evaluation(model, candidate, champion), None)
        # What cannot be read claims nothing.
        claim = await Sources().ask("registry", readers.registry.claim(model, candidate, champion), None)
    examination = state.get("examination")
    beside = examination is not None and champion is not None and examination.beside(model, candidate, champion)
    spec = await sources.ask("registry", readers.registry.serving(model, candidate), None)
    window = Window(start=now - policies.investigation.window, end=now)
    versions = await sources.ask("predictions", readers.predictions.versions(model, window), ())
    served = next((each for each in versions if each.version == champion), None)
    enough = served is not None and served.count >= policies.investigation.min_predictions
    update = {
        "champion": champion,
        "evaluation": evaluation,
        "claim": claim,
        "unproven": examination.unproven if beside and examination is not None else "",
        "slow_ms": served.latency_p99_ms if served is not None and enough else None,
        "answers": "numbers" if spec is not None and spec.task == "regression" else "classes",
        "missing": sources.missing,
    }
    return {"case": case.model_copy(update=update)}


async def conclude(state: Measured, runtime: Runtime[Context]) -> Concluded:
    case, policies, now = state["case"], runtime.context.policies, runtime.context.clock.now()
    return {"recommendation": recommend(assess(case, policies, now), case, policies, now)}


def build() -> Any:
    """The subgraph; what it measured stays inside, only the recommendation leaves it."""
    graph = StateGraph(PromotionState, context_schema=Context, input_schema=Case, output_schema=Concluded)
    graph.add_node("gather", gather)
    graph.add_node("conclude", conclude)
    graph.add_edge(START, "gather")
    graph.add_edge("gather", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile()
