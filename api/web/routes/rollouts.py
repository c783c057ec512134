"""Rollouts: where each stands, and a person's word on it. A rollout begins with an approval, and never here."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from agents.promotion_rules import Stage
from agents.rollout_progress import RolloutProgress, progress_of
from agents.rollouts import Choice
from api.problems import Clash, NotFound
from api.store import rollouts
from api.store.records import RolloutRecord
from api.store.sessions import Transaction
from api.web import auth, states
from api.web.dependencies import Cursor, Here, Limit, Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.services import Services
from api.web.views import PageView, View
from api.work.rollouts import Wish

router = APIRouter(prefix="/v1/rollouts", tags=["rollouts"])

_POLL_S = 1.0
"""How late a change by another replica is seen; of this process, at once."""


class RolloutRow(View):
    id: str
    model: str
    version: str
    """The challenger."""
    from_version: str
    """The champion that it stands beside."""
    status: Literal["running", "paused", "promoted", "taken_back", "continued", "left"]
    """`continued`: it was not clear, and went on under another proposal because a person said so. `left`: somebody else has
    changed the traffic, or it could not be ended; people have it."""
    stages: list[dict[str, Any]]
    """`weight`, a share of the traffic, and how long it holds at least (ISO 8601)."""
    stage: int
    """Place of the present one, from 0."""
    stage_since: datetime
    look: dict[str, Any] | None
    """The latest one: `choice`, `reason`, what was `judged`, `at`; null before the first."""
    reason: str
    ordered: Literal["pause", "abort", "worse"] | None
    """`worse`: found by a look while people were asked whether it goes on; it is being taken back."""
    ordered_by: str | None
    order_reason: str | None
    proposal_id: str
    run_id: str
    incident_id: str
    began_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class RolloutView(RolloutRow):
    progress: RolloutProgress
    """By the policies of now, and by what it was told to wait for at its latest look."""


class OrderBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the checkout team is on a call"}]})

    reason: str = Field(min_length=1, max_length=2_000)


@router.get("")
async def list_rollouts(
    needs: Needs,
    _who: auth.CanView,
    model: Annotated[str | None, Query(description="Only those of this model.")] = None,
    open_only: Annotated[bool, Query(alias="open", description="Only those that are not over.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[RolloutView]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await rollouts.page(session, model=model, open_only=open_only, limit=limit, cursor=cursor)
    return PageView[RolloutView](items=[_shown(needs, each) for each in page.items], next_cursor=page.next_cursor)


@router.get("/{rollout_id}")
async def show_rollout(rollout_id: str, needs: Needs, _who: auth.CanView) -> RolloutView:
    return _shown(needs, await _record(needs, rollout_id))


@router.get(
    "/{rollout_id}/events", response_model=RolloutView, responses=states.RESPONSES, dependencies=[Depends(states.watches)]
)
async def show_rollout_events(
    rollout_id: str, request: Request, needs: Needs, here: Here, _who: auth.CanView, last_event_id: states.LastEventID = None
) -> Any:
    """How it stands. With `Accept: text/event-stream` that goes on, at each change and each hundredth of its way, until it is
    over. What led there is in its incident's timeline."""
    record = await _record(needs, rollout_id)
    now = _told(needs, record)
    if states.STREAM not in request.headers.get("accept", ""):
        return now.shown
    if now.over and now.id == last_event_id:
        return Response(status_code=204)
    told = states.stream(here, "rollout", _watched(needs, record.id, record.incident_id), last_event_id)
    return StreamingResponse(told, media_type=states.STREAM, headers=states.UNBUFFERED)


def _order(wish: Wish, about: str) -> Callable[..., Awaitable[RolloutView | JSONResponse]]:
    async def route(
        rollout_id: str, body: OrderBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
    ) -> RolloutView | JSONResponse:
        if (earlier := await once.earlier()) is not None:
            return earlier

        async def remember(transaction: Transaction, record: RolloutRecord) -> None:
            await once.remember(transaction, _shown(needs, record))

        try:
            record = await needs.rollouts.order(rollout_id, wish, by=who.name, reason=body.reason, then=remember)
        except Clash:
            # Perhaps by this very request, which came twice at once.
            if (earlier := await once.earlier()) is not None:
                return earlier
            raise
        await needs.wake(record.run_id)
        return _shown(needs, record)

    route.__name__, route.__doc__ = f"{wish}_rollout", about
    return route


_ORDERS: dict[Wish, str] = {
    "pause": "The challenger keeps the share that it has; it is still taken back should it fail.",
    "resume": "It goes on by itself.",
    "abort": "The champion gets all traffic back, at once. It stands: what is to be ended is not resumed.",
}
for _wish, _about in _ORDERS.items():
    router.add_api_route(
        f"/{{rollout_id}}/{_wish}",
        _order(_wish, _about),
        methods=["POST"],
        response_model=RolloutView,
        responses=answers(409),
        dependencies=[Depends(json_only)],
    )


async def _watched(needs: Services, rollout_id: str, incident_id: str) -> AsyncGenerator[states.State]:
    before = ""
    with needs.database.signals.listen(incident_id) as news:
        while True:
            news.clear()
            state = _told(needs, await _record(needs, rollout_id))
            if state.id != before:
                before = state.id
                yield state
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _POLL_S)


def _told(needs: Services, record: RolloutRecord) -> states.State:
    """Time alone changes it at each hundredth of its way: who watches counts the seconds himself."""
    shown = _shown(needs, record)
    far = shown.progress
    waits = far.waits_for.partition(":")[0]
    same = f"{record.updated_at.isoformat()} {record.status} {record.ordered} {far.stage} {far.fraction:.2f} {waits}"
    return states.State(shown, record.ended_at is not None, same)


def _shown(needs: Services, record: RolloutRecord) -> RolloutView:
    row = RolloutRow.model_validate(record)
    progress = progress_of(
        [Stage.model_validate(each) for each in record.stages],
        needs.policies().rollouts_of(record.model),
        stage=record.stage,
        since=record.stage_since,
        status=record.status,
        reason=record.reason,
        choice=Choice(record.look["choice"]) if record.look is not None else None,
        ordered=record.ordered,
        now=needs.clock.now(),
    )
    return RolloutView(**row.model_dump(), progress=progress)


async def _record(needs: Services, rollout_id: str) -> RolloutRecord:
    """Raises NotFound."""
    async with needs.database.read() as session:
        record = await rollouts.get(session, rollout_id)
    if record is None:
        raise NotFound(f"there is no rollout {rollout_id[:64]!r}")
    return record
