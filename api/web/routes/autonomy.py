"""How much the platform may do by itself: the mode, which is set here, and the policies, which are a file."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from agents.policies import Mode
from api.problems import Forbidden
from api.store.records import AutonomyRecord
from api.store.sessions import Transaction
from api.web import auth
from api.web.auth import Role
from api.web.dependencies import Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.views import View

router = APIRouter(prefix="/v1", tags=["autonomy"])

_FREEDOM = list(Mode)
"""From the least to the most."""


class AutonomyView(View):
    mode: Mode
    actor: str | None
    """Null: nobody has set it; it is the policies'."""
    reason: str | None
    at: datetime | None


class AutonomyBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"mode": "observe", "reason": "drill"}]})

    mode: Mode
    reason: str = Field(min_length=1, max_length=2_000)


class PoliciesView(View):
    version: str
    """Hash of the content; proposals and approvals name the one they were judged by."""
    policies: dict[str, Any]


@router.get("/autonomy")
async def show_autonomy(needs: Needs, _who: auth.CanView) -> AutonomyView:
    current = await needs.autonomy.current()
    if current is None:
        return AutonomyView(mode=needs.policies().mode, actor=None, reason=None, at=None)
    return AutonomyView.model_validate(current)


@router.put("/autonomy", response_model=AutonomyView, responses=answers(409), dependencies=[Depends(json_only)])
async def set_autonomy(body: AutonomyBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce) -> AutonomyView | JSONResponse:
    """The kill switch: `observe` holds at once, for everything that has not been carried out yet. An operator may lower the
    mode; raising it needs the role approver."""
    if (earlier := await once.earlier()) is not None:
        return earlier
    if who.role < Role.APPROVER and _FREEDOM.index(body.mode) > _FREEDOM.index(await needs.autonomy.mode()):
        raise Forbidden(f"{who.name} is operator and may lower the mode; raising it needs the role approver")

    async def remember(transaction: Transaction, record: AutonomyRecord) -> None:
        await once.remember(transaction, AutonomyView.model_validate(record))

    record = await needs.autonomy.change(body.mode, actor=who.name, reason=body.reason, then=remember)
    return AutonomyView.model_validate(record)


@router.get("/policies")
async def show_policies(needs: Needs, _who: auth.CanView) -> PoliciesView:
    policies = needs.policies()
    return PoliciesView(version=policies.version, policies=policies.model_dump(mode="json"))
