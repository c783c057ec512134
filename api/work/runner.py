"""The only caller of the graph.

`advance` looks at two things, the run's row and its LangGraph thread, and does what follows from them: start, resume, go on, or
record how it stands. It holds nothing between calls, so calling it again, after a crash or by a second dispatch, is the normal
path: what was done is found done.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import structlog
from langgraph.types import Command, Interrupt, StateSnapshot

from agents import narrative
from agents.proposals import Proposal
from agents.rollouts import Decision
from api.store.records import ApprovalRecord, RunRecord
from api.work.progress import Progress
from graphs.context import Context, Timeline
from graphs.execution import announce
from graphs.rolling import glance
from graphs.state import RunState
from tools.clock import Clock
from tools.errors import TemporaryError

log = structlog.get_logger()

_STEPS = 200
"""Upper bound of steps in one move; a verification that looks every quarter of an hour parks in between."""


class Glance(NamedTuple):
    rollout: str
    """Key of the proposal that began it."""
    decision: Decision


class Runner:
    """`context` builds the runtime context anew for each move, so that policies and autonomy are those of now."""

    def __init__(self, graph: Any, progress: Progress, context: Callable[[Timeline], Context], clock: Clock) -> None:
        self._graph = graph
        self._progress = progress
        self._context = context
        self._clock = clock
        self._moving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def advance(self, run_id: str, event: str) -> None:
        """Move the run as far as it goes. Raises TemporaryError when a store is away, or another process is at the run: then it
        is to be called again.

        One call at a time moves a run, and whoever comes second finds what the first has done: two at once would each write
        the thread, and ask the same question twice. The workflow's id does not see to that (docs/adr/0005).
        """
        async with self._moving.setdefault(run_id, asyncio.Lock()), self._progress.hold(run_id):
            await self._advance(run_id, event)

    async def glance(self, run_id: str) -> Glance | None:
        """What a look of now would find at the rollout about which this run asks people. None where there is none to look at.

        The thread is read, never moved: what is found is for whoever may end the question. Raises TemporaryError when nothing
        can be measured, or read.
        """
        run = await self._progress.get(run_id)
        if run is None:
            return None
        snapshot: StateSnapshot = await self._graph.aget_state({"configurable": {"thread_id": run_id}})
        asking = any(each.value["kind"] == "approval" for each in snapshot.interrupts)
        rollout = snapshot.values.get("rollout") if asking else None
        if rollout is None or rollout.over:
            return None
        decision = await glance(rollout, self._context_of(run))
        return None if decision is None else Glance(rollout.key, decision)

    async def _advance(self, run_id: str, event: str) -> None:
        run = await self._progress.claim(run_id, event)
        if run is None:
            return
        # One that is over has lost its thread, or is about to: moved again, it would begin anew.
        if await self._progress.over(run_id) is None:
            await self._go_on(run)
        over = await self._progress.over(run_id)
        if over is not None:
            if over.status == "failed":
                await self._tell_of_failure(over)
            await self._graph.checkpointer.adelete_thread(run_id)

    async def _go_on(self, run: RunRecord) -> None:
        try:
            values = await self._move(run)
            if values is not None:
                await self._progress.finish(run, values)
        except TemporaryError:
            raise
        except Exception as error:
            log.exception("run.failed", run_id=run.id)
            await self._progress.fail(run, f"{type(error).__name__}: {error}")

    async def _move(self, run: RunRecord) -> RunState | None:
        """The final state when the run has ended, None when it waits."""
        config = {"configurable": {"thread_id": run.id}, "recursion_limit": _STEPS}
        snapshot: StateSnapshot = await self._graph.aget_state(config)
        if snapshot.created_at is None:
            step: Any = {"run_id": run.id, "incident_id": run.incident_id, "alerts": await self._progress.alerts(run)}
        elif snapshot.interrupts:
            step = await self._answer(run, snapshot.interrupts[0])
            if step is None:
                await self._park(run, snapshot.interrupts[0], snapshot.values)
                return None
        elif snapshot.tasks:
            # Not `next`: a step that was done, but killed before the next one was noted, is not in there.
            step = None
        else:
            return snapshot.values  # type: ignore[return-value]
        values = await self._graph.ainvoke(step, config, context=self._context_of(run), durability="sync")
        interrupts = values.pop("__interrupt__", ())
        if interrupts:
            await self._park(run, interrupts[0], values)
            return None
        return values  # type: ignore[no-any-return]

    async def _answer(self, run: RunRecord, interrupt: Interrupt) -> Command[Any] | None:
        """What the interrupt was waiting for, if it has come."""
        match interrupt.value["kind"]:
            case "approval":
                verdict = await self._progress.verdict(run, interrupt.id)
                return None if verdict is None else Command(resume={interrupt.id: verdict})
            case "wait":
                now = self._clock.now()
                ordered = run.event.startswith("order:")
                due = ordered or datetime.fromisoformat(interrupt.value["until"]) <= now
                return Command(resume={interrupt.id: now.isoformat()}) if due else None
            case unknown:
                raise ValueError(f"the graph waits for {unknown!r}, which nobody answers")

    async def _park(self, run: RunRecord, interrupt: Interrupt, values: Any) -> None:
        """Record what the run waits for; repeating it changes nothing."""
        match interrupt.value["kind"]:
            case "approval":
                approval = await self._progress.await_approval(run, interrupt.id, interrupt.value, values)
                await self._ask_people(run, approval)
            case "wait":
                await self._progress.await_time(run, interrupt.id, datetime.fromisoformat(interrupt.value["until"]), values)
            case unknown:
                raise ValueError(f"the graph waits for {unknown!r}, which nobody wakes")

    async def _tell_of_failure(self, run: RunRecord) -> None:
        """Said once, also when the process died right after recording it."""
        context = self._context_of(run)
        message = narrative.broken(run.incident_id, run.subject, run.error or "for no reason on record")
        message = message.model_copy(update={"link": context.incident_link(run.incident_id)})
        key = f"{run.id}/failed"
        try:
            await announce(context.policies.notify_channel, message, key, context)
        except Exception as error:
            # What broke the run may break this as well; the record has it, and the run is over.
            log.exception("announcement.failed", run_id=run.id)
            await context.timeline.not_announced(context.policies.notify_channel, key, type(error).__name__)

    def _context_of(self, run: RunRecord) -> Context:
        return self._context(self._progress.timeline(run))

    async def _ask_people(self, run: RunRecord, approval: ApprovalRecord) -> None:
        context = self._context_of(run)
        proposal = Proposal.model_validate(approval.proposal)
        link = context.approval_link(approval.id)
        message = narrative.request(proposal, approval.quorum, approval.expires_at, link)
        await announce(context.policies.notify_channel, message, f"approval/{approval.id}", context)
