"""API keys from the command line: whoever can open the database may make one."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from api.settings import Settings
from api.store import audit, keys
from api.store.database import Database
from api.terminal import Refused
from api.web.auth import Role, new_key
from api.web.views import KeyView
from tools.clock import clock_from
from tools.errors import Conflict

_ACTOR = "command line"


async def create(settings: Settings, name: str, role: str) -> dict[str, Any]:
    if role.upper() not in Role.__members__:
        raise Refused(f"--role {role}: use one of {', '.join(each.name.lower() for each in Role)}")
    now = clock_from(settings.clock).now()
    record, key = new_key(name, Role[role.upper()], now)
    async with _open(settings) as database:
        try:
            async with database.begin() as transaction:
                await keys.add(transaction, record)
                told = {"key": record.id, "name": name, "role": role}
                audit.append(transaction, at=now, actor=_ACTOR, action="key.created", subject=f"key:{record.id}", data=told)
        except Conflict as error:
            raise Refused(f"there is a key named {name} already; names are never used again") from error
    return {**KeyView.model_validate(record).model_dump(mode="json"), "key": key}


async def listing(settings: Settings) -> list[dict[str, Any]]:
    async with _open(settings) as database, database.read() as session:
        return [KeyView.model_validate(key).model_dump(mode="json") for key in await keys.all_keys(session)]


async def revoke(settings: Settings, key_id: str) -> None:
    now = clock_from(settings.clock).now()
    async with _open(settings) as database, database.begin() as transaction:
        if not await keys.revoke(transaction, key_id, at=now):
            raise Refused(f"there is no valid key {key_id}")
        audit.append(transaction, at=now, actor=_ACTOR, action="key.revoked", subject=f"key:{key_id}", data={})


@contextlib.asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Database]:
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        await database.migrate()
        yield database
    finally:
        await database.close()
