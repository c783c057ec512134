"""Data that is kept, but neither learnt from nor compared with. It is quarantined by an approved action, and released here."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from api.problems import NotFound
from api.store import quarantines
from api.store.paging import Page
from api.store.records import QuarantineRecord
from api.store.sessions import ReadSession
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Cursor, Limit, Needs, json_only
from api.web.openapi import answers
from api.web.views import PageView, View, paged

router = APIRouter(prefix="/v1/quarantines", tags=["drift"])


class QuarantineView(View):
    id: str
    model: str
    starts_at: datetime
    ends_at: datetime
    """The first moment that is not in it any more."""
    features: list[str]
    """Only these, and the answers that were made from them; empty: all of it."""
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None
    release_reason: str | None
    released_at: datetime | None
    """Null: it is in force."""


class ReleaseBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the sensor was right after all"}]})

    reason: str = Field(min_length=1, max_length=2_000)


@router.get("")
async def list_quarantines(
    needs: Needs,
    _who: auth.CanView,
    model: Annotated[str | None, Query(max_length=200, description="Only its.")] = None,
    in_force: Annotated[bool | None, Query(description="Only those that are, or were; default: both.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[QuarantineView]:
    """Newest first. References and seasons of drift, and proposals to train, pass over what is in force."""
    async with needs.database.read() as session:
        if model is not None and not storable(model):
            return paged(Page[QuarantineRecord]([], None), QuarantineView)
        page = await quarantines.page(session, model=model, in_force=in_force, limit=limit, cursor=cursor)
    return paged(page, QuarantineView)


@router.get("/{quarantine_id}")
async def show_quarantine(quarantine_id: str, needs: Needs, _who: auth.CanView) -> QuarantineView:
    async with needs.database.read() as session:
        return await _shown(session, quarantine_id)


@router.post("/{quarantine_id}/release", responses=answers(409), dependencies=[Depends(json_only)])
async def release_quarantine(quarantine_id: str, body: ReleaseBody, needs: Needs, who: auth.CanDecide) -> QuarantineView:
    """Its data is learnt from and compared with again. Sent twice it is released once; 409: its undo was carried out."""
    async with needs.database.read() as session:
        known = await _shown(session, quarantine_id)
    await needs.quarantines.release(known.id, key=f"request/{known.id}", actor=who.name, reason=body.reason)
    async with needs.database.read() as session:
        return await _shown(session, quarantine_id)


async def _shown(session: ReadSession, quarantine_id: str) -> QuarantineView:
    record = await quarantines.get(session, quarantine_id)
    if record is None:
        raise NotFound(f"there is no quarantine {quarantine_id[:64]!r}")
    return QuarantineView.model_validate(record)
