"""A served model: its route, its versions in memory, and how one route follows another without a request noticing.

A change of route loads and warms what is new, writes the route to disk, and only then switches, in one step of the loop. What
no route needs any more stays for a grace (a rollback is then instant), and leaves when its last request has been answered.
Changes of one model come one after the other; requests never wait for them.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from operator import itemgetter

import structlog

from gateway.batching import BatchLimits
from gateway.compute import Workers
from gateway.mirroring import Mirror, Mirrors
from gateway.refusals import Clash, NotFound, NotReady, Refused, Unservable
from gateway.routes import Change, RouteFiles, StoredBatching, StoredRoute
from gateway.routing import any_slot, assign, check_salt, check_shadow, check_weights, slot
from gateway.versions import Loader, Version
from tools.errors import PermanentError, PortError, TemporaryError
from tools.serving.port import Batches, Batching, Capacity, Route, ServedVersion

log = structlog.get_logger()


class Forgotten(Exception):
    """Nothing is asked of this Model any more: it never got a route. Another one may have its name by now."""


@dataclass(frozen=True, slots=True)
class ServingLimits:
    workers: int
    """Most workers that a model may be given."""
    grace_s: float
    batch_rows: int
    """Most rows that may be computed together."""
    batch_wait_ms: float
    """The longest that a batch may be told to wait."""


class Model:
    def __init__(self, stored: StoredRoute, files: RouteFiles, loader: Loader, limits: ServingLimits, mirrors: Mirrors) -> None:
        self.name = stored.model
        self._mirrors = mirrors
        self._mirroring: Workers | None = None
        self.mirror: Mirror | None = None
        """Where requests are copied to, when they have been answered."""
        self._stored = stored
        self._files = files
        self._loader = loader
        self._limits = limits
        self._versions: dict[str, Version] = {}
        self._change = asyncio.Lock()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        """By version, while it has its grace."""
        self._ending: set[asyncio.Task[None]] = set()
        """After the grace, until it is gone."""
        self._forgotten = False
        self.workers = Workers(min(stored.workers, limits.workers), limits.workers)

    @property
    def route(self) -> Route:
        stored = self._stored
        return Route(
            model=self.name,
            generation=stored.generation,
            weights=stored.weights,
            shadow=stored.shadow,
            salt=stored.salt,
        )

    @property
    def capacity(self) -> Capacity:
        workers = self.workers
        return Capacity(workers=workers.workers, limit=workers.limit, utilisation=workers.utilisation())

    @property
    def batching(self) -> Batching:
        """Raises Refused for a language model."""
        if self.language:
            raise Refused(f"{self.name} is a language model: its calls are not computed here")
        return self._batching(self._stored.batching)

    def batches(self) -> tuple[Batches, ...]:
        return tuple(each.batcher.tally.total(each.version) for each in self._staying() if each.upstream is None and each.here)

    @property
    def versions(self) -> list[Version]:
        # One step of the interpreter: metrics are read in another thread.
        return [version for _, version in sorted(self._versions.items(), key=itemgetter(0))]

    @property
    def language(self) -> bool:
        """Whether it answers OpenAI-style calls."""
        return any(version.upstream is not None for version in self.versions)

    def served(self) -> tuple[ServedVersion, ...]:
        return tuple(version.shown for version in self.versions)

    @property
    def ready(self) -> bool:
        """Whether every version that the route names can answer."""
        ready = {name for name, version in self._versions.items() if version.ready}
        return bool(self._stored.slots) and set(self._stored.slots) <= ready

    @property
    def main(self) -> Version:
        """The version with the most traffic. Raises NotReady."""
        heaviest = self._heaviest()
        if heaviest is None:
            raise NotReady(f"{self.name} has no route yet")
        return self._loaded(heaviest)

    def pick(self, entity: str | None) -> Version:
        """Who answers this entity. Raises NotReady."""
        stored = self._stored
        slots = stored.slots
        if not slots:
            raise NotReady(f"{self.name} has no route yet")
        version = self._loaded(slots[slot(self.name, entity, stored.salt) if entity is not None else any_slot()])
        version.require_ready()
        return version

    def pinned(self, version: str) -> Version:
        """Raises NotFound when it is not in memory, NotReady when it cannot answer."""
        found = self._versions.get(version)
        if found is None:
            raise NotFound(f"{self.name} {version} is not served here")
        found.require_ready()
        return found

    async def restore(self) -> None:
        """Load what the stored route names, as much of it as can be had; then raise TemporaryError if a version may be had
        later, or else the Unservable of one that cannot."""
        problems: list[TemporaryError | Refused] = []
        async with self._change:
            for name in sorted(self._routed()):
                try:
                    await self._load({name})
                except (TemporaryError, Refused) as error:
                    problems.append(error)
            self._reflect()
            self._settle()
        for problem in sorted(problems, key=lambda p: isinstance(p, Refused)):
            raise problem

    async def set_weights(
        self,
        weights: dict[str, int],
        *,
        shadow: dict[str, int],
        expected_generation: int,
        key: str,
        salt: str | None = None,
    ) -> Route:
        """`salt`: of the hash that assigns entities, as in `StoredRoute.changed`.

        Raises Refused, Clash, Unservable, or the registry's TemporaryError; the route then stays as it was. Raises Forgotten
        once it has been.
        """
        if problem := check_weights(weights) or check_shadow(shadow, weights) or check_salt(salt):
            raise Refused(problem)
        async with self._change:
            if self._forgotten:
                raise Forgotten
            if change := self._stored.changes.get(key):
                return self._repeated(change, weights, shadow, salt)
            if expected_generation != self._stored.generation:
                raise Clash(
                    f"expected_generation: the route of {self.name} is at generation {self._stored.generation}, "
                    f"not {expected_generation}"
                )
            await self._load({version for version, weight in weights.items() if weight} | shadow.keys())
            if others := sorted(name for name in shadow if self._versions[name].upstream is not None):
                raise Refused(f"shadow: {self.name} {others[0]} is a language model, whose calls are not copied")
            stored = self._stored.changed(weights, shadow, assign(self._stored.slots, weights), key, salt)
            await asyncio.to_thread(self._files.write, stored)
            self._stored = stored
            self._reflect()
            self._let_go()
            self._settle()
            # What comes back from its grace answers at once, with the workers that it had.
            await self._catch_up()
            log.info("route.changed", model=self.name, generation=stored.generation, weights=weights, shadow=shadow)
            return self.route

    async def scale(self, workers: int, *, expected_workers: int, key: str) -> Capacity:
        """Raises Refused, Clash when the number has changed since it was read, or the runtime's TemporaryError: then it
        stays as it was, and the same key may be tried again."""
        if not 1 <= workers <= self._limits.workers:
            raise Refused(f"workers: {workers} is not between 1 and {self._limits.workers}")
        async with self._change:
            known = self._stored.scalings.get(key)
            if known is not None:
                if known != workers:
                    raise Clash(f"key: {key!r} has already asked for {known} workers")
                return self.capacity
            if expected_workers != self.workers.workers:
                raise Clash(f"expected_workers: {self.name} has {self.workers.workers} workers, not {expected_workers}")
            stored = self._stored.scaled(workers, key)
            try:
                for version in self._staying():
                    await version.scale(workers)
                await asyncio.to_thread(self._files.write, stored)
            except (PortError, OSError) as error:
                # All of them have the old number again, or would answer as another one than is said.
                await self._catch_up()
                if isinstance(error, PermanentError):
                    raise Unservable(str(error)) from error
                raise
            self._stored = stored
            self.workers.resize(workers)
            log.info("workers.changed", model=self.name, workers=workers)
            return self.capacity

    async def set_batching(self, rows: int, wait_ms: float, *, expected_generation: int, key: str) -> Batching:
        """Raises Refused, Clash when it has changed since it was read, or Unservable when a version cannot compute so many rows
        at once; it then stays as it was."""
        async with self._change:
            now = self.batching
            if not 1 <= rows <= now.most_rows:
                raise Refused(f"rows: {rows} is not between 1 and {now.most_rows}")
            if not 0 <= wait_ms <= now.longest_wait_ms:
                raise Refused(f"wait_ms: {wait_ms:g} is not between 0 and {now.longest_wait_ms:g}")
            if known := self._stored.batchings.get(key):
                if (known.rows, known.wait_ms) != (rows, wait_ms):
                    raise Clash(f"key: {key!r} has already asked for {known.rows} rows and {known.wait_ms:g} ms")
                return self._batching(known)
            if expected_generation != now.generation:
                raise Clash(
                    f"expected_generation: the batching of {self.name} is at generation {now.generation}, "
                    f"not {expected_generation}"
                )
            for version in self._staying():
                if rows > self._loader.limits.rows:
                    await version.try_rows(rows)
            stored = self._stored.batched(rows, wait_ms, key)
            await asyncio.to_thread(self._files.write, stored)
            self._stored = stored
            for version in self.versions:
                with contextlib.suppress(TemporaryError):  # its runtime is away: it goes on as before, and has been tried above
                    await version.limit(self._batch_limits, self._loader.limits)
            log.info("batching.changed", model=self.name, rows=rows, wait_ms=wait_ms)
            return self.batching

    async def forget(self) -> bool:
        """Let go of all that a first route that failed had loaded, at once: a grace is for what has had traffic. False when
        another change has made a route meanwhile, or it has been forgotten before."""
        async with self._change:
            if self._stored.generation or self._forgotten:
                return False
            self._forgotten = True
            for version in self._versions.values():
                version.state = "unloading"
            if self._ending:
                await asyncio.wait(self._ending)
            await self.close()
            for version in self._versions.values():
                await version.leave()
            self._versions.clear()
            self._settle()
            return True

    async def close(self) -> None:
        """Wait for what is in flight, then stop the workers."""
        if self.mirror is not None:
            self.mirror.stop()
        going = [*self._leaving.values(), *self._ending]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        for version in self._versions.values():
            await version.idle.wait()
            await version.close()
        self.workers.close()
        if self._mirroring is not None:
            self._mirroring.close()

    @property
    def _batch_limits(self) -> BatchLimits:
        chosen = self._stored.batching
        if chosen is None:
            return self._loader.limits
        # A gateway that was started anew may allow less than it did.
        rows, wait_ms = min(chosen.rows, self._limits.batch_rows), min(chosen.wait_ms, self._limits.batch_wait_ms)
        return replace(self._loader.limits, rows=rows, wait_s=wait_ms / 1000)

    def _batching(self, chosen: StoredBatching | None) -> Batching:
        return Batching(
            generation=chosen.generation if chosen else 0,
            rows=chosen.rows if chosen else self._loader.limits.rows,
            wait_ms=chosen.wait_ms if chosen else 1000 * self._loader.limits.wait_s,
            most_rows=self._limits.batch_rows,
            longest_wait_ms=self._limits.batch_wait_ms,
        )

    def _staying(self) -> list[Version]:
        """Those that have more to answer than what is in flight."""
        return [each for each in self.versions if each.state == "ready" and each.version not in self._leaving]

    async def _catch_up(self) -> None:
        """As many workers for every version as are to be, as far as that can be had now: fewer of them answer as well."""
        for version in self._staying():
            try:
                await version.catch_up(self.workers.workers)
            except PortError as error:
                log.warning("workers.not_changed", model=self.name, version=version.version, reason=str(error))

    def _routed(self) -> set[str]:
        return {*self._stored.slots, *self._stored.shadow}

    def _reflect(self) -> None:
        """Copy to whom the route says, from the next request on. A worker of its own computes it: no request waits for a
        copy."""
        if self.mirror is not None:
            self.mirror.stop()
        self.mirror = None
        for name, percent in self._stored.shadow.items():
            if self._mirroring is None:
                self._mirroring = Workers(1, 1)
            self.mirror = Mirror(self._versions[name], percent, self._mirroring, self._mirrors)

    def _loaded(self, version: str) -> Version:
        found = self._versions.get(version)
        if found is None:
            raise NotReady(f"{self.name} {version} is not loaded yet")
        return found

    def _repeated(self, change: Change, weights: dict[str, int], shadow: dict[str, int], salt: str | None) -> Route:
        if (change.weights, change.shadow, change.salt) != (weights, shadow, salt):
            raise Clash("key: it has already set other weights, or another shadow or salt")
        return Route(
            model=self.name,
            generation=change.generation,
            weights=change.weights,
            shadow=change.shadow,
            salt=change.made if change.made is not None else salt or "",
        )

    async def _load(self, wanted: set[str]) -> None:
        for name in sorted(wanted):
            if leaving := self._leaving.pop(name, None):
                leaving.cancel()
            present = self._versions.get(name)
            if present is not None and present.state == "ready":
                continue
            version = self._versions[name] = Version(self.name, name)
            # It is needed from here on: an older wish must not remove it from its runtime again.
            self._settle()
            try:
                await version.load(self._loader, self.workers, self._batch_limits)
            except TemporaryError as error:
                version.state, version.detail = "failed", str(error)
                self._give_up()
                raise
            except Refused:
                self._give_up()
                raise

    def _heaviest(self) -> str | None:
        """The version with the most traffic."""
        weights = self._stored.weights
        return max(sorted(weights), key=lambda version: weights[version]) if weights else None

    def _settle(self) -> None:
        needed = [version.version for version in self.versions if version.state != "failed"]
        self._loader.runtime(self.name).settle(self.name, self._heaviest(), needed)

    def _give_up(self) -> None:
        self._let_go()
        self._settle()

    def _let_go(self) -> None:
        """Start the grace of every ready version that the route does not name."""
        routed = self._routed()
        for name, version in self._versions.items():
            if name not in routed and name not in self._leaving and version.state == "ready":
                task = self._leaving[name] = asyncio.create_task(self._unload(version))
                task.add_done_callback(self._ending.discard)

    async def _unload(self, version: Version) -> None:
        await asyncio.sleep(self._limits.grace_s)
        version.state = "unloading"
        self._ending.add(self._leaving.pop(version.version))
        await version.idle.wait()
        await version.close()
        # A new copy may have been loaded under the same name meanwhile.
        if self._versions.get(version.version) is version:
            del self._versions[version.version]
        await version.leave()
        self._settle()
        log.info("version.unloaded", model=self.name, version=version.version)
