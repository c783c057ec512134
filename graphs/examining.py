"""A candidate on its way to the promotion specialist: evaluated first, by a job of the platform's own.

Whoever trains has no part in it: the job, its rows and its key are the platform's (docs/adr/0008). The name of the job follows
from the run, the candidate and the champion, so a repetition is the same job, and another champion is another evaluation.
"""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.actions import Retrain
from agents.examination import Examination, follow, key_of, spec_of, stands, windows
from agents.policies import Mode
from agents.verification import Status
from graphs import execution
from graphs.context import Context
from graphs.labelled import labelled_traffic, left_out_of
from graphs.promotion import named
from graphs.state import RunState
from tools.errors import PermanentError
from tools.jobs.port import job_name
from tools.registry.port import Alias


def examining(state: RunState) -> bool:
    """Whether the run waits for an evaluation."""
    examination = state.get("examination")
    return examination is not None and not examination.ended


async def examine(state: RunState, runtime: Runtime[Context]) -> Command[Any]:
    """To the promotion specialist as soon as there is an evaluation, or it is known why there is none."""
    context = runtime.context
    model, candidate, _ = named(state["alerts"], state.get("candidate"), context.policies)
    if model is None or candidate is None:
        return Command(goto="promotion")
    now, rules = context.clock.now(), context.policies.evaluation_of(model)
    examination = state.get("examination")
    try:
        champion = await context.tools.registry.alias(model, Alias.CHAMPION)
        if champion is None or champion == candidate:
            return Command(goto="promotion")
        if examination is not None and examination.beside(model, candidate, champion):
            if examination.ended:
                return Command(goto="promotion")
            if examination.submitted:
                looked = follow(await context.tools.jobs.state(examination.job))
                if looked.status is Status.WAITING:
                    return Command(goto="wait", update={"wake_at": now + rules.look_every})
                return _ended(examination, looked.reason if looked.status is Status.FAILED else "")
    except PermanentError as error:
        if examination is None:
            return Command(goto="promotion")
        return _ended(examination, f"what became of its evaluation cannot be found out: {error}")
    if await _evaluated(model, candidate, champion, context):
        return Command(goto="promotion", update={"examination": None})
    key = key_of(state["run_id"], candidate, champion)
    examination = Examination(model=model, candidate=candidate, champion=champion, job=job_name(key), begun_at=now)
    postponed = examination.model_copy(update={"submitted": False})
    if await context.mode() is Mode.OBSERVE and not await execution.submitted(examination.job, context):
        # Nothing is begun then, and nothing is given up: a candidate outlives the kill switch, as a rollout does.
        return Command(goto="wait", update={"examination": postponed, "wake_at": now + rules.look_every})
    if (hindered := await _begun(key, examination, state, context)) is not None:
        return _ended(postponed, hindered)
    return Command(goto="wait", update={"examination": examination, "wake_at": now + rules.look_every})


def _ended(examination: Examination, unproven: str) -> Command[Any]:
    told = examination.model_copy(update={"ended": True, "unproven": unproven[:1_000]})
    return Command(goto="promotion", update={"examination": told})


async def _evaluated(model: str, candidate: str, champion: str, context: Context) -> bool:
    """What lies there and is none of ours, or is of other files, or has grown old, is evaluated anew."""
    try:
        found = await context.tools.registry.evaluation(model, candidate, champion)
    except PermanentError:
        return False
    return found is not None and stands(found, context.policies.evaluation_of(model), context.clock.now())


async def _begun(key: str, examination: Examination, state: RunState, context: Context) -> str | None:
    """Why there will be no evaluation; None: its job is there."""
    if await execution.submitted(examination.job, context):
        return None
    model, policies = examination.model, context.policies
    rules, training = policies.evaluation_of(model), _training(state, examination)
    if rules.command is None:
        return f"policy names no evaluation (models.{model}.evaluation.command)"
    delay = policies.rollouts_of(model).label_delay
    held_out, recent = windows(rules, training, delay, examination.begun_at)
    try:
        left_out = await left_out_of(model, [each for each in (held_out, recent) if each is not None], context)
        traffic = await labelled_traffic(model, recent, rules.recent_rows, left_out, context) if recent is not None else ""
        if not rules.source and not traffic:
            return (
                f"there are no labelled rows to evaluate it on: policy names no source (models.{model}.evaluation.source), and "
                "no labelled traffic of late is on record"
            )
        spec = spec_of(
            examination,
            state["run_id"],
            rules,
            policies.training_of(model),
            held_out=held_out if rules.source else None,
            recent=recent,
            left_out=left_out,
            traffic=traffic,
            least_group=policies.evaluations_of(model).min_rows,
        )
        await execution.examine(key, spec, context)
    except PermanentError as error:
        return f"it could not be evaluated: {error}"
    return None


def _training(state: RunState, examination: Examination) -> Retrain | None:
    """What has made the candidate, where this run has."""
    proposal = state.get("proposal")
    made = proposal is not None and state.get("candidate") == examination.candidate
    return proposal.action if made and proposal is not None and isinstance(proposal.action, Retrain) else None
