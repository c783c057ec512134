"""Questions to people, and their answers."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.actions import ACTION
from agents.proposals import Approve, Decision, Edit, Reject
from api.problems import FieldError, Invalid, NotFound
from api.store import approvals
from api.web import auth
from api.web.auth import Needs
from api.web.views import ApprovalView, PageView, paged

router = APIRouter(prefix="/v1/approvals", tags=["approvals"])

Status = Literal["pending", "approved", "rejected", "edited", "expired", "superseded"]


class HitlAction(BaseModel):
    name: str
    args: dict[str, Any]


class HitlDecision(BaseModel):
    """One decision in LangChain's human-in-the-loop form."""

    type: Literal["approve", "edit", "reject"]
    edited_action: HitlAction | None = None
    message: str | None = None


class DecisionBody(BaseModel):
    """Either `decision` with what it needs, or `decisions` with one entry as stock LangChain clients send it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"decision": "approve", "fingerprint": "64 hex digits of the approval"},
                {"decision": "reject", "fingerprint": "...", "reason": "the old version has a known fault"},
            ]
        },
    )

    decision: Literal["approve", "edit", "reject"] | None = None
    fingerprint: str | None = Field(default=None, max_length=64)
    action: dict[str, Any] | None = None
    """For `edit`: the whole action that is to be done instead."""
    reason: str | None = Field(default=None, max_length=2_000)
    comment: str = Field(default="", max_length=2_000)
    decisions: list[HitlDecision] | None = Field(default=None, min_length=1, max_length=1)


class DecidedView(BaseModel):
    approval: ApprovalView
    votes: int
    """Approvals so far."""
    decided: bool
    """False: the vote counts, and more are needed."""


@router.get("")
async def list_approvals(
    needs: Needs,
    _who: auth.CanView,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> PageView[ApprovalView]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await approvals.page(session, status=status, limit=limit, cursor=cursor)
    return paged(page, ApprovalView)


@router.get("/{approval_id}")
async def show_approval(approval_id: str, needs: Needs, _who: auth.CanView, response: Response) -> ApprovalView:
    """Its ETag is the fingerprint: send it as `If-Match` with the decision."""
    view = await _view(needs, approval_id)
    response.headers["ETag"] = f'"{view.fingerprint}"'
    return view


@router.post("/{approval_id}/decision")
async def decide(
    approval_id: str,
    body: DecisionBody,
    needs: Needs,
    who: auth.CanDecide,
    if_match: Annotated[str | None, Header()] = None,
) -> DecidedView:
    """Approve, edit or reject, on the fingerprint that was shown. 409: decided already; 410: too late; 412: something else was
    shown."""
    fingerprint = body.fingerprint or (if_match or "").strip().removeprefix("W/").strip('"')
    if not fingerprint:
        raise _missing("fingerprint", "send the fingerprint of the approval that you saw, here or as If-Match")
    decided = await needs.approvals.decide(
        approval_id, principal=who.name, decision=_decision(body), fingerprint=fingerprint, comment=body.comment
    )
    if decided.run_id is not None:
        await needs.dispatch(decided.run_id)
    view = await _view(needs, approval_id)
    return DecidedView(approval=view, votes=decided.votes, decided=decided.status is not None)


async def _view(needs: Needs, approval_id: str) -> ApprovalView:
    async with needs.database.read() as session:
        record = await approvals.get(session, approval_id)
    if record is None:
        raise NotFound(f"there is no approval {approval_id[:64]!r}")
    return ApprovalView.model_validate(record)


def _decision(body: DecisionBody) -> Decision:
    if (body.decision is None) == (body.decisions is None):
        raise _missing("decision", "send either decision or decisions")
    kind, action, reason = body.decision, body.action, body.reason
    if body.decisions is not None:
        hitl = body.decisions[0]
        kind, reason = hitl.type, hitl.message
        if hitl.edited_action is not None:
            action = {**hitl.edited_action.args, "kind": hitl.edited_action.name}
    match kind:
        case "approve":
            return Approve()
        case "reject":
            if not (reason or "").strip():
                raise _missing("reason", "a rejection says why")
            return Reject(reason=reason or "")
        case _:
            if action is None:
                raise _missing("action", "an edit brings the whole action that is to be done instead")
            return Edit(action=_action(action))


def _action(raw: dict[str, Any]) -> Any:
    try:
        return ACTION.validate_python(raw)
    except ValidationError as error:
        faults = tuple(
            FieldError(field=".".join(["action", *map(str, fault["loc"])]), detail=fault["msg"]) for fault in error.errors()
        )
        raise Invalid("the edited action is not one of the catalogue", errors=faults) from error


def _missing(field: str, detail: str) -> Invalid:
    return Invalid(detail, errors=(FieldError(field=field, detail=detail),))
