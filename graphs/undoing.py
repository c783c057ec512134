"""A rollback that somebody asks for while it is looked whether a change holds: that change is taken back, at once."""

from collections.abc import Iterable
from typing import NamedTuple

from agents.actions import Promote, Rollback
from agents.alerts import Alert
from agents.requests import Request, request_of
from agents.unread import asks_back
from graphs.context import Order
from graphs.state import RunState


def undone_by(undo: object, request: Request, *, rolled_back: bool) -> bool:
    """Whether the undo of a change is what is asked for. `rolled_back`: the change was a rollback itself; then the version has
    to be named, or whoever asks a second time for the same would get the opposite."""
    if not isinstance(undo, Rollback) or request.kind != "rollback":
        return False
    return request.version == undo.to_version or (request.version is None and not rolled_back)


class Wish(NamedTuple):
    """That what the run has done, and is looking at, is taken back."""

    by: str
    reason: str
    alert: Alert | None
    """The request; None: it was an order to abort that came while the promotion was being carried out."""


def asked_back(state: RunState, joined: Iterable[Alert], order: Order | None) -> Wish | None:
    receipt, rollout = state.get("receipt"), state.get("rollout")
    if receipt is None or state.get("undo_of") is not None or (rollout is not None and not rollout.over):
        return None
    if order is not None and order.kind == "abort" and isinstance(receipt.action, Promote):
        return Wish(order.by, order.reason, None)
    for alert in filter(asks_back, joined):
        request = request_of((alert,))
        if request is not None and undone_by(receipt.undo, request, rolled_back=isinstance(receipt.action, Rollback)):
            return Wish(request.by, request.reason, alert)
    return None
