"""A serving layer in memory, with the gateway's rules about generations and keys."""

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.serving.port import Batches, Batching, Capacity, Route, ServedVersion

LIMIT = 8


class TwinServing:
    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._changes: dict[tuple[str, str], tuple[dict[str, int], str | None, Route]] = {}
        self._workers: dict[str, int] = {}
        self._scalings: dict[tuple[str, str], int] = {}
        self._unservable: set[tuple[str, str]] = set()
        self._down = False
        self._batching: dict[str, Batching] = {}
        self._batchings: dict[tuple[str, str], Batching] = {}
        self.measured: dict[str, tuple[Batches, ...]] = {}
        self.utilisation = 0.0

    # What a test does to it from outside.

    def break_version(self, model: str, version: str) -> None:
        """From now on it cannot be loaded."""
        self._unservable.add((model, version))

    def go_down(self) -> None:
        self._down = True

    def come_back(self) -> None:
        self._down = False

    # The port.

    async def ping(self) -> None:
        self._answer()

    async def models(self) -> tuple[str, ...]:
        self._answer()
        return tuple(sorted(self._routes))

    async def route(self, model: str) -> Route:
        self._answer()
        if model not in self._routes:
            raise PermanentError(f"no model {model!r} is served here")
        return self._routes[model]

    async def served(self, model: str) -> tuple[ServedVersion, ...]:
        weights = (await self.route(model)).weights
        return tuple(ServedVersion(version=version, state="ready") for version in sorted(weights) if weights[version])

    async def capacity(self, model: str) -> Capacity:
        await self.route(model)
        return Capacity(workers=self._workers.get(model, 1), limit=LIMIT, utilisation=self.utilisation)

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
        self._answer()
        shadow = shadow or {}
        if not weights or sum(weights.values()) != 100 or min(weights.values()) < 0:
            raise PermanentError("weights: they do not add up to 100")
        if change := self._changes.get((model, key)):
            if change[:2] != (weights, salt) or change[2].shadow != shadow:
                raise Conflict("key: it has already set other weights, or another shadow or salt")
            return change[2]
        generation = self._routes[model].generation if model in self._routes else 0
        if generation != expected_generation:
            raise Conflict(f"expected_generation: the route of {model} is at generation {generation}")
        if any(weights.get(version) for version in shadow):
            raise PermanentError("shadow: it answers itself")
        for version, weight in (*weights.items(), *shadow.items()):
            if weight and (model, version) in self._unservable:
                raise PermanentError(f"{model} {version} cannot be loaded")
        kept = self._routes[model].salt if model in self._routes and sum(map(bool, weights.values())) > 1 else ""
        own = kept if salt is None else salt
        route = Route(model=model, generation=generation + 1, weights=dict(weights), shadow=dict(shadow), salt=own)
        self._routes[model] = route
        self._changes[model, key] = (dict(weights), salt, route)
        return route

    async def scale(self, model: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        current = (await self.capacity(model)).workers
        if not 1 <= workers <= LIMIT:
            raise PermanentError(f"workers: {workers} is not between 1 and {LIMIT}")
        known = self._scalings.get((model, key))
        if known is not None and known != workers:
            raise Conflict(f"key: {key!r} has already asked for {known} workers")
        if known is None and current != expected_workers:
            raise Conflict(f"expected_workers: {model} has {current} workers, not {expected_workers}")
        if known is None:
            self._scalings[model, key] = workers
            self._workers[model] = workers
        return await self.capacity(model)

    async def batching(self, model: str) -> Batching:
        await self.route(model)
        return self._batching.get(model, Batching(generation=0, rows=64, wait_ms=0, most_rows=512, longest_wait_ms=100))

    async def batches(self, model: str) -> tuple[Batches, ...]:
        await self.route(model)
        return self.measured.get(model, ())

    async def set_batching(self, model: str, *, rows: int, wait_ms: float, expected_generation: int, key: str) -> Batching:
        now = await self.batching(model)
        if not 1 <= rows <= now.most_rows:
            raise PermanentError(f"rows: {rows} is not between 1 and {now.most_rows}")
        if not 0 <= wait_ms <= now.longest_wait_ms:
            raise PermanentError(f"wait_ms: {wait_ms} is not between 0 and {now.longest_wait_ms}")
        if known := self._batchings.get((model, key)):
            if (known.rows, known.wait_ms) != (rows, wait_ms):
                raise Conflict(f"key: {key!r} has already asked for something else")
            return known
        if expected_generation != now.generation:
            raise Conflict(f"expected_generation: the batching of {model} is at generation {now.generation}")
        made = now.model_copy(update={"generation": now.generation + 1, "rows": rows, "wait_ms": wait_ms})
        self._batching[model] = self._batchings[model, key] = made
        return made

    def _answer(self) -> None:
        if self._down:
            raise TemporaryError("the gateway is down")
