"""Experiments: asked for like anything else that changes what serves, read while they go on, and stopped by hand."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from agents.experiment_facts import Goal
from agents.experiment_plans import MEASURED, MOST_ARMS, Plan, Treatment, goal_flaw
from api.problems import Clash, FieldError, Invalid, NotFound
from api.store import experiments
from api.store.records import ExperimentRecord
from api.store.sessions import ReadSession, Transaction
from api.store.text import storable
from api.web import auth
from api.web.asking import TriggeredView, ask
from api.web.dependencies import Cursor, Limit, Needs, json_only
from api.web.experiment_examples import REQUEST
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.services import Services
from api.web.views import PageView, View, paged
from tools.errors import PermanentError
from tools.registry.port import Alias
from tools.values import Duration

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

Name = Annotated[str, Field(min_length=1, max_length=200)]


class ArmBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Name
    weight: int = Field(ge=1, le=99)
    """Percent of the entities."""


class ExperimentBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [REQUEST]}, use_attribute_docstrings=True)

    model: Name
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    arms: Annotated[list[ArmBody], Field(min_length=2, max_length=MOST_ARMS)]
    """Their weights add up to 100; one of them is the champion, which is the control."""
    goal: Goal
    guardrails: Annotated[list[Goal], Field(max_length=10)] = []
    slow_ms: Annotated[float | None, Field(gt=0)] = None
    """An answer that takes longer is slow; needed where `slow` is looked at."""
    outcomes_after: Duration | None = None
    """Labels of entities that were first seen more recently are not looked at, and values of an entity are counted for so long
    (ISO 8601, or such as `36h`)."""
    shortest: Duration | None = None
    """No winner before; null: what policy says."""
    longest: Duration | None = None
    """Without a winner by then it is inconclusive; null: what policy says."""


class StopBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the campaign is over"}]})

    reason: str = Field(min_length=1, max_length=2_000)


class ExperimentView(View):
    id: str
    model: str
    control: str
    """The champion."""
    plan: dict[str, Any]
    """Treatments with their weights (the control has the rest), goal and guardrails, as approved."""
    rules: dict[str, Any]
    """Levels and durations of policy, as approved."""
    status: Literal["running", "promoted", "rolled_out", "stopped", "left"]
    """`stopped`: the control has all the traffic. `rolled_out`: its winner is being rolled out. `left`: somebody else has
    changed the traffic, or it could not be ended; people have it."""
    ending: Literal["", "winner", "harmful", "loser", "mismatch", "inconclusive", "stopped", "given_up", "unseen", "left"]
    """What it is ended for; empty while it goes on."""
    look: dict[str, Any] | None
    """The latest one: `units` by arm, `mixed` and `anonymous`, and the `outcome`: what is called of each arm, effects with
    their confidence sequence, and as `mismatch` the p-value of the split. Null before the first."""
    reason: str
    ordered: Literal["stop"] | None
    ordered_by: str | None
    order_reason: str | None
    proposal_id: str
    run_id: str
    incident_id: str
    """Its timeline, also live, is at `/v1/incidents/{id}/events`."""
    began_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class LookView(View):
    at: datetime
    look: dict[str, Any]


@router.post("", status_code=202, response_model=TriggeredView, responses=answers(404, 409), dependencies=[Depends(json_only)])
async def start_experiment(
    body: ExperimentBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
) -> TriggeredView | JSONResponse:
    """Ask for an experiment. What is known of its arms is looked at first, and somebody else has to approve.

    Refused (409) while the model has a rollout or another experiment under way.
    """
    if (earlier := await once.earlier()) is not None:
        return earlier
    plan = _plan(body, await _champion(body, needs))
    return await ask("experiment", {"model": body.model, "reason": body.reason, "plan": plan}, needs, who.name, once)


@router.get("")
async def list_experiments(
    needs: Needs,
    _who: auth.CanView,
    model: Annotated[str | None, Query(description="Only those of this model.")] = None,
    open_only: Annotated[bool, Query(alias="open", description="Only those that are not over.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[ExperimentView]:
    """Newest first; each is here once its arms are in force."""
    async with needs.database.read() as session:
        page = await experiments.page(session, model=model, open_only=open_only, limit=limit, cursor=cursor)
    return paged(page, ExperimentView)


@router.get("/{experiment_id}")
async def show_experiment(experiment_id: str, needs: Needs, _who: auth.CanView) -> ExperimentView:
    async with needs.database.read() as session:
        return ExperimentView.model_validate(await _known(session, experiment_id))


@router.get("/{experiment_id}/looks")
async def list_looks(
    experiment_id: str, needs: Needs, _who: auth.CanView, limit: Limit = 50, cursor: Cursor = None
) -> PageView[LookView]:
    """What was called and measured over time, newest first."""
    async with needs.database.read() as session:
        known = await _known(session, experiment_id)
        page = await experiments.looks(session, known.proposal_id, limit=limit, cursor=cursor)
    return paged(page, LookView)


@router.post("/{experiment_id}/stop", response_model=ExperimentView, responses=answers(409), dependencies=[Depends(json_only)])
async def stop_experiment(
    experiment_id: str, body: StopBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
) -> ExperimentView | JSONResponse:
    """The control gets all traffic back, at once. It stands: what is to be stopped does not go on."""
    if (earlier := await once.earlier()) is not None:
        return earlier

    async def remember(transaction: Transaction, record: ExperimentRecord) -> None:
        await once.remember(transaction, ExperimentView.model_validate(record))

    try:
        record = await needs.experiments.stop(experiment_id, by=who.name, reason=body.reason, then=remember)
    except Clash:
        # Perhaps by this very request, which came twice at once.
        if (earlier := await once.earlier()) is not None:
            return earlier
        raise
    await needs.wake(record.run_id)
    return ExperimentView.model_validate(record)


async def _known(session: ReadSession, experiment_id: str) -> ExperimentRecord:
    record = await experiments.get(session, experiment_id)
    if record is None:
        raise NotFound(f"there is no experiment {experiment_id[:64]!r}")
    return record


async def _champion(body: ExperimentBody, needs: Services) -> str:
    """Raises NotFound for a model or version that is not there, and Invalid where there is no champion among the arms."""
    if needs.gates is not None:
        raise Clash("traffic is moved by Flagger here, which keeps no entity with its arm: experiments need the gateway")
    try:
        versions = [each.version for each in await needs.registry.versions(body.model)] if storable(body.model) else []
        champion = await needs.registry.alias(body.model, Alias.CHAMPION) if versions else None
    except PermanentError:
        versions, champion = [], None
    if not versions:
        raise NotFound(f"there is no model {body.model!r} in the registry")
    for place, arm in enumerate(body.arms):
        if arm.version not in versions:
            some = f"there are {', '.join(versions[:10])}"
            _refuse((f"arms[{place}].version", f"{body.model} has no version {arm.version[:100]!r}: {some}"))
    if champion is None:
        raise Clash(f"{body.model} has no champion that could be the control: promote a version first")
    if champion not in {arm.version for arm in body.arms}:
        _refuse(("arms", f"one of them has to be champion {champion}, which is the control"))
    return champion


def _plan(body: ExperimentBody, champion: str) -> Plan:
    """Raises Invalid, with the field."""
    faults: list[tuple[str, str]] = []
    seen: set[str] = set()
    for place, arm in enumerate(body.arms):
        if arm.version in seen:
            faults.append((f"arms[{place}].version", f"version {arm.version} has an arm already"))
        seen.add(arm.version)
    if (total := sum(arm.weight for arm in body.arms)) != 100:
        faults.append(("arms", f"the weights add up to {total}, not 100"))
    named: set[str] = set()
    goals = {"goal": body.goal, **{f"guardrails[{place}]": goal for place, goal in enumerate(body.guardrails)}}
    for where, goal in goals.items():
        if flaw := goal_flaw(goal):
            field, _, detail = flaw.partition(": ")
            faults.append((f"{where}.{field}", detail))
        if goal.name in named:
            faults.append((f"{where}.name", f"{goal.name} is looked at already"))
        named.add(goal.name)
    if "slow" in named and body.slow_ms is None:
        faults.append(("slow_ms", "say from which time on an answer is slow"))
    if (metrics := sorted(named - set(MEASURED))) and not body.outcomes_after:
        faults.append(("outcomes_after", f"say for how long {metrics[0]} is counted from an entity's first answer on"))
    if body.shortest is not None and body.longest is not None and body.longest < body.shortest:
        faults.append(("longest", "an experiment lasts at least as long as its shortest"))
    if faults:
        _refuse(*faults)
    given = {name: value for name in ("outcomes_after",) if (value := getattr(body, name)) is not None}
    return Plan(
        treatments=tuple(Treatment(version=arm.version, weight=arm.weight) for arm in body.arms if arm.version != champion),
        goal=body.goal,
        guardrails=tuple(body.guardrails),
        slow_ms=body.slow_ms,
        shortest=body.shortest,
        longest=body.longest,
        **given,
    )


def _refuse(*faults: tuple[str, str]) -> None:
    raise Invalid(
        "the experiment cannot be carried out as it is",
        errors=tuple(FieldError(field=field, detail=detail) for field, detail in faults),
    )
