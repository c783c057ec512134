"""SQL about which versions of a model somebody is still at: see `graphs.context.Ledger.named`."""

from sqlalchemy import select

from agents.actions import ACTION, CHANGES_NOTHING
from agents.experiment_plans import Plan
from agents.naming import versions_asked_for, versions_of
from agents.requests import SOURCE, request_of
from api.store.alerts import to_alert
from api.store.records import ActionRecord, AlertRecord, ApprovalRecord, ExperimentRecord, RolloutRecord, RunRecord
from api.store.sessions import ReadSession
from api.store.text import storable

_OPEN = RunRecord.status.in_(("queued", "running", "waiting"))


async def named(session: ReadSession, model: str) -> frozenset[str]:
    if not storable(model):
        return frozenset()
    return frozenset({*await _proposed(session, model), *await _asked_for(session, model), *await _under_way(session, model)})


async def _proposed(session: ReadSession, model: str) -> set[str]:
    """By runs that have not ended, whatever was answered: what was done is verified, and may be taken back."""
    found: set[str] = set()
    for record in (ApprovalRecord, ActionRecord):
        for proposal in await session.scalars(
            select(record.proposal).join(RunRecord, RunRecord.id == record.run_id).where(_OPEN)
        ):
            action = ACTION.validate_python(proposal["action"])
            if not isinstance(action, CHANGES_NOTHING) and action.model == model:
                found |= versions_of(action)
    return found


async def _asked_for(session: ReadSession, model: str) -> set[str]:
    """What is evaluated first is named by its request alone until then."""
    statement = (
        select(AlertRecord)
        .join(RunRecord, RunRecord.incident_id == AlertRecord.incident_id)
        .where(_OPEN, AlertRecord.source == SOURCE)
    )
    requests = [request_of([to_alert(each)]) for each in await session.scalars(statement)]
    return {each for asked in requests if asked is not None and asked.model == model for each in versions_asked_for(asked)}


async def _under_way(session: ReadSession, model: str) -> set[str]:
    """Also where the run has broken: what it leaves keeps its traffic."""
    rollouts = select(RolloutRecord.version, RolloutRecord.from_version).where(
        RolloutRecord.model == model, RolloutRecord.ended_at.is_(None)
    )
    found = {version for row in await session.execute(rollouts) for version in row}
    experiments = select(ExperimentRecord.control, ExperimentRecord.plan).where(
        ExperimentRecord.model == model, ExperimentRecord.ended_at.is_(None)
    )
    for control, plan in await session.execute(experiments):
        found |= {control, *(each.version for each in Plan.model_validate(plan).treatments)}
    return found
