"""What was done to save money: what was expected, what it took to find out, and what the ledger shows."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from agents.cost.inefficiency import Kind, Saving
from agents.cost.optimization import Optimization, Trial
from agents.cost.progress import Status, status_of
from agents.cost.savings import Return, Saved
from api.problems import NotFound
from api.store import approvals, optimizations, runs
from api.store.records import EventRecord, RunRecord
from api.store.sessions import ReadSession
from api.web import auth
from api.web.dependencies import Cursor, Limit, Needs
from api.web.views import PageView, View

router = APIRouter(prefix="/v1/optimizations", tags=["optimizations"])


class OptimizationView(View):
    id: str
    model: str
    kind: Kind
    status: Status
    """`kept` and `undone` are by what the ledger shows; `not_worth_it`: an experiment has said so, or it was too late;
    `not_shown`: it is in place, and no saving of it is shown."""
    what: str
    """What costs more than it needs to."""
    expected: Saving
    """Per day; after an experiment by what that measured."""
    trial: Trial | None
    """The experiment, with what it measured and cost; null where there was none or it is not over."""
    version: str | None
    """That the experiment has made."""
    saved: Saved | None
    """Money, as the ledger shows it at the prices since the change, with its interval; a saving only where `claim` is `holds`.
    Of a model's serving all of it, with what is held idle. Null before it is long enough ago to tell."""
    freed: Saved | None
    """Processor time, at its price, where workers are billed while they are held: fewer workers turn it into money."""
    roi: Return | None
    """The experiment's cost against what is saved; null while the cost is unknown or no saving is shown."""
    outcome: str | None
    """Of the run; null while it goes on."""
    found_at: datetime
    began_at: datetime | None
    """When the first of it was in force."""
    applied_at: datetime | None
    """When all of it was."""
    run_id: str
    incident_id: str
    """With its timeline, questions and receipts."""


@router.get("")
async def list_optimizations(
    needs: Needs,
    _who: auth.CanView,
    model: Annotated[str | None, Query(description="Only those of this model.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[OptimizationView]:
    """Newest first. What a review found nothing in is not among them."""
    async with needs.database.read() as session:
        page = await optimizations.page(session, model=model, limit=limit, cursor=cursor)
        told = await optimizations.latest(session, page.items)
        items = [await _shown(session, run, told[run.id]) for run in page.items]
    return PageView[OptimizationView](items=items, next_cursor=page.next_cursor)


@router.get("/{optimization_id}")
async def show_optimization(optimization_id: str, needs: Needs, _who: auth.CanView) -> OptimizationView:
    run_id = optimizations.run_of(optimization_id)
    async with needs.database.read() as session:
        run = await runs.get(session, run_id) if run_id is not None else None
        told = await optimizations.latest(session, [run]) if run is not None else {}
        if run is None or run.id not in told:
            raise NotFound(f"there is no optimization {optimization_id[:64]!r}")
        return await _shown(session, run, told[run.id])


async def _shown(session: ReadSession, run: RunRecord, told: EventRecord) -> OptimizationView:
    found = Optimization.model_validate(told.data["optimization"])
    waits = run.status in ("queued", "running", "waiting")
    asked = waits and any(each.status == "pending" for each in await approvals.of_run(session, run.id))
    return OptimizationView(
        id=optimizations.id_of(run.id),
        model=found.inefficiency.remedy.model,
        kind=found.inefficiency.kind,
        status=status_of(found, outcome=run.outcome, broken=run.status in ("failed", "cancelled"), asked=asked),
        what=found.inefficiency.what,
        expected=found.inefficiency.expected,
        trial=found.trial,
        version=found.version,
        saved=found.money,
        freed=found.freed,
        roi=found.roi,
        outcome=run.outcome,
        found_at=found.found_at,
        began_at=found.began_at,
        applied_at=found.applied_at,
        run_id=run.id,
        incident_id=run.incident_id,
    )
