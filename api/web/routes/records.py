"""What was done: the ledger of actions, and the audit log with its proof."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.store import actions, audit
from api.web import auth
from api.web.dependencies import Cursor, Limit, Needs
from api.web.views import ActionView, AuditView, PageView, View, paged

router = APIRouter(prefix="/v1")


class VerificationView(View):
    ok: bool
    lines: int
    """How many were read."""
    first_bad_seq: int | None
    """The first line that is not what was written, or that follows one that is not."""
    head: str
    """Hash of the last good line. Kept elsewhere, it also shows that the end of the log was cut off."""


@router.get("/actions", tags=["incidents"])
async def list_actions(
    needs: Needs,
    _who: auth.CanView,
    state: Annotated[Literal["intended", "done", "failed"] | None, Query(description="Only those.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[ActionView]:
    """Newest first: what was meant before the first call, and the receipt of what was done."""
    async with needs.database.read() as session:
        page = await actions.page(session, state=state, limit=limit, cursor=cursor)
    return paged(page, ActionView)


@router.get("/audit", tags=["audit"])
async def list_audit(
    needs: Needs,
    _who: auth.CanView,
    subject: Annotated[str | None, Query(description="An incident's id, `key:...`, `autonomy`.")] = None,
    actor: Annotated[str | None, Query(description="A principal, `source:...`, `engine`.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[AuditView]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await audit.page(session, subject=subject, actor=actor, limit=limit, cursor=cursor)
    return paged(page, AuditView)


@router.get("/audit/verify", tags=["audit"])
async def verify_audit(needs: Needs, _who: auth.CanView) -> VerificationView:
    """Walk the whole hash chain."""
    async with needs.database.read() as session:
        return VerificationView.model_validate(await audit.verify(session))
