"""SQL about rollouts: one row for each, made when its first stage begins, which only ever moves on."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import exists, or_, select, update

from api.store import ids, paging
from api.store.paging import Page
from api.store.records import ApprovalRecord, RolloutRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import insert
from api.store.text import storable

Ordered = Literal["pause", "abort", "worse"]
Status = Literal["running", "paused", "promoted", "taken_back", "continued", "left"]


async def get(session: ReadSession, rollout_id: str) -> RolloutRecord | None:
    return await session.get(RolloutRecord, rollout_id) if ids.well_formed(rollout_id) else None


async def of_proposal(session: ReadSession, proposal_id: str) -> RolloutRecord | None:
    found = await session.scalars(select(RolloutRecord).where(RolloutRecord.proposal_id == proposal_id))
    return found.one_or_none()


async def open_of_run(session: ReadSession, run_id: str) -> RolloutRecord | None:
    """The one that the run has under way; there is no other."""
    found = await session.scalars(
        select(RolloutRecord)
        .where(RolloutRecord.run_id == run_id, RolloutRecord.ended_at.is_(None))
        .order_by(RolloutRecord.began_at.desc())
    )
    return found.first()


async def promoted_of_run(session: ReadSession, run_id: str) -> RolloutRecord | None:
    """The latest that the run has had, where that became champion."""
    found = await session.scalars(
        select(RolloutRecord)
        .where(RolloutRecord.run_id == run_id)
        .order_by(RolloutRecord.began_at.desc(), RolloutRecord.id.desc())
    )
    latest = found.first()
    return latest if latest is not None and latest.status == "promoted" else None


async def page(
    session: ReadSession,
    *,
    model: str | None = None,
    open_only: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[RolloutRecord]:
    """Newest first."""
    statement = select(RolloutRecord)
    if open_only:
        statement = statement.where(RolloutRecord.ended_at.is_(None))
    if model is not None:
        if not storable(model):
            return Page([], None)
        statement = statement.where(RolloutRecord.model == model)
    return await paging.newest_first(session, statement, RolloutRecord.id, limit=limit, cursor=cursor)


async def keep(transaction: Transaction, row: dict[str, Any], *, at: datetime) -> None:
    """As it stands now: made by the first that tells of it, and left alone once it has ended."""
    made = insert(transaction, RolloutRecord).values(
        id=ids.new("rol", at), updated_at=at, ended_at=at if _over(row["status"]) else None, **row
    )
    await transaction.execute(made.on_conflict_do_nothing(index_elements=["proposal_id"]))
    # One that a person let go on goes on under the proposal that asked, and what was ordered about it goes with it.
    earlier = (
        RolloutRecord.run_id == row["run_id"],
        RolloutRecord.proposal_id != row["proposal_id"],
        RolloutRecord.ended_at.is_(None),
    )
    orders = (RolloutRecord.ordered, RolloutRecord.ordered_by, RolloutRecord.order_reason)
    standing = (await transaction.execute(select(*orders).where(*earlier).with_for_update())).first()
    if standing is not None and standing.ordered is not None:
        await transaction.execute(
            update(RolloutRecord)
            .where(RolloutRecord.proposal_id == row["proposal_id"], RolloutRecord.ordered.is_(None))
            .values(**standing._asdict())
        )
    await transaction.execute(
        update(RolloutRecord)
        .where(*earlier)
        .values(status="continued", reason=f"went on as {row['proposal_id']}", updated_at=at, ended_at=at)
    )
    moving = ("status", "stage", "stage_since", "look", "reason")
    await transaction.execute(
        update(RolloutRecord)
        .where(RolloutRecord.proposal_id == row["proposal_id"], RolloutRecord.ended_at.is_(None))
        .values(updated_at=at, ended_at=at if _over(row["status"]) else None, **{name: row[name] for name in moving})
    )


async def order(
    transaction: Transaction, rollout_id: str, kind: Ordered | None, *, by: str, reason: str, at: datetime
) -> RolloutRecord | None:
    """What a person wants of it, or what was found of it: what ends it stands, and of that a person's word.

    None: it is over, or to be ended already.
    """
    standing = ("abort",) if kind == "abort" else ("abort", "worse")
    moved = await transaction.execute(
        update(RolloutRecord)
        .where(
            RolloutRecord.id == rollout_id,
            RolloutRecord.ended_at.is_(None),
            or_(RolloutRecord.ordered.is_(None), RolloutRecord.ordered.not_in(standing)),
        )
        .values(ordered=kind, ordered_by=by, order_reason=reason, updated_at=at)
        .returning(RolloutRecord.id)
    )
    if moved.first() is None:
        return None
    return await transaction.get(RolloutRecord, rollout_id, populate_existing=True)


async def asked_about(session: ReadSession) -> list[RolloutRecord]:
    """Open ones whose run waits for people, and that nothing ends already."""
    asked = exists().where(ApprovalRecord.run_id == RolloutRecord.run_id, ApprovalRecord.status == "pending")
    found = await session.scalars(
        select(RolloutRecord)
        .where(RolloutRecord.ended_at.is_(None), or_(RolloutRecord.ordered.is_(None), RolloutRecord.ordered == "pause"), asked)
        .order_by(RolloutRecord.id)
    )
    return list(found)


async def seen(transaction: Transaction, rollout_id: str, look: dict[str, Any], *, at: datetime) -> None:
    """The latest look, at one whose run does not move."""
    await transaction.execute(
        update(RolloutRecord)
        .where(RolloutRecord.id == rollout_id, RolloutRecord.ended_at.is_(None))
        .values(look=look, updated_at=at)
    )


async def leave(transaction: Transaction, run_id: str, reason: str, *, at: datetime) -> None:
    """End what is still open of a run that nobody moves any more."""
    await transaction.execute(
        update(RolloutRecord)
        .where(RolloutRecord.run_id == run_id, RolloutRecord.ended_at.is_(None))
        .values(status="left", reason=reason, updated_at=at, ended_at=at)
    )


def _over(status: str) -> bool:
    return status in ("promoted", "taken_back", "left")
