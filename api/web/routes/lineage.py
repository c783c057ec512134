"""Where things come from: told as OpenLineage events by jobs and by other tools, answered as a graph."""

import asyncio
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from api.problems import FieldError, Invalid, Malformed, NotFound, Overloaded
from api.store import lineage
from api.web import auth, payloads
from api.web.dependencies import Cursor, Here, Limit, Needs, json_only
from api.web.openapi import answers
from api.web.senders import READ_S
from api.web.views import View
from tools.errors import PermanentError
from tools.lineage import port
from tools.lineage.graph import WrongCursor
from tools.lineage.names import MAX_ID
from tools.lineage.port import Direction, EdgeKind, NodeKind, NotKnown
from tools.lineage.projection import Unreadable

router = APIRouter(prefix="/v1/lineage", tags=["lineage"])


class ToldView(View):
    new: bool
    """False: the very same event was told before, and this one changed nothing."""
    run: str
    """The id of its run's node."""


class NodeView(View):
    id: str
    kind: NodeKind
    namespace: str
    name: str
    version: str | None
    """Of features, models and batches, whose version is their key."""
    depth: int
    """Edges away from the node that was asked for."""
    job: str | None
    """Of a run: the id of its job."""
    state: str | None
    """Of a run: RUNNING, COMPLETE, ABORT or FAIL."""
    started_at: datetime | None
    ended_at: datetime | None
    facets: dict[str, Any]
    """As OpenLineage has them, the newest of each name: code, schema, statistics, MLflow's run."""


class EdgeView(View):
    source: str
    target: str
    kind: EdgeKind
    """Data flows along `input` and `output` of a run and `part` (a batch of its dataset). `job`, `parent`: whose a run was."""
    facets: dict[str, Any]


class GraphView(View):
    node: str
    nodes: list[NodeView]
    """Nearest first."""
    edges: list[EdgeView]
    """Those of which the later end is on this page: all pages together are the whole graph."""
    next_cursor: str | None = Field(description="Hand it in as `cursor` for what follows; null at the end.")


@router.post("", dependencies=[Depends(json_only)], openapi_extra=payloads.RUN_EVENT)
async def tell_lineage(request: Request, needs: Needs, here: Here, who: auth.CanOperate) -> ToldView:
    """Take one OpenLineage RunEvent, as Airflow, dbt, Spark and our own jobs send them. 200 says that it is on disk.

    Events may come late, twice, in any order, or without their START. Passwords in URLs and values that are named a secret are
    not kept. A dataset with the facet `oppen_batches` (`{"batches": [{"key": ..., "rows": ...}]}`) is those batches of it.
    """
    with here.gate:
        told = await asyncio.to_thread(_understood, await _body(request))
        async with needs.database.begin() as transaction:
            new = await lineage.record(transaction, told, told_by=who.name, at=needs.clock.now())
    return ToldView(new=new, run=f"{NodeKind.RUN}:{told.read.run.run_id}")


@router.get("", responses=answers(404))
async def show_lineage(
    needs: Needs,
    _who: auth.CanView,
    node: Annotated[
        str,
        Query(
            max_length=MAX_ID,
            description="`model:NAME/VERSION`, `dataset:NAMESPACE/NAME`, `batch:TABLE/KEY`, `features:VIEW@VERSION`, "
            "`job:NAMESPACE/NAME` or `run:UUID`.",
            examples=["model:flights/3"],
        ),
    ],
    direction: Annotated[Direction, Query(description="What it came from, what came of it, or both.")] = Direction.BOTH,
    depth: Annotated[int, Query(ge=0, le=port.MAX_DEPTH, description="Edges away at most.")] = 20,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> GraphView:
    """What a thing came from, and what came of it."""
    query = port.Query(node=node, direction=direction, depth=depth, limit=limit, cursor=cursor)
    try:
        async with needs.database.read() as session:
            return GraphView.model_validate(await lineage.look_up(session, query))
    except NotKnown as error:
        raise NotFound(str(error)) from error
    except PermanentError as error:
        field = "cursor" if isinstance(error, WrongCursor) else "node"
        raise Invalid("the graph cannot be walked from this", errors=(FieldError(field=field, detail=str(error)),)) from error


async def _body(request: Request) -> bytes:
    """Bounded in time, as a delivery of alerts is."""
    try:
        async with asyncio.timeout(READ_S):
            return await request.body()
    except TimeoutError as error:
        raise Overloaded(f"the body did not come within {READ_S:.0f} s", retry_after_s=2) from error


def _understood(body: bytes) -> lineage.Told:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {str(error)[:200]}") from error
    try:
        return lineage.understood(event)
    except Unreadable as error:
        faults = tuple(FieldError(field=field, detail=what) for field, what in error.faults)
        raise Invalid("the body is no RunEvent of OpenLineage", errors=faults) from error
