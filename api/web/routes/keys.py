"""API keys over HTTP, for administrators. `oppen keys` does the same on the database, for the first of them."""

from typing import Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from api.problems import Clash, FieldError, Invalid, NotFound
from api.store import audit, keys
from api.web import auth
from api.web.auth import Role, new_key
from api.web.dependencies import Needs, json_only
from api.web.openapi import answers
from api.web.views import KEY_NAME, KeyView, View
from tools.errors import Conflict
from tools.values import Instant

router = APIRouter(prefix="/v1/keys", tags=["keys"])


class KeyBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "ada", "role": "approver"}]})

    name: str = Field(pattern=KEY_NAME)
    role: Literal["viewer", "operator", "approver", "admin"]
    expires_at: Instant | None = None


class NewKeyView(KeyView):
    key: str
    """The key itself. It is not stored, and shown this once."""


class KeysView(View):
    items: list[KeyView]


@router.get("")
async def list_keys(needs: Needs, _who: auth.CanAdminister) -> KeysView:
    """All of them, oldest first, revoked ones too: their names are in the audit log."""
    async with needs.database.read() as session:
        return KeysView(items=[KeyView.model_validate(key) for key in await keys.all_keys(session)])


@router.post("", status_code=201, responses=answers(409), dependencies=[Depends(json_only)])
async def create_key(body: KeyBody, needs: Needs, who: auth.CanAdminister) -> NewKeyView:
    """Takes no `Idempotency-Key`, since the answer must not be kept: the name is what is there once. When an answer was lost,
    revoke the key and make one under another name."""
    now = needs.clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise Invalid("the key would have expired", errors=(FieldError(field="expires_at", detail="a time to come"),))
    record, key = new_key(body.name, Role[body.role.upper()], now, body.expires_at)
    told = {"key": record.id, "name": body.name, "role": body.role}
    try:
        async with needs.database.begin() as transaction:
            await keys.add(transaction, record)
            audit.append(transaction, at=now, actor=who.name, action="key.created", subject=f"key:{record.id}", data=told)
    except Conflict as error:
        raise Clash(f"there is a key named {body.name} already; names are never used again") from error
    return NewKeyView(**KeyView.model_validate(record).model_dump(), key=key)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: str, needs: Needs, who: auth.CanAdminister) -> Response:
    """From the next request on. Repeating it changes nothing."""
    now = needs.clock.now()
    async with needs.database.begin() as transaction:
        if await keys.revoke(transaction, key_id, at=now):
            audit.append(transaction, at=now, actor=who.name, action="key.revoked", subject=f"key:{key_id}", data={})
        elif await keys.get(transaction, key_id) is None:
            raise NotFound(f"there is no key {key_id[:64]!r}")
    return Response(status_code=204)
