"""Features as they are online, and how fresh: read from the store, by way of its process."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from api.problems import FieldError, Invalid, NotFound
from api.web import auth
from api.web.dependencies import Needs
from api.web.openapi import answers
from api.web.services import Services
from api.web.views import View
from tools.features.port import MAX_FEATURES, MAX_KEYS, Features, Kind, Unanswerable, Value, ViewState

router = APIRouter(prefix="/v1/features", tags=["features"])


class FeatureView(View):
    name: str
    version: str
    """Of its definition and code."""
    current: bool
    """Whether the name alone means this version."""
    description: str
    owner: str
    source: str
    """Table in the lake."""
    entities: dict[str, Literal["text", "integer"]]
    """What a lookup has to give, and as what."""
    features: dict[str, Kind]
    ttl_s: float
    """A value that is older is null."""
    rows: int
    newest: datetime | None
    """When the latest of the facts became known that are in it."""
    computed_at: datetime | None
    materialized_until: datetime | None
    """What is looked up is what was so then; null: nothing is online."""


class FeaturesView(View):
    items: list[FeatureView]
    """By name, the current version first."""


_Name = Annotated[StrictStr, Field(min_length=1, max_length=100)]


class LookupBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"entities": [{"origin": "JFK"}], "features": ["origin_delays:late_rate_24h", "origin_weather:temp"]}]
        },
    )

    entities: Annotated[
        list[Annotated[dict[_Name, Annotated[StrictStr, Field(max_length=1_000)] | StrictInt], Field(max_length=50)]],
        Field(min_length=1, max_length=MAX_KEYS),
    ]
    """Each with all entities of all views that are asked about."""
    features: Annotated[list[Annotated[StrictStr, Field(max_length=200)]], Field(min_length=1, max_length=MAX_FEATURES)]
    """`view:feature`, `view` for all of its own, or `view@version:feature` for what a model was trained on."""


class EntityValuesView(View):
    entity: dict[str, str | int]
    values: dict[str, str | int | float | bool | None]
    """Null: it is unknown, or too old."""
    as_of: dict[str, datetime]
    """View to the time from which on its values are so; without those of which nothing is known."""


class FeatureValuesView(View):
    items: list[EntityValuesView]
    """One for each entity, in their order."""


@router.get("", responses=answers(404))
async def list_features(needs: Needs, _who: auth.CanView) -> FeaturesView:
    """Every version of every view. 404 where no feature store is set up."""
    return FeaturesView(items=[_shown(each) for each in await _store(needs).states()])


@router.post("/lookup", responses=answers(404))
async def look_up_features(body: LookupBody, needs: Needs, _who: auth.CanView) -> FeatureValuesView:
    """The latest values of entities. It changes nothing: the body is a question that would be too long for a URL."""
    store = _store(needs)
    try:
        found = await store.lookup(body.entities, body.features)
    except Unanswerable as error:
        raise Invalid("this cannot be looked up", errors=(FieldError(field=error.field, detail=error.detail),)) from error
    items = [
        EntityValuesView(entity=entity, values=_plain(each.values), as_of=each.as_of)
        for entity, each in zip(body.entities, found, strict=True)
    ]
    return FeatureValuesView(items=items)


def _store(needs: Services) -> Features:
    if needs.features is None:
        raise NotFound("there is no feature store: set OPPEN_FEATURES")
    return needs.features


def _shown(state: ViewState) -> FeatureView:
    view = state.view
    return FeatureView(
        name=view.name,
        version=view.version,
        current=state.current,
        description=view.description,
        owner=view.owner,
        source=view.source,
        entities=view.entities,
        features=view.features,
        ttl_s=view.ttl.total_seconds(),
        rows=state.rows,
        newest=state.newest,
        computed_at=state.computed_at,
        materialized_until=state.materialized_until,
    )


def _plain(values: dict[str, Value]) -> dict[str, Value]:
    """JSON has no word for an infinity."""
    return {name: None if value in (float("inf"), float("-inf")) else value for name, value in values.items()}
