"""The platform itself: autonomy, policies, models as they are served, the audit log, API keys."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from agents.policies import Mode
from api.problems import Clash, FieldError, Invalid, NotFound
from api.store import audit, keys
from api.web import auth
from api.web.auth import Needs, Role, new_key
from api.web.views import AuditView, KeyView, PageView, paged
from tools.errors import Conflict, PortError
from tools.registry.port import Alias, AliasChange, ModelVersion
from tools.serving.port import Capacity, Route, ServedVersion
from tools.values import Instant

router = APIRouter(prefix="/v1")


class AutonomyView(BaseModel):
    mode: Mode
    actor: str | None
    """Null: nobody has set it; it is the policies'."""
    reason: str | None
    at: datetime | None


class AutonomyBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"mode": "observe", "reason": "drill"}]})

    mode: Mode
    reason: str = Field(min_length=1, max_length=2_000)


@router.get("/autonomy", tags=["autonomy"])
async def show_autonomy(needs: Needs, _who: auth.CanView) -> AutonomyView:
    current = await needs.autonomy.current()
    if current is None:
        return AutonomyView(mode=needs.policies().mode, actor=None, reason=None, at=None)
    return AutonomyView(mode=Mode(current.mode), actor=current.actor, reason=current.reason, at=current.at)


@router.put("/autonomy", tags=["autonomy"])
async def set_autonomy(body: AutonomyBody, needs: Needs, who: auth.CanDecide) -> AutonomyView:
    """The kill switch: `observe` holds at once, for everything that has not been carried out yet."""
    record = await needs.autonomy.change(body.mode, actor=who.name, reason=body.reason)
    return AutonomyView(mode=Mode(record.mode), actor=record.actor, reason=record.reason, at=record.at)


class PoliciesView(BaseModel):
    version: str
    policies: dict[str, Any]


@router.get("/policies", tags=["policies"])
async def show_policies(needs: Needs, _who: auth.CanView) -> PoliciesView:
    policies = needs.policies()
    return PoliciesView(version=policies.version, policies=policies.model_dump(mode="json"))


class ModelsView(BaseModel):
    items: list[str]


class ModelView(BaseModel):
    name: str
    aliases: dict[str, str]
    versions: list[ModelVersion]
    route: Route | None
    """Null: the gateway does not serve it, or does not answer; `serving_error` says which."""
    served: list[ServedVersion]
    capacity: Capacity | None
    serving_error: str | None


class HistoryView(BaseModel):
    items: list[AliasChange]


@router.get("/models", tags=["models"])
async def list_models(needs: Needs, _who: auth.CanView) -> ModelsView:
    return ModelsView(items=sorted(await needs.registry.models()))


@router.get("/models/{name}", tags=["models"])
async def show_model(name: str, needs: Needs, _who: auth.CanView) -> ModelView:
    versions = await needs.registry.versions(name)
    if not versions:
        raise NotFound(f"there is no model {name[:200]!r} in the registry")
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


@router.get("/models/{name}/history", tags=["models"])
async def show_history(name: str, needs: Needs, _who: auth.CanView) -> HistoryView:
    """Every move of an alias, oldest first: who, when, why, from, to."""
    if not await needs.registry.versions(name):
        raise NotFound(f"there is no model {name[:200]!r} in the registry")
    return HistoryView(items=list(await needs.registry.history(name)))


class VerificationView(BaseModel):
    ok: bool
    lines: int
    first_bad_seq: int | None
    head: str


@router.get("/audit", tags=["audit"])
async def list_audit(
    needs: Needs,
    _who: auth.CanView,
    subject: str | None = None,
    actor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> PageView[AuditView]:
    """Newest first."""
    async with needs.database.read() as session:
        page = await audit.page(session, subject=subject, actor=actor, limit=limit, cursor=cursor)
    return paged(page, AuditView)


@router.get("/audit/verify", tags=["audit"])
async def verify_audit(needs: Needs, _who: auth.CanView) -> VerificationView:
    """Walk the whole hash chain."""
    async with needs.database.read() as session:
        found = await audit.verify(session)
    return VerificationView(**vars(found))


class KeyBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "ada", "role": "approver"}]})

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
    role: str = Field(pattern="^(viewer|operator|approver|admin)$")
    expires_at: Instant | None = None


class NewKeyView(KeyView):
    key: str
    """The key itself. It is not stored, and shown this once."""


class KeysView(BaseModel):
    items: list[KeyView]


@router.get("/keys", tags=["keys"])
async def list_keys(needs: Needs, _who: auth.CanAdminister) -> KeysView:
    async with needs.database.read() as session:
        return KeysView(items=[KeyView.model_validate(key) for key in await keys.all_keys(session)])


@router.post("/keys", status_code=201, tags=["keys"])
async def create_key(body: KeyBody, needs: Needs, who: auth.CanAdminister) -> NewKeyView:
    now = needs.clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise Invalid("the key would have expired", errors=(FieldError(field="expires_at", detail="a time to come"),))
    record, key = new_key(body.name, Role[body.role.upper()], now, body.expires_at)
    try:
        async with needs.database.begin() as transaction:
            await keys.add(transaction, record)
            told = {"key": record.id, "name": body.name, "role": body.role}
            audit.append(transaction, at=now, actor=who.name, action="key.created", subject=f"key:{record.id}", data=told)
    except Conflict as error:
        raise Clash(f"there is a key named {body.name} already; names are never used again") from error
    return NewKeyView(**KeyView.model_validate(record).model_dump(), key=key)


@router.delete("/keys/{key_id}", status_code=204, tags=["keys"])
async def revoke_key(key_id: str, needs: Needs, who: auth.CanAdminister) -> Response:
    now = needs.clock.now()
    async with needs.database.begin() as transaction:
        if not await keys.revoke(transaction, key_id, at=now):
            raise NotFound(f"there is no valid key {key_id[:64]!r}")
        audit.append(transaction, at=now, actor=who.name, action="key.revoked", subject=f"key:{key_id}", data={})
    return Response(status_code=204)
