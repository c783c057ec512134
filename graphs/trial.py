"""An experiment on its way: looked at until it ends; what pays is registered, and goes to the cost specialist to be rolled out.

Where it does not pay the run ends with the figures, and nothing is proposed.
"""

from decimal import Decimal
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.actions import Quantize
from agents.cost import quantization
from agents.cost.optimization import Figure, Optimization, Trial
from agents.cost.quantization import Worth
from agents.policies import Mode
from agents.proposals import Proposal, Receipt
from agents.quantization_job import Ordered, follow, key_of
from agents.routing import Specialist
from agents.verification import Status, Verification
from graphs import execution
from graphs.context import Context
from graphs.quantizing import job_prices
from graphs.state import Ended, Outcome, RunState
from tools.errors import PermanentError
from tools.jobs.port import MIB, Resources, job_name
from tools.jobs.prices import cost_of
from tools.registry.quantizations import Quantization


def begun(optimization: Optimization | None, proposal: Proposal, receipt: Receipt) -> Optimization:
    action = proposal.action
    if optimization is None or not isinstance(action, Quantize):
        raise TypeError(f"{proposal.id} begins no experiment")
    name = job_name(key_of(proposal.run_id, action.version))
    ordered = Ordered(model=action.model, version=action.version, job=name, begun_at=receipt.started_at)
    return optimization.model_copy(update={"ordered": ordered})


async def attend(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    context, optimization = runtime.context, state.get("optimization")
    if optimization is None or optimization.ordered is None:
        raise TypeError("no experiment is under way")
    ordered, now = optimization.ordered, context.clock.now()
    rules, tools = context.policies.quantization_of(ordered.model), context.tools
    try:
        job = await tools.jobs.state(ordered.job)
        versions = await tools.registry.versions(ordered.model) if job.final and ordered.registers else ()
        looked = follow(ordered, job, versions)
        if looked.status is Status.HOLDS and not ordered.registers:
            return await _weighed(state, optimization, ordered, context)
    except PermanentError as error:
        return _failed(f"what became of the experiment {ordered.job} cannot be found out: {error}")
    update: dict[str, Any] = {"verification": Verification(status=looked.status, reason=looked.reason, at=now)}
    match looked.status:
        case Status.WAITING:
            return Command(goto="wait", update={**update, "wake_at": now + rules.look_every})
        case Status.FAILED:
            return Command(goto="report", update={**update, **Ended(outcome=Outcome.FAILED, reason=looked.reason)})
        case Status.HOLDS:
            made = optimization.model_copy(update={"version": looked.produced})
            update |= {"optimization": made, "specialist": Specialist.COST}
            # The next proposal takes the place of this one and of what became of it.
            await context.timeline.tell({**state, **update})  # type: ignore[typeddict-item]
            return Command(goto="cost", update=update)


async def _weighed(state: RunState, optimization: Optimization, ordered: Ordered, context: Context) -> Command[Any]:
    """What it is worth by what was measured; what pays is registered."""
    now, rules = context.clock.now(), context.policies.quantization_of(ordered.model)
    found = await context.tools.registry.quantization(ordered.model, ordered.version)
    if found is None:
        return _failed(f"The experiment {ordered.job} ended well, but left nothing that was measured of these files.")
    try:
        worth = quantization.weigh(found, rules, rules.prices or job_prices(ordered.model, context))
    except ValueError as error:
        return _failed(f"What was measured cannot be weighed: {error}")
    trial = await _told(ordered, found, worth, context)
    optimization = optimization.model_copy(update={"trial": trial})
    update: dict[str, Any] = {"optimization": optimization}
    if not trial.pays:
        verification = Verification(status=Status.HOLDS, reason=trial.reason, at=now)
        ended = Ended(outcome=Outcome.NO_ACTION, reason=f"Nothing is changed: {trial.reason}")
        return Command(goto="report", update={**update, "verification": verification, **ended})
    if await context.mode() is Mode.OBSERVE:
        # Nothing is begun then, and nothing is given up: what was measured is weighed again later.
        return Command(goto="wait", update={**update, "wake_at": now + rules.look_every})
    registering = await execution.register(ordered, found.artefact, state["run_id"], context)
    update["optimization"] = optimization.model_copy(update={"ordered": registering})
    return Command(goto="wait", update={**update, "wake_at": now + rules.look_every})


async def _told(ordered: Ordered, found: Quantization, worth: Worth, context: Context) -> Trial:
    figures = [
        Figure(name="size", before=found.original_bytes, after=found.quantized_bytes, unit="bytes"),
        *(Figure(name=f"{f.name} ({f.window})", before=f.champion, after=f.candidate) for f in found.facts.compared[:6]),
        *(
            Figure(name=f"{name} in batches of {batch.rows}", before=before, after=after, unit="ms")
            for batch in found.batches
            for name, before, after in (
                ("p50", batch.original.p50_ms, batch.quantized.p50_ms),
                ("p99", batch.original.p99_ms, batch.quantized.p99_ms),
            )
        ),
    ]
    if worth.cost is not None:
        before, after = float(worth.cost.original), float(worth.cost.quantized)
        figures.append(Figure(name="cost of 1,000 predictions", before=before, after=after, unit=worth.cost.currency))
    cost, currency = await _cost(ordered, context)
    return Trial(
        job=ordered.job,
        pays=worth.pays,
        reason=worth.reason,
        low=worth.saving.low,
        high=worth.saving.high,
        figures=tuple(figures),
        cost=cost,
        currency=currency,
    )


async def _cost(ordered: Ordered, context: Context) -> tuple[Decimal | None, str | None]:
    """Of the job, by what was reserved for it; the ledger has it within the hour."""
    rules, prices = context.policies.quantization_of(ordered.model), job_prices(ordered.model, context)
    if prices is None:
        return None, None
    usage = await context.tools.jobs.usage(ordered.job)
    cost = cost_of(Resources(cpu=rules.cpu, memory_bytes=rules.memory_mib * MIB), usage.wall_seconds, prices)
    return cost.amount, cost.currency


def _failed(reason: str) -> Command[Any]:
    return Command(goto="report", update=Ended(outcome=Outcome.FAILED, reason=reason))
