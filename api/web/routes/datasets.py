"""Tables of raw data: what came, what was measured of it, and whether it gets worse. Read from the lake when asked for."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from agents.datasets import Degradation, Judgement, judge
from agents.freshness import Freshness
from api.problems import NotFound
from api.web import auth
from api.web.dependencies import Needs, asks_much
from api.web.services import Services
from api.web.views import View
from tools.quality.history import Histories, PastBatch
from tools.quality.statistics import ColumnStatistics, RuleCount

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

MOST_BATCHES = 1_000


class DatasetView(View):
    table: str
    bad: bool | None
    """Whether its latest batches are worse than those before; null: too few have come."""
    summary: str
    stale: bool | None
    """Null: neither policy nor a rhythm says when the next batch is due."""
    newest: datetime | None
    """When the newest batch was stored."""
    model: str | None
    """That it feeds, by policy."""


class DatasetsView(View):
    configured: bool
    """Whether there is a lake at all: the setting `OPPEN_LAKE`."""
    items: list[DatasetView]


class BatchQualityView(View):
    key: str
    name: str
    at: datetime
    """When it was stored or refused."""
    verdict: Literal["accepted", "partly accepted", "refused"]
    refused: str | None
    """Why."""
    rows: int
    """Stored."""
    quarantined: int
    schema_version: str | None
    """Null: it was refused, or came without a schema."""
    newest_event: datetime | None
    broken: list[RuleCount]
    """Why rows were quarantined, the most frequent rule first."""
    odd: list[RuleCount]
    """Outliers that were noted and kept."""
    columns: list[ColumnStatistics]


class DatasetQualityView(View):
    table: str
    model: str | None
    """That it feeds, by policy."""
    bad: bool | None
    summary: str
    degradations: list[Degradation]
    compared_with: int
    """Batches before the judged ones."""
    freshness: Freshness
    batches: list[BatchQualityView]
    """Newest first."""


@router.get("", dependencies=[Depends(asks_much)])
async def list_datasets(needs: Needs, _who: auth.CanView) -> DatasetsView:
    """Every table of the lake, by name, and whether it gets worse."""
    if needs.datasets is None:
        return DatasetsView(configured=False, items=[])
    found = [await _summary(needs, needs.datasets, table) for table in await needs.datasets.tables()]
    return DatasetsView(configured=True, items=found)


@router.get("/{table}/quality", dependencies=[Depends(asks_much)])
async def show_dataset_quality(
    table: str,
    needs: Needs,
    _who: auth.CanView,
    batches: Annotated[int, Query(ge=1, le=MOST_BATCHES, description="How many at most; the judgement goes by policy.")] = 20,
) -> DatasetQualityView:
    """What was measured of the latest batches, and whether they are worse than those before: in which respect, how surely."""
    histories = _lake(needs)
    if table not in await histories.tables():
        raise NotFound(f"there is no table {table[:100]!r} in the lake")
    rules = needs.policies().dataset_of(table)
    found = await histories.batches(table, max(batches, rules.history))
    judged = await asyncio.to_thread(judge, found[-rules.history :], rules, needs.clock.now())
    return quality(table, rules.model, judged, found[-batches:])


def quality(table: str, model: str, judgement: Judgement, batches: Sequence[PastBatch]) -> DatasetQualityView:
    """`batches`: oldest first."""
    return DatasetQualityView(
        table=table,
        model=model or None,
        bad=judgement.bad,
        summary=judgement.summary,
        degradations=list(judgement.degradations),
        compared_with=judgement.batches,
        freshness=judgement.freshness,
        batches=[_batch(each) for each in reversed(batches)],
    )


def _batch(batch: PastBatch) -> BatchQualityView:
    measured = batch.statistics
    return BatchQualityView(
        key=batch.key,
        name=batch.name,
        at=batch.at,
        verdict="refused" if batch.refused is not None else "partly accepted" if batch.quarantined else "accepted",
        refused=batch.refused,
        rows=batch.rows,
        quarantined=batch.quarantined,
        schema_version=measured.schema_version if measured is not None else None,
        newest_event=measured.newest if measured is not None else None,
        broken=list(measured.broken) if measured is not None else [],
        odd=list(measured.odd) if measured is not None else [],
        columns=list(measured.columns) if measured is not None else [],
    )


async def _summary(needs: Services, histories: Histories, table: str) -> DatasetView:
    rules = needs.policies().dataset_of(table)
    found = await asyncio.to_thread(judge, await histories.batches(table, rules.history), rules, needs.clock.now())
    return DatasetView(
        table=table,
        bad=found.bad,
        summary=found.summary,
        stale=found.freshness.bad,
        newest=found.freshness.newest,
        model=rules.model or None,
    )


def _lake(needs: Services) -> Histories:
    if needs.datasets is None:
        raise NotFound("no lake is configured: set OPPEN_LAKE to a folder or a URL")
    return needs.datasets
