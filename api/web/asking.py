"""Taking in what somebody asks for: as an alert, of a model and version that are there, once.

A run reads what was asked for when it begins. What a run under way would not read is not taken in: a 202 that nothing follows
is worse than a refusal. A rollback that meets a rollout is what it means there: an order to end it.
"""

from typing import Any

from fastapi.responses import JSONResponse

from agents.requests import Kind, Request, joins, to_alert
from agents.subjects import subject_of
from api.problems import Clash, FieldError, Invalid, NotFound
from api.store import alerts, experiments, ids, incidents, rollouts, runs
from api.store.records import RolloutRecord
from api.store.sessions import Transaction
from api.store.text import storable
from api.web.repeats import Once
from api.web.services import Services
from api.web.views import View
from tools.errors import PermanentError


class TriggeredView(View):
    incident_id: str
    """Where what comes of it is told, live at `/v1/incidents/{id}/events`."""
    joined: bool
    """The model had an open incident, and the request is part of it now: nothing is begun twice."""
    aborts: str | None = None
    """The rollout that was under way, and is ended by this: the champion gets all the traffic back."""


_UNTIL_THEN = {
    "awaiting_approval": "decide what it asks (`oppen approvals list`), which ends it when you say no, and ask again",
    "verifying": (
        "it looks whether what was done holds, and proposes the undo when it does not; what cannot wait for that is "
        "done by hand, traffic first and then the alias (runbook rollback)"
    ),
}
"""Status of an incident -> what to do about what it would not read."""


async def ask(kind: Kind, fields: dict[str, Any], needs: Services, by: str, once: Once) -> TriggeredView | JSONResponse:
    """Raises Clash for what an incident that is open would not read."""
    if (earlier := await once.earlier()) is not None:
        return earlier
    await _known(needs, fields["model"], fields.get("version"))
    if not storable(fields["reason"]):
        raise Invalid("the reason cannot be stored", errors=(FieldError(field="reason", detail="plain text, please"),))
    request = Request(kind=kind, by=by, **fields)
    if kind == "rollback" and (rollout := await _under_way(needs, request.model)) is not None:
        return await _end(rollout, request, needs, once)
    if kind in ("promote", "experiment"):
        await _alone(request, needs)
    now = needs.clock.now()
    key = ids.new("trg", now)
    await _fits(request, key, needs)
    accepted = await needs.intake.accept([to_alert(request, key, now)], actor=by)
    for run_id in accepted.runs:
        await needs.wake(run_id)
    if not accepted.runs:
        # Another request may have been quicker.
        await _fits(request, key, needs)
    view = TriggeredView(incident_id=accepted.incidents[0], joined=not accepted.runs)
    async with needs.database.begin() as transaction:
        await once.remember(transaction, view, 202)
    return view


async def _under_way(needs: Services, model: str) -> RolloutRecord | None:
    async with needs.database.read() as session:
        page = await rollouts.page(session, model=model, open_only=True, limit=1)
    return page.items[0] if page.items else None


async def _alone(request: Request, needs: Services) -> None:
    """Raises Clash when another change of the model's traffic is under way."""
    async with needs.database.read() as session:
        tried = await experiments.open_of_model(session, request.model)
    if tried is not None:
        said = f"{tried.id} of {tried.incident_id} is under way: stop it, or wait for its end, and ask again"
        raise Clash(f"one change of {request.model} at a time; {said}")
    if request.kind == "experiment" and (rollout := await _under_way(needs, request.model)) is not None:
        said = f"{rollout.id} of {rollout.incident_id} is under way: abort it, or wait for its end, and ask again"
        raise Clash(f"one change of {request.model} at a time; {said}")


async def _end(rollout: RolloutRecord, request: Request, needs: Services, once: Once) -> TriggeredView | JSONResponse:
    """Raises Clash when it is being ended already, or leads back to another version than the one that is wanted."""
    if request.version not in (None, rollout.from_version):
        raise Clash(
            f"{rollout.id} of {rollout.incident_id} is under way, and ending it leads back to version {rollout.from_version}: "
            f"abort it, and ask for version {request.version} once its incident is closed"
        )
    view = TriggeredView(incident_id=rollout.incident_id, joined=True, aborts=rollout.id)

    async def remember(transaction: Transaction, _: RolloutRecord) -> None:
        await once.remember(transaction, view, 202)

    try:
        record = await needs.rollouts.order(rollout.id, "abort", by=request.by, reason=request.reason, then=remember)
    except Clash:
        # Perhaps by this very request, which came twice at once.
        if (earlier := await once.earlier()) is not None:
            return earlier
        raise
    await needs.wake(record.run_id)
    return view


async def _fits(request: Request, key: str, needs: Services) -> None:
    """Raises Clash when the model has an open incident that comes to something else. `key`: its own, when it is in already."""
    subject = subject_of(to_alert(request, key, needs.clock.now()), needs.policies().intake)
    async with needs.database.read() as session:
        incident = await incidents.open_of(session, str(subject))
        if incident is None:
            return
        known = [each for each in await alerts.of_incident(session, incident.id) if each.fingerprint != key]
        begun = any(run.event != runs.START or run.status != "queued" for run in await runs.of_incident(session, incident.id))
    if joins(request, map(alerts.to_alert, known), begun=begun):
        return
    then = _UNTIL_THEN.get(incident.status, "ask again once it is closed")
    raise Clash(f"{incident.id} is at work on {request.model} ({incident.status}) and would not read this request: {then}")


async def _known(needs: Services, model: str, version: str | None) -> None:
    """Raises NotFound."""
    try:
        versions = [each.version for each in await needs.registry.versions(model)] if storable(model) else []
    except PermanentError:
        versions = []
    if not versions:
        raise NotFound(f"there is no model {model!r} in the registry")
    if version is not None and version not in versions:
        raise NotFound(f"{model} has no version {version[:100]!r}: there are {', '.join(versions[:10])}")
