"""Experiments as people see them: where each stands, and that somebody wants it stopped.

The graph decides and moves; this writes down.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from api.problems import NotFound
from api.store import audit, events, experiments
from api.store.database import Database
from api.store.experiments import Status
from api.store.records import ExperimentRecord, RunRecord
from api.store.sessions import ReadSession, Transaction
from api.work.approvals import withdraw
from api.work.ordering import look_at_once, refused, require_moving, require_reason
from graphs.context import Order
from graphs.state import RunState
from tools.clock import Clock

_ENDED: dict[str, Status] = {"promote": "promoted", "start_rollout": "rolled_out", "stop_experiment": "stopped"}
"""By the kind of action that ended it."""


async def record(transaction: Transaction, run: RunRecord, values: RunState, clock: Clock) -> None:
    """Keep where the run's experiment stands, if it has one. Repeating it changes nothing."""
    experiment = values.get("experiment")
    if experiment is None:
        return
    status, reason = standing_of(values)
    look = experiment.look.model_dump(mode="json") if experiment.look is not None else None
    row = {
        "proposal_id": experiment.key,
        "run_id": run.id,
        "incident_id": run.incident_id,
        "model": experiment.action.model,
        "control": experiment.action.from_version,
        "plan": experiment.action.plan.model_dump(mode="json"),
        "rules": experiment.action.rules.model_dump(mode="json"),
        "status": status,
        "ending": experiment.ending or ("left" if status == "left" else ""),
        "look": look,
        "reason": reason,
        "began_at": experiment.started,
    }
    await experiments.keep(transaction, row, at=clock.now())
    if experiment.look is not None and look is not None:
        await experiments.note(transaction, experiment.key, look, at=experiment.look.at)


async def ordered(session: ReadSession, run_id: str) -> Order | None:
    # What was ordered while its winner was being promoted, or begun to be rolled out, is still wanted: that is taken back.
    found = await experiments.open_of_run(session, run_id) or await experiments.won_of_run(session, run_id)
    if found is None or found.ordered is None:
        return None
    return Order("abort", found.ordered_by or "", found.order_reason or "")


async def leave(transaction: Transaction, run: RunRecord, error: str, clock: Clock) -> None:
    """The run broke: its experiment stays as it is, for people to end, and takes no orders any more."""
    await experiments.leave(transaction, run.id, f"its run broke: {error}", at=clock.now())


def standing_of(values: RunState) -> tuple[Status, str]:
    experiment = values["experiment"]
    assert experiment is not None
    reason = experiment.look.outcome.reason if experiment.look is not None else ""
    if experiment.over:
        # What has ended it may have been followed by something else by now: the row keeps the first.
        return _ENDED.get(experiment.ended_by, "left"), values["recommendation"].reason
    if "outcome" in values:
        return "left", values.get("reason", "")
    return "running", reason


class Experiments:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def standing(self, run_id: str) -> Order | None:
        """What a person has ordered about the experiment that this run has under way, or whose winner it has just promoted."""
        async with self._database.read() as session:
            return await ordered(session, run_id)

    async def stop(
        self,
        experiment_id: str,
        *,
        by: str,
        reason: str,
        then: Callable[[Transaction, ExperimentRecord], Awaitable[None]] | None = None,
    ) -> ExperimentRecord:
        """Its run looks at it at once: it is to be dispatched when this returns. `then` is done in the same transaction.

        Raises NotFound, Clash when it is over or being stopped, and Invalid without a reason.
        """
        require_reason(reason)
        now = self._clock.now()
        async with self._database.begin() as transaction:
            known = await experiments.get(transaction, experiment_id)
            if known is None:
                raise NotFound(f"there is no experiment {experiment_id[:64]!r}")
            await require_moving(transaction, experiment_id, known.run_id)
            moved = await experiments.order(transaction, experiment_id, by=by, reason=reason, at=now)
            if moved is None:
                raise refused(experiment_id, known.status, known.ended_at, "stopped")
            await withdraw(transaction, moved.run_id, by=by, reason=f"the experiment is ended: {reason}", at=now)
            await look_at_once(transaction, moved.run_id, now)
            data: dict[str, Any] = {"experiment": experiment_id, "by": by, "reason": reason}
            events.append(transaction, moved.incident_id, "experiment.stopped", data, at=now, run_id=moved.run_id)
            audit.append(transaction, at=now, actor=by, action="experiment.stopped", subject=moved.incident_id, data=data)
            if then is not None:
                await then(transaction, moved)
        return moved
