"""Taking in what somebody asks for: as an alert, of a model and version that are there, once.

A run reads what was asked for when it begins. What a run under way would not read is not taken in: a 202 that nothing follows
is worse than a refusal. A rollback that meets a rollout is what it means there: an order to end it. One that meets a promotion
that is still watched is the undo of that, at once: it was approved with it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

from fastapi.responses import JSONResponse

from agents.actions import Rollback
from agents.proposals import Receipt
from agents.requests import Kind, Request, joins, to_alert
from agents.subjects import Subject, billed, subject_of, tried
from api.problems import Clash, FieldError, Invalid, NotFound
from api.store import actions, alerts, experiments, ids, incidents, rollouts, runs
from api.store.database import Database
from api.store.records import ActionRecord, IncidentRecord, RolloutRecord
from api.store.sessions import ReadSession, Transaction
from api.store.text import storable
from api.web.repeats import Once
from api.web.services import Services
from api.web.views import View
from api.work.ordering import look_at_once
from graphs.undoing import undone_by
from tools.errors import PermanentError, TemporaryError


class TriggeredView(View):
    incident_id: str
    """Where what comes of it is told, live at `/v1/incidents/{id}/events`."""
    joined: bool
    """The model had an open incident, and the request is part of it now: nothing is begun twice."""
    aborts: str | None = None
    """The rollout that was under way, and is ended by this: the champion gets all the traffic back."""
    undoes: str | None = None
    """The key of the change whose effect was still watched, and that is taken back by this: nobody else has to approve."""


_asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Between tries; taking a request in takes a hundredth of a second."""

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
        try:
            return await _end(rollout, request, needs, once)
        except Clash:
            if (open_still := await _under_way(needs, request.model)) is not None and open_still.id == rollout.id:
                raise
            # It has become champion meanwhile: then that is what is taken back.
    now = needs.clock.now()
    key = ids.new("trg", now)
    async with _alone(request.model, needs.database):
        # Of two that ask at once for what does not go together, one is taken in and the other is told.
        if kind in ("promote", "experiment"):
            await _unhindered(request, needs)
        about, undoes = await _beside(request, needs) if kind == "rollback" else (None, None)
        if undoes is None:
            undoes = await _fits(request, key, needs)
        accepted = await needs.intake.accept([to_alert(request, key, now)], actor=by, about=about)
    for run_id in accepted.runs:
        await needs.wake(run_id)
    if undoes is not None:
        await _look_at_once(undoes.run_id, needs)
    undone = undoes.key if undoes is not None and not accepted.runs else None
    view = TriggeredView(incident_id=accepted.incidents[0], joined=not accepted.runs, undoes=undone)
    async with needs.database.begin() as transaction:
        await once.remember(transaction, view, 202)
    return view


@contextlib.asynccontextmanager
async def _alone(model: str, database: Database) -> AsyncIterator[None]:
    """Of all who ask something of the model, on whichever replica, the only one. Raises TemporaryError when that takes long."""
    async with _asking.setdefault(model, asyncio.Lock()), contextlib.AsyncExitStack() as stack:
        for pause_s in (*_PAUSES_S, None):
            try:
                await stack.enter_async_context(database.hold(f"request {model}"))
                break
            except TemporaryError:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        yield


async def _under_way(needs: Services, model: str) -> RolloutRecord | None:
    async with needs.database.read() as session:
        page = await rollouts.page(session, model=model, open_only=True, limit=1)
    return page.items[0] if page.items else None


async def _unhindered(request: Request, needs: Services) -> None:
    """Raises Clash when another change of the model's traffic is under way."""
    async with needs.database.read() as session:
        trial = await experiments.open_of_model(session, request.model)
    if trial is not None:
        said = f"{trial.id} of {trial.incident_id} is under way: stop it, or wait for its end, and ask again"
        raise Clash(f"one change of {request.model} at a time; {said}")
    rollout = await _under_way(needs, request.model)
    if rollout is not None and (request.kind == "experiment" or rollout.incident_id != await _joined(request, needs)):
        said = f"{rollout.id} of {rollout.incident_id} is under way: abort it, or wait for its end, and ask again"
        raise Clash(f"one change of {request.model} at a time; {said}")


async def _joined(request: Request, needs: Services) -> str | None:
    """The open incident that the request would be part of: whether that goes together is for its run to say."""
    subject = subject_of(to_alert(request, "joined", needs.clock.now()), needs.policies().intake)
    async with needs.database.read() as session:
        incident = await incidents.open_of(session, str(subject))
    return incident.id if incident is not None else None


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


async def _look_at_once(run_id: str, needs: Services) -> None:
    """One that moves at this moment finds the request where it would wait for its next look."""
    now = needs.clock.now()
    async with needs.database.begin() as transaction:
        await look_at_once(transaction, run_id, now)
    await needs.wake(run_id)


async def _fits(request: Request, key: str, needs: Services) -> ActionRecord | None:
    """The action that the request takes back, when it is one that an open incident is still watching.

    Raises Clash when the model has an open incident that comes to something else. `key`: its own, when it is in already.
    """
    subject = subject_of(to_alert(request, key, needs.clock.now()), needs.policies().intake)
    async with needs.database.read() as session:
        incident = await incidents.open_of(session, str(subject))
        if incident is None:
            return None
        known = [each for each in await alerts.of_incident(session, incident.id) if each.fingerprint != key]
        watched = await _watched(session, incident) if request.kind == "rollback" else None
        begun = any(run.event != runs.START or run.status != "queued" for run in await runs.of_incident(session, incident.id))
    if joins(request, map(alerts.to_alert, known), begun=begun):
        return None
    if watched is not None and _takes_back(request, watched):
        return watched
    then = _UNTIL_THEN.get(incident.status, "ask again once it is closed")
    raise Clash(f"{incident.id} is at work on {request.model} ({incident.status}) and would not read this request: {then}")


async def _beside(request: Request, needs: Services) -> tuple[Subject | None, ActionRecord | None]:
    """The promotion that the request takes back, when it is still watched in an incident that is not the model's own: of an
    experiment's winner, or of what is cheaper to serve."""
    for subject in (tried(request.model), billed(request.model)):
        async with needs.database.read() as session:
            incident = await incidents.open_of(session, str(subject))
            watched = await _watched(session, incident) if incident is not None else None
        if watched is not None and _takes_back(request, watched):
            return subject, watched
    return None, None


def _takes_back(request: Request, watched: ActionRecord) -> bool:
    receipt = Receipt.model_validate(watched.receipt)
    return undone_by(receipt.undo, request, rolled_back=isinstance(receipt.action, Rollback))


async def _watched(session: ReadSession, incident: IncidentRecord) -> ActionRecord | None:
    """What the incident's run has done last, while it looks whether that holds."""
    (run, *_) = reversed(await runs.of_incident(session, incident.id))
    done = [each for each in await actions.of_run(session, run.id) if each.state == "done" and each.finished_at is not None]
    if incident.status != "verifying" or run.status not in ("queued", "running", "waiting") or not done:
        return None
    return max(done, key=lambda each: (each.finished_at, each.key))


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
