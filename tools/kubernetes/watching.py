"""Everything there is, then every change to it, through broken connections, restarted servers and forgotten versions."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from tools.errors import TemporaryError
from tools.kubernetes.cluster import Cluster, Object
from tools.kubernetes.errors import Expired, of_event
from tools.kubernetes.kinds import Kind

_ROUND_S = 60
"""The server ends a watch after this long, and we go on where it was: so one that has silently died is noticed."""
_PAUSES_S = (0.2, 5.0)
"""Before the second try to come back, doubled for each further one, and at most."""


@dataclass(frozen=True)
class Change:
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


async def changes(
    cluster: Cluster, kind: Kind, *, labels: str | None = None, fields: str | None = None, patience_s: float = 60.0
) -> AsyncGenerator[Change]:
    """What is there comes as ADDED first. Where the server has forgotten our version, what has changed meanwhile comes as one.

    Raises TemporaryError when the server stays away for `patience_s`, PermanentError when it refuses.
    """
    known: dict[str, Object] = {}
    version: str | None = None
    clock = asyncio.get_running_loop().time
    heard, pause_s = clock(), _PAUSES_S[0]
    while True:
        try:
            if version is None:
                items, version = await cluster.list(kind, labels=labels, fields=fields)
                for change in _differences(known, items):
                    yield change
                known = {_uid(item): item for item in items}
            heard, pause_s = clock(), _PAUSES_S[0]
            async with aclosing(_events(cluster, kind, labels, fields, version)) as events:
                async for event in events:
                    heard, pause_s = clock(), _PAUSES_S[0]
                    version = str(event["object"]["metadata"]["resourceVersion"])
                    if event["type"] == "BOOKMARK":
                        continue
                    if event["type"] == "DELETED":
                        known.pop(_uid(event["object"]), None)
                    else:
                        known[_uid(event["object"])] = event["object"]
                    yield Change(event["type"], event["object"])
        except Expired:
            version = None
        except TemporaryError:
            if clock() - heard > patience_s:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSES_S[1])


async def _events(
    cluster: Cluster, kind: Kind, labels: str | None, fields: str | None, version: str
) -> AsyncGenerator[dict[str, Any]]:
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": _ROUND_S,
        "labelSelector": labels,
        "fieldSelector": fields,
    }
    path = kind.path(cluster.namespace)
    async with aclosing(cluster.stream(path, query, quiet_s=_ROUND_S + 15)) as lines:
        async for line in lines:
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise TemporaryError(f"watch {path}: an event broke off") from error
            if event["type"] == "ERROR":
                raise of_event(event["object"], f"watch {path}")
            yield event


def _differences(known: dict[str, Object], items: tuple[Object, ...]) -> list[Change]:
    now = {_uid(item): item for item in items}
    gone = [Change("DELETED", item) for uid, item in known.items() if uid not in now]
    fresh = [Change("ADDED", item) for uid, item in now.items() if uid not in known]
    moved = [Change("MODIFIED", item) for uid, item in now.items() if uid in known and _version(known[uid]) != _version(item)]
    return gone + fresh + moved


def _uid(item: Object) -> str:
    return str(item["metadata"]["uid"])


def _version(item: Object) -> str:
    return str(item["metadata"]["resourceVersion"])
