"""Rollouts: where each stands, and a person's word on it. A rollout begins with an approval, and never here."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api.problems import Clash, NotFound
from api.store import rollouts
from api.store.records import RolloutRecord
from api.store.sessions import Transaction
from api.web import auth
from api.web.dependencies import Cursor, Limit, Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.views import PageView, View, paged
from api.work.rollouts import Wish

router = APIRouter(prefix="/v1/rollouts", tags=["rollouts"])


class RolloutView(View):
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
    return paged(page, RolloutView)


@router.get("/{rollout_id}")
async def show_rollout(rollout_id: str, needs: Needs, _who: auth.CanView) -> RolloutView:
    async with needs.database.read() as session:
        record = await rollouts.get(session, rollout_id)
    if record is None:
        raise NotFound(f"there is no rollout {rollout_id[:64]!r}")
    return RolloutView.model_validate(record)


def _order(wish: Wish, about: str) -> Callable[..., Awaitable[RolloutView | JSONResponse]]:
    async def route(
        rollout_id: str, body: OrderBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
    ) -> RolloutView | JSONResponse:
        if (earlier := await once.earlier()) is not None:
            return earlier

        async def remember(transaction: Transaction, record: RolloutRecord) -> None:
            await once.remember(transaction, RolloutView.model_validate(record))

        try:
            record = await needs.rollouts.order(rollout_id, wish, by=who.name, reason=body.reason, then=remember)
        except Clash:
            # Perhaps by this very request, which came twice at once.
            if (earlier := await once.earlier()) is not None:
                return earlier
            raise
        await needs.wake(record.run_id)
        return RolloutView.model_validate(record)

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
