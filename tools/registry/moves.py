"""The rules by which an alias is moved, once and on record, whatever registry and whatever database are behind it.

A move is: alone for this model; settle what a crash left open; note what others did; compare; intend; put; look again; done.
Killed at any instant, the same key finds its trace: an intention whose version the alias carries has happened, any other has
not and is made again. Moves behind our back (MLflow's own pages, scripts) are noticed when somebody looks, and recorded as
`external` with the time of noticing, because the registry keeps none.

What remains: a registry without compare-and-set lets somebody who does not use these rules move the alias between our look
and our write, a few milliseconds; the look afterwards finds it if theirs came last, and nobody finds it if ours did. A move
there and back between two looks leaves no trace. And a process killed while its registry client is writing may still have the
write happen after its lock is gone.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

from tools.clock import Clock
from tools.errors import Conflict, PermanentError
from tools.registry.history import Entry, History
from tools.registry.port import Alias, AliasChange


class Aliases(Protocol):
    """A registry's aliases as it keeps them, without history."""

    async def carried(self, model: str) -> Mapping[Alias, str]:
        """Version by alias, now; empty for an unknown model."""
        ...

    async def put(self, model: str, alias: Alias, version: str | None, *, expected: str | None) -> str | None:
        """Look, write, look again; what the alias is on then. None: it is taken off.

        Raises Conflict, with nothing written, when it is not on `expected`, PermanentError when there is no such version.
        """
        ...


class Moves:
    def __init__(self, aliases: Aliases, history: History, clock: Clock) -> None:
        self._aliases = aliases
        self._history = history
        self._clock = clock

    async def changes(self, model: str) -> tuple[AliasChange, ...]:
        """All that took place, oldest first, with what others did noted just now."""
        entries, carried = await asyncio.gather(self._history.entries(model), self._aliases.carried(model))
        if _settled(entries, carried):
            return _done(entries)
        async with self._history.exclusive(model):
            return await self._settle(model)

    async def at(self, model: str, alias: Alias, moment: datetime) -> str | None:
        carrier = None
        for change in await self.changes(model):
            if change.alias is alias and change.at <= moment:
                carrier = change.after
        return carrier

    async def move(
        self, model: str, alias: Alias, version: str | None, *, expected: str | None, key: str, actor: str, reason: str
    ) -> AliasChange:
        """See `Registry.set_alias`."""
        async with self._history.exclusive(model):
            changes = await self._settle(model)
            first = next((change for change in changes if change.key == key), None)
            if first is not None:
                if (first.model, first.alias, first.before, first.after) != (model, alias, expected, version):
                    raise PermanentError(f"{key} was used for {first.model}@{first.alias}: {first.before} to {first.after}")
                return first
            current = _carriers(changes).get(alias)
            if current != expected:
                raise Conflict(f"{model}@{alias} is on {current or 'no version'}, not on {expected or 'no version'}")
            change = AliasChange(
                model=model,
                alias=alias,
                before=expected,
                after=version,
                at=self._clock.now(),
                actor=actor,
                reason=reason,
                key=key,
                origin="oppen",
            )
            await self._history.add(Entry(change, "intended"))
            try:
                found = await self._aliases.put(model, alias, version, expected=expected)
            except PermanentError:
                await self._history.settle(key, "void")
                raise
            await self._history.settle(key, "done")
            if found != version:
                await self._settle(model)
                raise Conflict(f"{model}@{alias} was moved to {found} by somebody else in the same moment")
            return change

    @contextlib.asynccontextmanager
    async def alone(self, model: str) -> AsyncIterator[tuple[AliasChange, ...]]:
        """With all that took place until now; nobody who uses these rules moves an alias of the model meanwhile."""
        async with self._history.exclusive(model):
            yield await self._settle(model)

    async def _settle(self, model: str) -> tuple[AliasChange, ...]:
        """Make the record agree with the registry, and return it. Only for whoever is alone."""
        carried = await self._aliases.carried(model)
        entries = await self._history.entries(model)
        for entry in entries:
            if entry.state == "intended":
                happened = carried.get(entry.change.alias) == entry.change.after
                await self._history.settle(entry.change.key, "done" if happened else "void")
        done = _done(await self._history.entries(model)) if any(e.state == "intended" for e in entries) else _done(entries)
        for alias in Alias:
            before, after = _carriers(done).get(alias), carried.get(alias)
            if before != after:
                noticed = self._noticed(model, alias, before, after, done)
                await self._history.add(Entry(noticed, "done"))
                done = (*done, noticed)
        return done

    def _noticed(
        self, model: str, alias: Alias, before: str | None, after: str | None, done: tuple[AliasChange, ...]
    ) -> AliasChange:
        now = self._clock.now()
        last = max((change.at for change in done if change.alias is alias), default=None)
        since = f" and after {last.isoformat()}" if last is not None else ""
        return AliasChange(
            model=model,
            alias=alias,
            before=before,
            after=after,
            at=now,
            actor="external",
            reason=f"moved outside the platform, before {now.isoformat()}{since}",
            key=f"external/{uuid.uuid4().hex}",
            origin="external",
        )


def _done(entries: tuple[Entry, ...]) -> tuple[AliasChange, ...]:
    return tuple(entry.change for entry in entries if entry.state == "done")


def _carriers(changes: tuple[AliasChange, ...]) -> dict[Alias, str | None]:
    """Where the record says that the aliases are."""
    return {change.alias: change.after for change in changes}


def _settled(entries: tuple[Entry, ...], carried: Mapping[Alias, str]) -> bool:
    recorded = {alias: version for alias, version in _carriers(_done(entries)).items() if version is not None}
    return recorded == dict(carried) and all(entry.state == "done" for entry in entries)
