"""The prediction store on ClickHouse: the engine, kept away from the event loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from tools.clickhouse.connection import EMBEDDED, SERVERS
from tools.errors import PermanentError
from tools.offload import ChildProcess
from tools.predictions import exposures
from tools.predictions.engine import Engine
from tools.predictions.port import (
    Copies,
    Exposures,
    FeatureProfile,
    Loaded,
    Mirrored,
    Outcome,
    Period,
    Sampled,
    Slice,
    Tally,
    TokenUsage,
    VersionWindow,
    Volume,
    Work,
)
from tools.tables.port import Distributions
from tools.values import LeftOut, Window

T = TypeVar("T")
P = ParamSpec("P")


_THREADS = 4
"""Queries of the embedded engine at once. Most of a small one is planning, which is done in one thread."""


class Elsewhere(Protocol):
    """Where the engine runs."""

    async def call(self, function: Callable[Concatenate[Any, P], T], *arguments: P.args, **options: P.kwargs) -> T: ...

    async def close(self) -> None: ...


class _Threads:
    """A server's client blocks on the network only; it is opened on the first call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()

    async def call(self, function: Callable[Concatenate[Any, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        async with self._opening:
            if self._engine is None:
                self._engine = await asyncio.to_thread(Engine, self._url)
        return await asyncio.to_thread(function, self._engine, *arguments, **options)

    async def close(self) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)


def open_store(url: str) -> "ClickHouseStore":
    """`url`: `chdb:///absolute/folder`, or `clickhouse://user:password@host:port/database` (also `http://`, `https://`,
    `clickhouses://`). Opens nothing yet. Raises PermanentError for any other."""
    if url.startswith(f"{EMBEDDED}/"):
        return ClickHouseStore(ChildProcess("predictions", Engine, url, threads=_THREADS))
    scheme, found, _ = url.partition("://")
    if not found or scheme not in SERVERS:
        raise PermanentError(
            f"a prediction store is at chdb:///absolute/folder or {', '.join(sorted(SERVERS))}://host/database"
        )
    return ClickHouseStore(_Threads(url))


class ClickHouseStore:
    """`PredictionStore`."""

    def __init__(self, engine: Elsewhere) -> None:
        self._engine = engine

    @property
    def engine(self) -> Elsewhere:
        """For what else is kept in the same store: one process at a time may open it."""
        return self._engine

    async def close(self) -> None:
        await self._engine.close()

    async def ping(self) -> None:
        await self._engine.call(Engine.ping)

    async def models(self) -> tuple[str, ...]:
        return await self._engine.call(Engine.models)

    async def load(self, segment: Path) -> Loaded:
        """Batch by batch, so that queries come in between."""
        records = rejected = 0
        place: int | None = 0
        while place is not None:
            step = await self._engine.call(Engine.load, segment, place)
            records, rejected, place = records + step.records, rejected + step.rejected, step.next
        return Loaded(records=records, rejected=rejected)

    async def versions(self, model: str, window: Window) -> tuple[VersionWindow, ...]:
        return await self._engine.call(Engine.versions, model, window)

    async def volume(self, model: str, window: Window, step: timedelta) -> tuple[Volume, ...]:
        return await self._engine.call(Engine.volume, model, window, step)

    async def tallies(
        self,
        model: str,
        window: Window,
        step: timedelta,
        *,
        slow_ms: float | None = None,
        metric: str | None = None,
        cpu_hour: float = 3600.0,
        currency: str | None = None,
    ) -> tuple[Tally, ...]:
        return await self._engine.call(Engine.tallies, model, window, step, slow_ms, metric, cpu_hour, currency)

    async def mirrored(
        self,
        model: str,
        version: str,
        beside: str,
        window: Window,
        step: timedelta,
        *,
        slow_ms: float | None = None,
        cpu_hour: float = 3600.0,
    ) -> tuple[Mirrored, ...]:
        return await self._engine.call(Engine.mirrored, model, version, beside, window, step, slow_ms, cpu_hour)

    async def copies(self, model: str, version: str, beside: str, window: Window) -> Copies | None:
        return await self._engine.call(Engine.copies, model, version, beside, window)

    async def exposures(
        self,
        model: str,
        window: Window,
        step: timedelta,
        *,
        versions: Sequence[str],
        slow_ms: float | None = None,
        metrics: Sequence[str] = (),
        within: timedelta = timedelta(0),
    ) -> Exposures:
        asked = exposures.Asked(tuple(versions), step, slow_ms, tuple(metrics), within)
        return await self._engine.call(Engine.exposures, model, window, asked)

    async def feature_profiles(
        self, model: str, window: Window, *, version: str | None = None, like: Sequence[FeatureProfile] = ()
    ) -> tuple[FeatureProfile, ...]:
        (found,) = await self._engine.call(Engine.feature_profiles, model, (window,), version, tuple(like))
        return found

    async def distributions(
        self,
        model: str,
        window: Window,
        *,
        version: str | None = None,
        label: str | None = None,
        like: Distributions | None = None,
        without: Sequence[LeftOut] = (),
    ) -> Distributions:
        return await self._engine.call(Engine.distributions, model, window, version, label, like, tuple(without))

    async def outcomes(
        self, model: str, window: Window, *, version: str | None = None, without: Sequence[LeftOut] = ()
    ) -> tuple[Outcome, ...]:
        return await self._engine.call(Engine.answers, model, window, version, tuple(without))

    async def sample(
        self,
        model: str,
        window: Window,
        to: Path,
        *,
        most: int,
        version: str | None = None,
        without: Sequence[LeftOut] = (),
        labelled: bool = False,
    ) -> Sampled:
        return await self._engine.call(Engine.sample, model, window, to, most, version, tuple(without), labelled)

    async def usage(self, model: str, window: Window) -> tuple[TokenUsage, ...]:
        return await self._engine.call(Engine.usage, model, window)

    async def works(self, model: str, window: Window, step: timedelta) -> tuple[Work, ...]:
        return await self._engine.call(Engine.works, model, window, step)

    async def stored(self) -> Mapping[str, int]:
        return await self._engine.call(Engine.stored)

    async def slices(self, model: str, version: str, window: Window) -> tuple[Slice, ...]:
        return await self._engine.call(Engine.slices, model, version, window)

    async def periods(self, model: str, windows: Sequence[Window], *, steps: int) -> tuple[Period, ...]:
        each_step = [-(-window.length // steps) for window in windows]
        periods, profiles = await asyncio.gather(
            self._engine.call(Engine.outcomes, model, tuple(windows), each_step),
            self._engine.call(Engine.feature_profiles, model, tuple(windows), None, ()),
        )
        return tuple(
            period.model_copy(update={"features": features}) for period, features in zip(periods, profiles, strict=True)
        )
