"""SQL about experiments: one row for each, made when its arms are in force, which only ever moves on; and one for each look."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import or_, select, update

from api.store import ids, paging
from api.store.paging import Page
from api.store.records import ExperimentLookRecord, ExperimentRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import insert
from api.store.text import storable
from tools.values import Window

Status = Literal["running", "promoted", "rolled_out", "stopped", "left"]
RUNNING: Status = "running"


async def get(session: ReadSession, experiment_id: str) -> ExperimentRecord | None:
    return await session.get(ExperimentRecord, experiment_id) if ids.well_formed(experiment_id) else None


async def open_of_run(session: ReadSession, run_id: str) -> ExperimentRecord | None:
    """The one that the run has under way; there is no other."""
    statement = select(ExperimentRecord).where(ExperimentRecord.run_id == run_id, ExperimentRecord.ended_at.is_(None))
    return (await session.scalars(statement)).one_or_none()


async def won_of_run(session: ReadSession, run_id: str) -> ExperimentRecord | None:
    """The latest that the run has had, where its winner has become champion, or is on its way there."""
    found = await session.scalars(
        select(ExperimentRecord)
        .where(ExperimentRecord.run_id == run_id)
        .order_by(ExperimentRecord.began_at.desc(), ExperimentRecord.id.desc())
    )
    latest = found.first()
    return latest if latest is not None and latest.status in ("promoted", "rolled_out") else None


async def open_of_model(session: ReadSession, model: str) -> ExperimentRecord | None:
    statement = (
        select(ExperimentRecord)
        .where(ExperimentRecord.model == model, ExperimentRecord.ended_at.is_(None))
        .order_by(ExperimentRecord.id.desc())
    )
    return (await session.scalars(statement)).first()


async def of_model_within(session: ReadSession, model: str, window: Window) -> Sequence[ExperimentRecord]:
    """Those that ran in some of the window, in the order in which they began."""
    if not storable(model):
        return []
    statement = (
        select(ExperimentRecord)
        .where(
            ExperimentRecord.model == model,
            ExperimentRecord.began_at < window.end,
            or_(ExperimentRecord.ended_at.is_(None), ExperimentRecord.ended_at > window.start),
        )
        .order_by(ExperimentRecord.began_at, ExperimentRecord.id)
    )
    return (await session.scalars(statement)).all()


async def page(
    session: ReadSession,
    *,
    model: str | None = None,
    open_only: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[ExperimentRecord]:
    """Newest first."""
    statement = select(ExperimentRecord)
    if open_only:
        statement = statement.where(ExperimentRecord.ended_at.is_(None))
    if model is not None:
        if not storable(model):
            return Page([], None)
        statement = statement.where(ExperimentRecord.model == model)
    return await paging.newest_first(session, statement, ExperimentRecord.id, limit=limit, cursor=cursor)


async def looks(
    session: ReadSession, proposal_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page[ExperimentLookRecord]:
    """Newest first."""
    statement = select(ExperimentLookRecord).where(ExperimentLookRecord.proposal_id == proposal_id)
    return await paging.newest_first(session, statement, ExperimentLookRecord.id, limit=limit, cursor=cursor)


async def keep(transaction: Transaction, row: dict[str, Any], *, at: datetime) -> None:
    """As it stands now: made by the first that tells of it, and left alone once it has ended."""
    ended_at = None if row["status"] == RUNNING else at
    made = insert(transaction, ExperimentRecord).values(id=ids.new("exp", at), updated_at=at, ended_at=ended_at, **row)
    await transaction.execute(made.on_conflict_do_nothing(index_elements=["proposal_id"]))
    moving = ("status", "ending", "look", "reason")
    await transaction.execute(
        update(ExperimentRecord)
        .where(ExperimentRecord.proposal_id == row["proposal_id"], ExperimentRecord.ended_at.is_(None))
        .values(updated_at=at, ended_at=ended_at, **{name: row[name] for name in moving})
    )


async def note(transaction: Transaction, proposal_id: str, look: dict[str, Any], *, at: datetime) -> None:
    """A look, once. `at`: when it was taken."""
    made = insert(transaction, ExperimentLookRecord).values(id=ids.new("lok", at), proposal_id=proposal_id, at=at, look=look)
    await transaction.execute(made.on_conflict_do_nothing(index_elements=["proposal_id", "at"]))


async def order(transaction: Transaction, experiment_id: str, *, by: str, reason: str, at: datetime) -> ExperimentRecord | None:
    """A person wants it stopped, which stands. None: it is over, or to be stopped already."""
    moved = await transaction.execute(
        update(ExperimentRecord)
        .where(ExperimentRecord.id == experiment_id, ExperimentRecord.ended_at.is_(None), ExperimentRecord.ordered.is_(None))
        .values(ordered="stop", ordered_by=by, order_reason=reason, updated_at=at)
        .returning(ExperimentRecord.id)
    )
    if moved.first() is None:
        return None
    return await transaction.get(ExperimentRecord, experiment_id, populate_existing=True)


async def leave(transaction: Transaction, run_id: str, reason: str, *, at: datetime) -> None:
    """End what is still open of a run that nobody moves any more."""
    await transaction.execute(
        update(ExperimentRecord)
        .where(ExperimentRecord.run_id == run_id, ExperimentRecord.ended_at.is_(None))
        .values(status="left", ending="left", reason=reason, updated_at=at, ended_at=at)
    )
