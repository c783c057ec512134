"""Taking in what somebody asks for: as an alert, of a model and version that are there, once."""

from typing import Any

from fastapi.responses import JSONResponse

from agents.requests import Kind, Request, to_alert
from api.problems import FieldError, Invalid, NotFound
from api.store import ids
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


async def ask(kind: Kind, fields: dict[str, Any], needs: Services, by: str, once: Once) -> TriggeredView | JSONResponse:
    if (earlier := await once.earlier()) is not None:
        return earlier
    await _known(needs, fields["model"], fields.get("version"))
    if not storable(fields["reason"]):
        raise Invalid("the reason cannot be stored", errors=(FieldError(field="reason", detail="plain text, please"),))
    now = needs.clock.now()
    alert = to_alert(Request(kind=kind, by=by, **fields), ids.new("trg", now), now)
    accepted = await needs.intake.accept([alert], actor=by)
    for run_id in accepted.runs:
        await needs.wake(run_id)
    view = TriggeredView(incident_id=accepted.incidents[0], joined=not accepted.runs)
    async with needs.database.begin() as transaction:
        await once.remember(transaction, view, 202)
    return view


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
