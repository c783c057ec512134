"""Questions to people, and their answers."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.actions import ACTION
from agents.proposals import Approve, Decision, Edit, Reject
from api.problems import AlreadyDecided, Clash, FieldError, Invalid, NotFound
from api.store import approvals
from api.store.sessions import ReadSession, Transaction
from api.web import auth
from api.web.dependencies import Cursor, Limit, Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.views import ApprovalStatus, ApprovalView, PageView, View, paged
from api.work.approvals import Decided

router = APIRouter(prefix="/v1/approvals", tags=["approvals"])


_EXAMPLE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class HitlAction(BaseModel):
    name: str
    args: dict[str, Any]


class HitlDecision(BaseModel):
    """One decision in LangChain's human-in-the-loop form."""

    type: Literal["approve", "edit", "reject"]
    edited_action: HitlAction | None = None
    message: str | None = Field(default=None, max_length=2_000)


class DecisionBody(BaseModel):
    """Either `decision` with what it needs, or `decisions` with one entry as stock LangChain clients send it."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {"decision": "approve", "fingerprint": _EXAMPLE},
                {"decision": "reject", "fingerprint": _EXAMPLE, "reason": "version 1 has a known fault"},
                {
                    "decision": "edit",
                    "fingerprint": _EXAMPLE,
                    "action": {"kind": "rollback", "model": "flights", "from_version": "3", "to_version": "1"},
                },
                {"decisions": [{"type": "approve"}], "fingerprint": _EXAMPLE},
            ]
        },
    )

    decision: Literal["approve", "edit", "reject"] | None = None
    fingerprint: str | None = Field(default=None, max_length=64)
    """Of the approval as you saw it; or send it as `If-Match`."""
    action: dict[str, Any] | None = None
    """For `edit`: the whole action that is to be done instead. It is judged again, and asked about anew."""
    reason: str | None = Field(default=None, max_length=2_000)
    """For `reject`: why."""
    comment: str = Field(default="", max_length=2_000)
    decisions: list[HitlDecision] | None = Field(default=None, min_length=1, max_length=1)


class DecidedView(View):
    approval: ApprovalView
    votes: int
    """Approvals so far."""
    decided: bool
    """False: the vote counts, and more are needed."""


@router.get("")
async def list_approvals(
    needs: Needs,
    _who: auth.CanView,
    status: Annotated[ApprovalStatus | None, Query(description="Only those.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[ApprovalView]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await approvals.page(session, status=status, limit=limit, cursor=cursor)
    return paged(page, ApprovalView)


@router.get("/{approval_id}")
async def show_approval(approval_id: str, needs: Needs, _who: auth.CanView, response: Response) -> ApprovalView:
    """Its ETag is the fingerprint: send it as `If-Match` with the decision."""
    async with needs.database.read() as session:
        view = await _view(session, approval_id)
    response.headers["ETag"] = f'"{view.fingerprint}"'
    return view


@router.post(
    "/{approval_id}/decision",
    response_model=DecidedView,
    responses=answers(409, 410, 412),
    dependencies=[Depends(json_only)],
)
async def decide(
    approval_id: str,
    body: DecisionBody,
    needs: Needs,
    who: auth.CanDecide,
    once: OnlyOnce,
    if_match: Annotated[str | None, Header(max_length=100, description="The ETag of the approval as you saw it.")] = None,
) -> DecidedView | JSONResponse:
    """Approve, edit or reject, on the fingerprint that was shown. 409: decided already; 410: too late; 412: something else was
    shown. Whoever asked for it does not approve it."""
    if (earlier := await once.earlier()) is not None:
        return earlier
    fingerprint, decision = _fingerprint(body.fingerprint, if_match), _decision(body)
    shown: list[DecidedView] = []

    async def remember(transaction: Transaction, decided: Decided) -> None:
        view = await _view(transaction, approval_id)
        shown.append(DecidedView(approval=view, votes=decided.votes, decided=decided.status is not None))
        await once.remember(transaction, shown[0])

    try:
        decided = await needs.approvals.decide(
            approval_id, principal=who.name, decision=decision, fingerprint=fingerprint, comment=body.comment, then=remember
        )
    except (AlreadyDecided, Clash):
        # Perhaps by this very request, which came twice at once.
        if (earlier := await once.earlier()) is not None:
            return earlier
        raise
    if decided.run_id is not None:
        await needs.wake(decided.run_id)
    return shown[0]


async def _view(session: ReadSession, approval_id: str) -> ApprovalView:
    record = await approvals.get(session, approval_id)
    if record is None:
        raise NotFound(f"there is no approval {approval_id[:64]!r}")
    await session.refresh(record)
    return ApprovalView.model_validate(record)


def _fingerprint(given: str | None, if_match: str | None) -> str:
    matched = (if_match or "").strip().removeprefix("W/").strip('"')
    if given and matched and given != matched:
        raise _missing("fingerprint", "it is another one than If-Match: send one of them")
    if not (given or matched):
        raise _missing("fingerprint", "send the fingerprint of the approval that you saw, here or as If-Match")
    return given or matched


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
        # The first step of a location is the kind, where that is known: it is no field.
        faults = tuple(
            FieldError(field=".".join(["action", *map(str, fault["loc"][1:])]), detail=fault["msg"])
            for fault in error.errors(include_input=False)
        )
        raise Invalid("the edited action is not one of the catalogue", errors=faults) from error


def _missing(field: str, detail: str) -> Invalid:
    return Invalid(detail, errors=(FieldError(field=field, detail=detail),))
