"""Twins that count what changes the world, and fail when a test says so: before a call, or right after it has taken effect."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tests.twins.quarantines import TwinQuarantines
from tests.twins.registry import TwinRegistry
from tests.twins.serving import TwinServing
from tools.clock import Clock
from tools.quarantines.port import Quarantine
from tools.registry.port import Alias, AliasChange
from tools.serving.port import Capacity, Route

Interference = Callable[[], Awaitable[None]]


class Disturbances:
    """What is to happen around a call, each once, in the order given."""

    def __init__(self) -> None:
        self._before: dict[str, list[Interference]] = {}
        self._after: dict[str, list[Interference]] = {}

    def before(self, call: str, *events: Interference | BaseException) -> None:
        self._before.setdefault(call, []).extend(map(_event, events))

    def after(self, call: str, *events: Interference | BaseException) -> None:
        self._after.setdefault(call, []).extend(map(_event, events))

    async def begin(self, call: str) -> None:
        if events := self._before.get(call):
            await events.pop(0)()

    async def end(self, call: str) -> None:
        if events := self._after.get(call):
            await events.pop(0)()


class DisturbedRegistry(TwinRegistry):
    """`calls` counts what was asked for, by the key it was asked under."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.calls: Counter[str] = Counter()
        self.disturb = Disturbances()

    async def set_alias(
        self, model: str, alias: Alias, version: str | None, *, expected: str | None, key: str, actor: str, reason: str
    ) -> AliasChange:
        await self.disturb.begin("set_alias")
        self.calls[key] += 1
        change = await super().set_alias(model, alias, version, expected=expected, key=key, actor=actor, reason=reason)
        await self.disturb.end("set_alias")
        return change


class DisturbedServing(TwinServing):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.disturb = Disturbances()

    async def set_weights(
        self,
        model: str,
        weights: dict[str, int],
        *,
        expected_generation: int,
        key: str,
        shadow: dict[str, int] | None = None,
        salt: str | None = None,
    ) -> Route:
        await self.disturb.begin("set_weights")
        self.calls[key] += 1
        route = await super().set_weights(
            model, weights, expected_generation=expected_generation, key=key, shadow=shadow, salt=salt
        )
        await self.disturb.end("set_weights")
        return route

    async def scale(self, model: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        await self.disturb.begin("scale")
        self.calls[key] += 1
        capacity = await super().scale(model, workers, expected_workers=expected_workers, key=key)
        await self.disturb.end("scale")
        return capacity


class DisturbedQuarantines(TwinQuarantines):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.calls: Counter[str] = Counter()
        self.disturb = Disturbances()

    async def place(self, *what: Any, key: str, **how: Any) -> Quarantine:
        await self.disturb.begin("place")
        self.calls[key] += 1
        placed = await super().place(*what, key=key, **how)
        await self.disturb.end("place")
        return placed

    async def release(self, quarantine: str, *, key: str, actor: str, reason: str) -> Quarantine:
        await self.disturb.begin("release")
        self.calls[key] += 1
        released = await super().release(quarantine, key=key, actor=actor, reason=reason)
        await self.disturb.end("release")
        return released


def _event(event: Interference | BaseException) -> Interference:
    if not isinstance(event, BaseException):
        return event

    async def fail() -> None:
        raise event

    return fail
