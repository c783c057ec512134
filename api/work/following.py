"""What joins an incident after its run has read what there was: the run reads it where it can still act on it, and else another
run, opened when the first is over. None is lost, and it does not go on for ever: so many runs, then people.
"""

from datetime import datetime
from enum import StrEnum

from agents import unread
from agents.alerts import Alert
from api.store import alerts, events, ids, runs
from api.store.database import Database
from api.store.records import RunRecord
from api.store.sessions import Transaction
from api.work.orders import ordered
from graphs import undoing
from graphs.state import Outcome, RunState


class Next(StrEnum):
    """What becomes of what nobody has read."""

    NOTHING = "nothing"
    """There is none that says anything new."""
    RUN = "run"
    PEOPLE = "people"
    """There were runs enough."""


class Joined:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def unread(self, run_id: str) -> tuple[Alert, ...]:
        """What fires in the run's incident and no run of it has read."""
        async with self._database.read() as session:
            run = await runs.get(session, run_id)
            found = await alerts.unread(session, run.incident_id) if run is not None else []
        return tuple(map(alerts.to_alert, found))


async def asked_back(transaction: Transaction, run: RunRecord, values: RunState) -> bool:
    """Whether somebody has asked, while the run moved, for what it has done to be taken back: then it looks again at once."""
    found = await alerts.unread(transaction, run.incident_id)
    return undoing.asked_back(values, map(alerts.to_alert, found), await ordered(transaction, run.id)) is not None


async def take_in(transaction: Transaction, run: RunRecord, values: RunState) -> None:
    """A rollback that was asked for on its way is read by the run that takes back: all that asked for it are."""
    if values.get("asked_back"):
        found = await alerts.unread(transaction, run.incident_id)
        asked = [each.id for each in found if unread.asks_back(alerts.to_alert(each))]
        await alerts.mark_read(transaction, asked, run.id)


async def open_next(transaction: Transaction, run: RunRecord, values: RunState, now: datetime) -> Next:
    """A run of the same incident for what the one that ends with these values has not read."""
    outcome, receipt = Outcome(values["outcome"]), values.get("receipt")
    found = [alerts.to_alert(each) for each in await alerts.unread(transaction, run.incident_id)]
    if outcome is Outcome.UNDONE:
        found = [each for each in found if not unread.asks_back(each)]
    confirmed = receipt.finished_at if outcome is Outcome.RESOLVED and receipt is not None else None
    news = unread.news(found, values.get("alerts", ()), confirmed=confirmed)
    if not news:
        return Next.NOTHING
    told = {"count": len(news), "names": sorted({each.name[:300] for each in news})[:20]}
    if len(await runs.of_incident(transaction, run.incident_id)) >= unread.MAX_RUNS:
        events.append(transaction, run.incident_id, "alerts.left", told, at=now, run_id=run.id, key=f"{run.id}/left")
        return Next.PEOPLE
    row = {
        "id": ids.new("run", now),
        "incident_id": run.incident_id,
        "subject": run.subject,
        "status": "queued",
        "due_at": now,
        "event": runs.START,
        "created_at": now,
        "updated_at": now,
    }
    await runs.add(transaction, [row])
    events.append(transaction, run.incident_id, "run.followed", {**told, "run": row["id"]}, at=now, run_id=run.id)
    return Next.RUN
