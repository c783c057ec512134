"""Rollouts as people see them: where each stands, and what they order about it.

The graph decides and moves; this writes down.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from agents.actions import AbortRollout, Promote
from api.problems import NotFound
from api.store import audit, events, rollouts
from api.store.database import Database
from api.store.records import RolloutRecord, RunRecord
from api.store.rollouts import Status
from api.store.sessions import ReadSession, Transaction
from api.work.approvals import withdraw
from api.work.ordering import look_at_once, refused, require_moving, require_reason
from graphs.context import Order
from graphs.state import RunState
from tools.clock import Clock

Wish = Literal["pause", "resume", "abort"]

_KINDS: dict[str, rollouts.Ordered] = {"pause": "pause", "abort": "abort", "worse": "worse"}
_DONE = {
    "pause": "rollout.paused",
    "resume": "rollout.resumed",
    "abort": "rollout.aborted",
    "worse": "rollout.worse",
}


async def record(transaction: Transaction, run: RunRecord, values: RunState, clock: Clock) -> None:
    """Keep where the run's rollout stands, if it has one. Repeating it changes nothing."""
    rollout = values.get("rollout")
    if rollout is None:
        return
    status, reason = standing_of(values)
    action, decision = rollout.action, rollout.decision
    row = {
        "proposal_id": rollout.key,
        "run_id": run.id,
        "incident_id": run.incident_id,
        "model": action.model,
        "version": action.version,
        "from_version": action.from_version,
        "status": status,
        "stages": [stage.model_dump(mode="json") for stage in action.stages],
        "stage": rollout.stage,
        "stage_since": rollout.started[-1],
        "look": decision.model_dump(mode="json") if decision is not None else None,
        "reason": reason,
        "began_at": rollout.started[0],
    }
    await rollouts.keep(transaction, row, at=clock.now())


async def ordered(session: ReadSession, run_id: str) -> Order | None:
    # What was ordered while the promotion was being carried out is still wanted after it: then it is taken back.
    found = await rollouts.open_of_run(session, run_id) or await rollouts.promoted_of_run(session, run_id)
    if found is None or found.ordered is None:
        return None
    return Order(_KINDS[found.ordered], found.ordered_by or "", found.order_reason or "")


async def leave(transaction: Transaction, run: RunRecord, error: str, clock: Clock) -> None:
    """The run broke: its rollout stays as it is, for people to end, and takes no orders any more."""
    await rollouts.leave(transaction, run.id, f"its run broke: {error}", at=clock.now())


def standing_of(values: RunState) -> tuple[Status, str]:
    rollout, proposal = values["rollout"], values["proposal"]
    assert rollout is not None
    reason = rollout.decision.reason if rollout.decision is not None else ""
    if rollout.over:
        # What has ended it may have been followed by something else by now: the row keeps the first.
        match proposal.action:
            case Promote():
                return "promoted", reason
            case AbortRollout():
                return "taken_back", values["recommendation"].reason
            case _:
                return "left", reason
    if "outcome" in values:
        return "left", values.get("reason", "")
    return ("paused", f"paused by {rollout.paused_by}") if rollout.paused_by else ("running", reason)


class Rollouts:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def standing(self, run_id: str) -> Order | None:
        """What a person has ordered about the rollout that this run has under way, or has just promoted."""
        async with self._database.read() as session:
            return await ordered(session, run_id)

    async def order(
        self,
        rollout_id: str,
        wish: Wish | Literal["worse"],
        *,
        by: str,
        reason: str,
        then: Callable[[Transaction, RolloutRecord], Awaitable[None]] | None = None,
    ) -> RolloutRecord:
        """Its run looks at it at once: it is to be dispatched when this returns. `then` is done in the same transaction.

        Raises NotFound, Clash when it is over or being ended, and Invalid without a reason.
        """
        require_reason(reason)
        now = self._clock.now()
        async with self._database.begin() as transaction:
            known = await rollouts.get(transaction, rollout_id)
            if known is None:
                raise NotFound(f"there is no rollout {rollout_id[:64]!r}")
            await require_moving(transaction, rollout_id, known.run_id)
            kind = None if wish == "resume" else wish
            moved = await rollouts.order(transaction, rollout_id, kind, by=by, reason=reason, at=now)
            if moved is None:
                raise refused(rollout_id, known.status, known.ended_at, "ended")
            if wish in ("abort", "worse"):
                await withdraw(transaction, moved.run_id, by=by, reason=f"the rollout is ended: {reason}", at=now)
            await look_at_once(transaction, moved.run_id, now)
            data: dict[str, Any] = {"rollout": rollout_id, "by": by, "reason": reason}
            events.append(transaction, moved.incident_id, _DONE[wish], data, at=now, run_id=moved.run_id)
            audit.append(transaction, at=now, actor=by, action=_DONE[wish], subject=moved.incident_id, data=data)
            if then is not None:
                await then(transaction, moved)
        return moved
