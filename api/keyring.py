"""API keys from the command line: whoever can open the database may make one."""

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from api import home
from api.settings import Settings
from api.store import audit, keys
from api.store.database import Database
from api.terminal import Refused, WrongUse
from api.web.auth import Role, new_key
from api.web.views import KEY_NAME, KeyView
from tools.clock import clock_from
from tools.errors import Conflict, TemporaryError

_ACTOR = "command line"
_NAME = re.compile(KEY_NAME)


async def create(settings: Settings, name: str, role: str, lasts: timedelta | None = None) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        raise WrongUse(f"--name {name!r}: letters, digits and . _ @ - only, at most a hundred")
    now = clock_from(settings.clock).now()
    record, key = new_key(name, Role[role.upper()], now, None if lasts is None else now + lasts)
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
    try:
        async with home.opened(settings) as (database, _):
            yield database
    except (home.HomeInUse, home.HomeUnusable) as error:
        raise Refused(str(error)) from error
    except TemporaryError as error:
        raise Refused(f"{error}; check OPPEN_DATABASE_URL with `oppen doctor`") from error
