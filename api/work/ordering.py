"""What every order about a rollout or an experiment has in common: its reason, and a run that still moves and looks at once."""

from datetime import datetime

from api.problems import Clash, FieldError, Invalid
from api.store import runs
from api.store.sessions import Transaction
from api.store.text import storable


def require_reason(reason: str) -> None:
    """Raises Invalid."""
    if not reason.strip() or not storable(reason):
        raise Invalid("an order says why", errors=(FieldError(field="reason", detail="say why, in plain text"),))


async def require_moving(transaction: Transaction, name: str, run_id: str) -> None:
    """Raises Clash where nobody would carry the order out. `name`: of what is ordered about."""
    run = await runs.get(transaction, run_id)
    if run is not None and run.status in ("completed", "failed", "cancelled"):
        raise Clash(f"{name} is not moved any more: its run {run.id} is {run.status}")


def refused(name: str, status: str, ended_at: datetime | None, being: str) -> Clash:
    """Why an order was not taken. `being`: what happens to it already, where it is not over."""
    return Clash(f"{name} is over ({status})" if ended_at is not None else f"{name} is being {being} already")


async def look_at_once(transaction: Transaction, run_id: str, at: datetime) -> None:
    """It is to be dispatched. One that moves now reads the order before it changes anything, and at its next look."""
    await runs.wake(transaction, run_id, f"order:{at:%Y%m%dT%H%M%S.%fZ}", at=at)
