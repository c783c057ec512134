"""Flagger's webhooks: what it asks before each step of a rollout, and what it tells. Everything that is in doubt is 403."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.gates import Gate
from api.problems import Closed, FieldError, Invalid, Malformed, NotFound, Overloaded, Unavailable
from api.web import payloads
from api.web.dependencies import Here, Needs, json_only
from api.web.openapi import answers
from api.web.senders import READ_S, recognise, speaks_for
from api.web.views import View
from api.work.gates import Asked
from tools.errors import PermanentError, TemporaryError

router = APIRouter(prefix="/v1/hooks", tags=["hooks"])

SOURCE = "flagger"
_ANSWER_S = 4.0
"""Flagger waits five seconds (`tools/rollouts/canaries.py`); whoever is asked on the way may take this long."""
_EVENT = "event"

Text = Annotated[str, Field(max_length=4_000)]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class Hook(BaseModel):
    """As Flagger posts it; unknown fields are its newer ones."""

    name: Name
    namespace: Name
    phase: Text = ""
    checksum: Text = ""
    metadata: dict[Text, Text] = Field(default_factory=dict, max_length=100)

    @property
    def asked(self) -> Asked:
        of = self.metadata.get
        return Asked(self.namespace, self.name, of("model", "")[:200], of("rollout", "")[:200], self.checksum[:200])


class GateView(View):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"open": True, "reason": "version 2 is to have 50 %, and has 10 %"}]}
    )

    open: Literal[True]
    reason: str


class NotedView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"noted": True}]})

    noted: bool
    """False: it says nothing about a rollout that is known here."""


@router.post(
    f"/flagger/{_EVENT}",
    dependencies=[Depends(json_only)],
    openapi_extra=payloads.FLAGGER_EVENT,
    responses=answers(403),
)
async def note_flagger(request: Request, needs: Needs, here: Here) -> NotedView:
    """What Flagger says of a rollout goes to its incident's timeline, once."""
    await recognise(SOURCE, request, needs, here.strangers)
    with here.gate:
        hook = await _hook(request)
    if needs.gates is None or not speaks_for(SOURCE, hook.namespace, hook.name, request, needs):
        raise Closed(_NOT_HERE)
    of = hook.metadata.get
    return NotedView(noted=await needs.gates.note(hook.asked, of("eventMessage", ""), hook.phase, of("eventType", "")))


@router.post(
    "/flagger/{gate}",
    dependencies=[Depends(json_only)],
    openapi_extra=payloads.FLAGGER_GATE,
    responses=answers(403),
)
async def ask_flagger(
    gate: Annotated[str, Path(json_schema_extra={"enum": [each.value for each in Gate]})],
    request: Request,
    needs: Needs,
    here: Here,
) -> GateView:
    """200: Flagger may go on (`rollback`: it is to take the canary back). 403: it may not, or not yet; it asks again."""
    await recognise(SOURCE, request, needs, here.strangers)
    if gate not in list(Gate):
        raise NotFound(f"there is no gate {gate[:64]!r}: use {', '.join([*Gate, _EVENT])}")
    with here.gate:
        hook = await _hook(request)
    if needs.gates is None or not speaks_for(SOURCE, hook.namespace, hook.name, request, needs):
        raise Closed(_NOT_HERE)
    try:
        async with asyncio.timeout(_ANSWER_S):
            answer = await needs.gates.ask(Gate(gate), hook.asked)
    except (TimeoutError, TemporaryError) as error:
        raise Unavailable("what was asked for could not be read: it stays closed", retry_after_s=5) from error
    except PermanentError as error:
        raise Closed(f"what was asked for cannot be read: {error}") from error
    if not answer.open:
        raise Closed(answer.reason)
    return GateView(open=True, reason=answer.reason)


_NOT_HERE = "these credentials are for another Canary, or nothing here is rolled out by Flagger"


async def _hook(request: Request) -> Hook:
    try:
        async with asyncio.timeout(READ_S):
            return Hook.model_validate_json(await request.body())
    except TimeoutError as error:
        raise Overloaded(f"the body did not come within {READ_S:.0f} s", retry_after_s=2) from error
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        if any(fault["type"] == "json_invalid" for fault in faults):
            raise Malformed("the body is no JSON") from error
        named = tuple(FieldError(field=".".join(map(str, fault["loc"])) or "body", detail=fault["msg"]) for fault in faults)
        raise Invalid("this is no webhook of Flagger's", errors=named) from error
