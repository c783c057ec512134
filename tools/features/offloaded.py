"""The reading half for the service: Feast in a child process, started at the first question, or ahead by `ping`."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tools.clock import Clock
from tools.features.addresses import Place
from tools.features.port import Found, Key, ViewState
from tools.offload import ChildProcess

if TYPE_CHECKING:
    from tools.features.feast import FeastStore

_ANSWER_S = 30.0
"""Calls come one after the other: one that is stuck would hold up every lookup. A lookup of 1,000 entities takes well below a
second, the states of some ten thousand batches seconds."""


class OffloadedFeatures:
    """`Features`."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._clock = clock
        self._child = ChildProcess("features", _opened, place, answer_s=_ANSWER_S)

    async def ping(self) -> None:
        await self._child.call(_ping)

    async def states(self) -> tuple[ViewState, ...]:
        return await self._child.call(_states)

    async def lookup(self, keys: Sequence[Key], features: Sequence[str]) -> tuple[Found, ...]:
        return await self._child.call(_lookup, list(keys), list(features), self._clock.now())

    async def close(self) -> None:
        await self._child.close()


def _opened(place: Place) -> "FeastStore":
    from tools.features.feast import FeastStore

    return FeastStore(place)


def _ping(store: "FeastStore") -> None:
    store.ping()


def _states(store: "FeastStore") -> tuple[ViewState, ...]:
    return store.states()


def _lookup(store: "FeastStore", keys: list[Key], features: list[str], now: datetime) -> tuple[Found, ...]:
    return store.lookup(keys, features, now)
