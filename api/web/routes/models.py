"""Models as they are: what the registry has, what the gateway serves. Read straight from both, so never out of date."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api.problems import NotFound
from api.store.text import storable
from api.web import auth
from api.web.dependencies import Needs
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
