"""SQL about approvals and votes. An approval leaves `pending` once, by compare-and-set; everything after that is too late."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select, update

from api.store import ids, paging
from api.store.paging import Page
from api.store.records import ApprovalRecord, VoteRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import insert

FinalStatus = Literal["approved", "rejected", "edited", "expired", "superseded"]

_PROPOSAL = ApprovalRecord.proposal["id"].as_string()
# `{run}/{attempt}`: within a run, the shorter number is the smaller. Ids of rows are no order: two of one moment are random,
# and of two replicas one may have the slower clock.
_ATTEMPTS = (func.length(_PROPOSAL), _PROPOSAL)


async def get(session: ReadSession, approval_id: str) -> ApprovalRecord | None:
    return await session.get(ApprovalRecord, approval_id) if ids.well_formed(approval_id) else None


async def lock(transaction: Transaction, approval_id: str) -> ApprovalRecord | None:
    """The row as it is now, and as it stays until the commit unless this transaction changes it."""
    if not ids.well_formed(approval_id):
        return None
    return await transaction.scalar(select(ApprovalRecord).where(ApprovalRecord.id == approval_id).with_for_update())


async def of_interrupt(session: ReadSession, run_id: str, interrupt_id: str) -> ApprovalRecord | None:
    return await session.scalar(
        select(ApprovalRecord).where(ApprovalRecord.run_id == run_id, ApprovalRecord.interrupt_id == interrupt_id)
    )


async def of_run(session: ReadSession, run_id: str) -> list[ApprovalRecord]:
    """In the order of the run's attempts."""
    return list(await session.scalars(select(ApprovalRecord).where(ApprovalRecord.run_id == run_id).order_by(*_ATTEMPTS)))


async def of_incident(session: ReadSession, incident_id: str) -> list[ApprovalRecord]:
    """Oldest run first, and within it in the order of its attempts."""
    statement = select(ApprovalRecord).where(ApprovalRecord.incident_id == incident_id)
    return list(await session.scalars(statement.order_by(ApprovalRecord.run_id, *_ATTEMPTS)))


async def page(
    session: ReadSession, *, status: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page[ApprovalRecord]:
    """Newest first."""
    statement = select(ApprovalRecord)
    if status is not None:
        statement = statement.where(ApprovalRecord.status == status)
    return await paging.newest_first(session, statement, ApprovalRecord.id, limit=limit, cursor=cursor)


async def add(transaction: Transaction, row: Mapping[str, Any]) -> bool:
    """False when this interrupt of this run has its approval already."""
    statement = (
        insert(transaction, ApprovalRecord)
        .values(**row)
        .on_conflict_do_nothing(index_elements=["run_id", "interrupt_id"])
        .returning(ApprovalRecord.id)
    )
    return (await transaction.execute(statement)).first() is not None


async def supersede(transaction: Transaction, run_id: str, *, at: datetime) -> list[str]:
    """End what is still pending of a run; the ids."""
    ended = await transaction.execute(
        update(ApprovalRecord)
        .where(ApprovalRecord.run_id == run_id, ApprovalRecord.status == "pending")
        .values(status="superseded", decided_at=at)
        .returning(ApprovalRecord.id)
    )
    return [approval_id for (approval_id,) in ended]


async def decide(
    transaction: Transaction, approval_id: str, status: FinalStatus, verdict: Mapping[str, Any], *, at: datetime
) -> bool:
    """pending -> final; False for whoever comes second."""
    decided = await transaction.execute(
        update(ApprovalRecord)
        .where(ApprovalRecord.id == approval_id, ApprovalRecord.status == "pending")
        .values(status=status, verdict=dict(verdict), decided_at=at)
        .returning(ApprovalRecord.id)
    )
    return decided.first() is not None


async def overdue(session: ReadSession, now: datetime, *, limit: int = 500) -> list[str]:
    """Pending ones whose time is over."""
    statement = (
        select(ApprovalRecord.id)
        .where(ApprovalRecord.status == "pending", ApprovalRecord.expires_at <= now)
        .order_by(ApprovalRecord.id)
        .limit(limit)
    )
    return list(await session.scalars(statement))


async def vote(transaction: Transaction, row: Mapping[str, Any]) -> bool:
    """False when this person has voted on it before."""
    statement = (
        insert(transaction, VoteRecord)
        .values(**row)
        .on_conflict_do_nothing(index_elements=["approval_id", "principal"])
        .returning(VoteRecord.principal)
    )
    return (await transaction.execute(statement)).first() is not None


async def votes(session: ReadSession, approval_id: str) -> list[VoteRecord]:
    """In the order in which they were given."""
    statement = select(VoteRecord).where(VoteRecord.approval_id == approval_id)
    return list(await session.scalars(statement.order_by(VoteRecord.at, VoteRecord.principal)))
