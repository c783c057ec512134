"""Models as they are: what the registry has, what the gateway serves. Read straight from both, so never out of date."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.problems import NotFound
from api.store.text import storable
from api.web import auth
from api.web.asking import TriggeredView, ask
from api.web.dependencies import Needs, json_only
from api.web.openapi import answers
from api.web.repeats import OnlyOnce
from api.web.services import Services
from api.web.views import View
from tools.errors import PermanentError, PortError
from tools.registry.port import Alias, AliasChange, ModelVersion
from tools.serving.port import Capacity, Route, ServedVersion

router = APIRouter(prefix="/v1/models", tags=["models"])


class ModelsView(View):
    items: list[str]


class ModelView(View):
    name: str
    aliases: dict[str, str]
    """Alias to version."""
    versions: list[ModelVersion]
    """Newest first."""
    route: Route | None
    """Null: the gateway does not serve it, or does not answer; `serving_error` says which."""
    served: list[ServedVersion]
    capacity: Capacity | None
    serving_error: str | None


class AliasesView(View):
    at: datetime
    aliases: dict[str, str]
    """Alias to the version that carried it at that moment."""


class RollbackBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "complaints from the gate crews"}]})

    version: str | None = Field(default=None, min_length=1, max_length=200)
    """To go back to; default: the champion before."""
    reason: str = Field(min_length=1, max_length=2_000)


class HistoryView(View):
    items: list[AliasChange]


@router.get("")
async def list_models(needs: Needs, _who: auth.CanView) -> ModelsView:
    return ModelsView(items=sorted(await needs.registry.models()))


@router.get("/{name}")
async def show_model(name: str, needs: Needs, _who: auth.CanView) -> ModelView:
    versions = await _versions(needs, name)
    carried = {alias.value: await needs.registry.alias(name, alias) for alias in Alias}
    route: Route | None = None
    capacity: Capacity | None = None
    served: tuple[ServedVersion, ...] = ()
    reason: str | None = None
    try:
        route = await needs.serving.route(name)
        served = await needs.serving.served(name)
        capacity = await needs.serving.capacity(name)
    except PortError as error:
        reason = str(error)
    return ModelView(
        name=name,
        aliases={alias: version for alias, version in carried.items() if version is not None},
        versions=list(versions),
        route=route,
        served=list(served),
        capacity=capacity,
        serving_error=reason,
    )


@router.get("/{name}/aliases")
async def show_aliases(
    name: str,
    needs: Needs,
    _who: auth.CanView,
    at: Annotated[AwareDatetime | None, Query(description="A moment, with its offset; default: now.")] = None,
) -> AliasesView:
    """Which version was champion at that moment."""
    await _versions(needs, name)
    moment = (at or needs.clock.now()).astimezone(UTC)
    carried = {alias.value: await needs.registry.alias_at(name, alias, moment) for alias in Alias}
    return AliasesView(at=moment, aliases={alias: version for alias, version in carried.items() if version is not None})


@router.get("/{name}/history")
async def show_history(name: str, needs: Needs, _who: auth.CanView) -> HistoryView:
    """Every move of an alias, oldest first: who, when, why, from, to."""
    await _versions(needs, name)
    return HistoryView(items=list(await needs.registry.history(name)))


@router.post(
    "/{name}/rollback",
    status_code=202,
    response_model=TriggeredView,
    responses=answers(404, 409),
    dependencies=[Depends(json_only)],
)
async def roll_back(
    name: str, body: RollbackBody, needs: Needs, who: auth.CanOperate, once: OnlyOnce
) -> TriggeredView | JSONResponse:
    """Ask for the champion to be taken back, to `version` or to the one before it. Somebody else has to approve."""
    return await ask("rollback", {"model": name, **body.model_dump()}, needs, who.name, once)


async def _versions(needs: Services, name: str) -> tuple[ModelVersion, ...]:
    """Raises NotFound."""
    versions: tuple[ModelVersion, ...] = ()
    if storable(name):
        try:
            versions = await needs.registry.versions(name)
        except PermanentError as error:
            # A name that the registry does not even look up.
            raise NotFound(f"there is no model {name[:200]!r} in the registry") from error
    if not versions:
        raise NotFound(f"there is no model {name[:200]!r} in the registry")
    return versions
