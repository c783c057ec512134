"""SQL about optimisations. They have no table: each is a run about what a model costs, and what its timeline tells of it."""

from collections.abc import Collection

from sqlalchemy import exists, or_, select

from agents.subjects import billed
from api.store import ids, paging
from api.store.paging import Page
from api.store.records import EventRecord, RunRecord
from api.store.sessions import ReadSession
from api.store.text import storable

CHANGED = "optimization.changed"
"""The event's name; its data has the whole of it."""
_PREFIX, _RUN = "opt_", "run_"


def id_of(run_id: str) -> str:
    return f"{_PREFIX}{run_id.removeprefix(_RUN)}"


def run_of(optimization_id: str) -> str | None:
    """None for what is no id."""
    if not ids.well_formed(optimization_id) or not optimization_id.startswith(_PREFIX):
        return None
    return f"{_RUN}{optimization_id.removeprefix(_PREFIX)}"


async def page(
    session: ReadSession, *, model: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page[RunRecord]:
    """Runs that have found something to save, newest first."""
    whole = str(billed(None))
    if model is not None and not storable(model):
        return Page([], None)
    about = (
        RunRecord.subject == str(billed(model))
        if model is not None
        else or_(RunRecord.subject == whole, RunRecord.subject.startswith(f"{whole}:", autoescape=True))
    )
    told = exists().where(
        EventRecord.incident_id == RunRecord.incident_id, EventRecord.run_id == RunRecord.id, EventRecord.name == CHANGED
    )
    run_cursor = run_of(cursor) or cursor if cursor is not None else None
    found = await paging.newest_first(
        session, select(RunRecord).where(about, told), RunRecord.id, limit=limit, cursor=run_cursor
    )
    return Page(found.items, id_of(found.next_cursor) if found.next_cursor is not None else None)


async def latest(session: ReadSession, runs: Collection[RunRecord]) -> dict[str, EventRecord]:
    """By run: what was told last."""
    if not runs:
        return {}
    statement = select(EventRecord).where(
        EventRecord.incident_id.in_({run.incident_id for run in runs}),
        EventRecord.run_id.in_({run.id for run in runs}),
        EventRecord.name == CHANGED,
    )
    found = await session.scalars(statement.order_by(EventRecord.seq))
    return {event.run_id: event for event in found if event.run_id is not None}
