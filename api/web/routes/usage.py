"""What language models read and wrote, how soon, and what it cost, by version: one window of the prediction store."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, field_serializer

from api.problems import FieldError, Invalid, NotFound
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs, asks_much
from api.web.openapi import answers
from api.web.views import View
from tools.predictions.port import TokenCost, TokenUsage, VersionWindow
from tools.values import Window

router = APIRouter(prefix="/v1/models", tags=["models"])

_DAY = timedelta(days=1)
_LONGEST = timedelta(days=92)
"""A quarter: calls are read one by one."""
_EARLIEST_YEAR, _LATEST_YEAR = 2000, 2100


class TokenCostView(View):
    currency: str
    """ISO 4217."""
    amount: Decimal
    """Exact."""
    calls: int
    """Those that had a price and known numbers of tokens."""
    per_call: Decimal
    per_million_tokens: Decimal | None
    """Read and written tokens together."""

    @field_serializer("amount", "per_call", "per_million_tokens")
    def _plain(self, value: Decimal | None) -> str | None:
        return format(value, "f") if value is not None else None


class VersionUsageView(View):
    version: str
    calls: int
    errors: int
    latency_p95_ms: float | None
    counted: int
    """Calls of which the numbers of tokens are known."""
    prompt_tokens: int
    completion_tokens: int
    first_token_mean_ms: float | None
    """Of streams: from the request's body to the first token."""
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    finishes: dict[str, int]
    """Why answers ended; `cancelled`: the client left."""
    costs: list[TokenCostView]


class UsageView(View):
    model: str
    start: datetime
    end: datetime
    versions: list[VersionUsageView]
    """Empty for a model that is no language model."""


@router.get("/{name}/usage", responses=answers(404), dependencies=[Depends(asks_much)])
async def show_usage(
    name: str,
    needs: Needs,
    _who: auth.CanView,
    start: Annotated[AwareDatetime | None, Query(description="Default: a day before `end`.")] = None,
    end: Annotated[AwareDatetime | None, Query(description="Default: now.")] = None,
) -> UsageView:
    """Tokens, times to the first token and costs of a language model, by version, beside its errors."""
    if not storable(name) or name not in await needs.predictions.models():
        raise NotFound(f"there are no predictions of a model {name[:200]!r}")
    window = _window(start, end or needs.clock.now())
    served = {each.version: each for each in await needs.predictions.versions(name, window)}
    found = await needs.predictions.usage(name, window)
    return UsageView(
        model=name, start=window.start, end=window.end, versions=[_version(each, served.get(each.version)) for each in found]
    )


def _window(start: datetime | None, end: datetime) -> Window:
    for field, moment in (("start", start), ("end", end)):
        if moment is not None and not _EARLIEST_YEAR < moment.year < _LATEST_YEAR:
            raise _refused(field, f"has to be after {_EARLIEST_YEAR} and before {_LATEST_YEAR}: nothing else is stored")
    start = start or end - _DAY
    if start >= end:
        raise _refused("start", f"has to be before `end`, which is {end.isoformat()}")
    if end - start > _LONGEST:
        raise _refused("start", f"{_LONGEST.days} days are asked for at most")
    return Window(start=start, end=end)


def _refused(field: str, detail: str) -> Invalid:
    return Invalid("the window cannot be made of this", errors=(FieldError(field=field, detail=detail),))


def _version(used: TokenUsage, served: VersionWindow | None) -> VersionUsageView:
    return VersionUsageView(
        **used.model_dump(exclude={"model", "window", "costs"}),
        errors=served.errors if served is not None else 0,
        latency_p95_ms=served.latency_p95_ms if served is not None else None,
        costs=[_cost(cost) for cost in used.costs],
    )


def _cost(cost: TokenCost) -> TokenCostView:
    return TokenCostView(
        currency=cost.currency,
        amount=cost.amount.normalize(),
        calls=cost.calls,
        per_call=cost.per_call,
        per_million_tokens=cost.per_million_tokens,
    )
