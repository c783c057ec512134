"""The serving layer of a world, as the platform meets it: routes with generations and keys, and workers. What it is told
happens: from then on the world's traffic goes where the route says, and waits for as many workers."""

from typing import Protocol

from tools.errors import Conflict, PermanentError
from tools.serving.port import Batches, Batching, Capacity, Route, ServedVersion


class Room(Protocol):
    """What the world knows of its own serving."""

    model: str

    @property
    def utilisation(self) -> float: ...

    def changing(self) -> None:
        """What came until now was still answered as before."""
        ...


class WorldServing:
    """`Serving`, of one model."""

    def __init__(self, room: Room, champion: str, versions: frozenset[str], workers: int, limit: int) -> None:
        self._room = room
        self._versions = set(versions)
        self._limit = limit
        self._workers = workers
        self._route = Route(model=room.model, generation=1, weights={champion: 100})
        self._routes: dict[str, tuple[dict[str, int], str | None, Route]] = {}
        self._scalings: dict[str, int] = {}

    @property
    def weights(self) -> dict[str, int]:
        return self._route.weights

    @property
    def workers(self) -> int:
        return self._workers

    def add(self, version: str) -> None:
        """It can be loaded from now on."""
        self._versions.add(version)

    async def ping(self) -> None:
        return None

    async def models(self) -> tuple[str, ...]:
        return (self._room.model,)

    async def route(self, model: str) -> Route:
        if model != self._room.model:
            raise PermanentError(f"no model {model!r} is served here")
        return self._route

    async def served(self, model: str) -> tuple[ServedVersion, ...]:
        weights = (await self.route(model)).weights
        return tuple(ServedVersion(version=version, state="ready") for version in sorted(weights) if weights[version])

    async def capacity(self, model: str) -> Capacity:
        await self.route(model)
        return Capacity(workers=self._workers, limit=self._limit, utilisation=self._room.utilisation)

    async def batching(self, model: str) -> Batching:
        """Row by row: a world's requests are not put together."""
        await self.route(model)
        return Batching(generation=0, rows=1, wait_ms=0.0, most_rows=1, longest_wait_ms=0.0)

    async def batches(self, model: str) -> tuple[Batches, ...]:
        await self.route(model)
        return ()

    async def set_batching(self, model: str, *, rows: int, wait_ms: float, expected_generation: int, key: str) -> Batching:  # noqa: ARG002
        raise PermanentError(f"{model} cannot be computed in batches of {rows} here: row by row is all there is")

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
        route, shadow = await self.route(model), shadow or {}
        if not weights or sum(weights.values()) != 100 or min(weights.values()) < 0:
            raise PermanentError("weights: they do not add up to 100")
        if (known := self._routes.get(key)) is not None:
            if known[:2] != (weights, salt) or known[2].shadow != shadow:
                raise Conflict("key: it has already set other weights, or another shadow or salt")
            return known[2]
        if route.generation != expected_generation:
            raise Conflict(f"expected_generation: the route of {model} is at generation {route.generation}")
        if missing := sorted({*weights, *shadow} - self._versions):
            raise PermanentError(f"{model} {missing[0]} cannot be loaded")
        self._room.changing()
        kept = route.salt if sum(map(bool, weights.values())) > 1 else ""
        self._route = Route(
            model=model,
            generation=route.generation + 1,
            weights=dict(weights),
            shadow=dict(shadow),
            salt=kept if salt is None else salt,
        )
        self._routes[key] = (dict(weights), salt, self._route)
        return self._route

    async def scale(self, model: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        await self.route(model)
        if not 1 <= workers <= self._limit:
            raise PermanentError(f"workers: {workers} is not between 1 and {self._limit}")
        known = self._scalings.get(key)
        if known is not None and known != workers:
            raise Conflict(f"key: {key!r} has already asked for {known} workers")
        if known is None:
            if self._workers != expected_workers:
                raise Conflict(f"expected_workers: {model} has {self._workers} workers, not {expected_workers}")
            self._room.changing()
            self._scalings[key] = self._workers = workers
        return await self.capacity(model)
