"""How an optimisation stands, in one word, from what is on record of its run; pure."""

from typing import Literal

from agents.cost.optimization import Optimization

Status = Literal[
    "proposed",
    "experiment",
    "rolling_out",
    "verifying",
    "kept",
    "undone",
    "not_worth_it",
    "not_shown",
    "declined",
    "denied",
    "failed",
]

_ENDS: dict[str, Status] = {
    "resolved": "kept",
    "no_action": "not_worth_it",
    "undone": "undone",
    "declined": "declined",
    "denied": "denied",
    "unverified": "not_shown",
}
"""A run's outcome -> what that is of an optimisation; any other is a failure."""


def status_of(optimization: Optimization, *, outcome: str | None, broken: bool, asked: bool) -> Status:
    """`outcome`: of the run, None while it goes on; `broken`: it ended without one; `asked`: it waits for people."""
    if broken:
        return "failed"
    if outcome is not None:
        ended = _ENDS.get(outcome, "failed")
        # What is applied, and may not be taken back, stays: only that it saves is not shown.
        return "not_shown" if optimization.applied_at is not None and ended in ("declined", "denied") else ended
    if asked:
        return "proposed"
    if optimization.applied_at is not None:
        return "verifying"
    if optimization.began_at is not None:
        return "rolling_out"
    return "experiment" if optimization.ordered is not None else "proposed"
