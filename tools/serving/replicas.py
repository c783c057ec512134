"""A serving layer on Kubernetes whose workers are the replicas of a Deployment: its routes, and the cluster's capacity.

The scale of a Deployment has no place for the key of a change, and a right to patch the whole Deployment would be one to run
anything under its name. So the keys are in a ConfigMap of ours beside it: noted before a change and again behind it. A
repetition after a crash in between finds the number as it was and sets it, or as it was to be and is content, or another one:
then somebody else has changed it, and nothing is done.
"""

import json
from contextlib import suppress

from pydantic import Field, TypeAdapter, ValidationError

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.kubernetes.cluster import Cluster
from tools.kubernetes.config_maps import ConfigMaps, Configuration
from tools.kubernetes.deployments import Deployments
from tools.serving.port import Batches, Batching, Capacity, Route, ServedVersion, Serving
from tools.values import Frozen

_REMEMBERED = 50
"""Changes of one Deployment: a run repeats its own within days, and the record has room for some hundred Deployments."""
_TRIES = 5
"""At the record, which is one for all Deployments."""


class Settings(Frozen):
    deployment: str = Field(default="{model}-primary", pattern=r"^[-a-z0-9{}]{1,253}$")
    """Whose replicas serve a model; `{model}` is its name. Flagger's is `MODEL-primary`; one gateway for all is one name."""
    record: str = Field(default="oppen-scaling", pattern=r"^[a-z0-9][-a-z0-9.]{0,252}$")
    """The ConfigMap with the keys; it has to be there."""
    most: int = Field(default=8, ge=1, le=1000)
    """Replicas of one Deployment."""


class _Change(Frozen):
    key: str
    before: int
    after: int
    done: bool = False


_CHANGES = TypeAdapter(tuple[_Change, ...])


class ReplicaServing:
    """`Serving`. A worker is a replica; how busy they are is as the serving layer says of those that answer for it."""

    def __init__(self, inner: Serving, cluster: Cluster, settings: Settings) -> None:
        self._inner = inner
        self._settings = settings
        self._deployments = Deployments(cluster, most=settings.most)
        self._records = ConfigMaps(cluster)

    async def ping(self) -> None:
        await self._inner.ping()

    async def models(self) -> tuple[str, ...]:
        return await self._inner.models()

    async def route(self, model: str) -> Route:
        return await self._inner.route(model)

    async def served(self, model: str) -> tuple[ServedVersion, ...]:
        return await self._inner.served(model)

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
        return await self._inner.set_weights(
            model, weights, expected_generation=expected_generation, key=key, shadow=shadow, salt=salt
        )

    async def capacity(self, model: str) -> Capacity:
        used = await self._inner.capacity(model)
        replicas = await self._deployments.replicas(self._deployment(model))
        return Capacity(workers=replicas.wanted, limit=self._settings.most, utilisation=used.utilisation)

    async def batching(self, model: str) -> Batching:
        return await self._inner.batching(model)

    async def batches(self, model: str) -> tuple[Batches, ...]:
        return await self._inner.batches(model)

    async def set_batching(self, model: str, *, rows: int, wait_ms: float, expected_generation: int, key: str) -> Batching:
        """At the gateway that the routes are of: a replica that is reached otherwise keeps its own."""
        return await self._inner.set_batching(
            model, rows=rows, wait_ms=wait_ms, expected_generation=expected_generation, key=key
        )

    async def scale(self, model: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        name = self._deployment(model)
        if not 1 <= workers <= self._settings.most:
            raise PermanentError(f"workers: {workers} is not between 1 and {self._settings.most}")
        wanted = _Change(key=key, before=expected_workers, after=workers)
        if not await self._noted(name, wanted):
            try:
                await self._deployments.scale(name, workers, expected=expected_workers)
            except Conflict as error:
                await self._note(name, wanted, forget=True)
                raise Conflict(f"expected_workers: {error}") from error
            await self._note(name, wanted.model_copy(update={"done": True}))
        return await self.capacity(model)

    async def _noted(self, name: str, wanted: _Change) -> bool:
        """Whether it is done already. If not, it is on record that it is about to be. Raises Conflict."""
        for _ in range(_TRIES):
            record = await self._records.read(self._settings.record)
            known = next((each for each in _changes(record, name) if each.key == wanted.key), None)
            if known is not None:
                if known.after != wanted.after:
                    raise Conflict(f"key: {wanted.key!r} has scaled {name} to {known.after}, not {wanted.after}")
                return known.done
            now = (await self._deployments.replicas(name)).wanted
            if now != wanted.before:
                raise Conflict(f"expected_workers: {name} has {now} replicas, not {wanted.before}")
            with suppress(Conflict):  # another Deployment's keys were written meanwhile
                await self._write(record, name, (*_changes(record, name), wanted), wanted.key)
                return False
        raise TemporaryError(f"the ConfigMap {self._settings.record} is changed by too many at once")

    async def _note(self, name: str, change: _Change, *, forget: bool = False) -> None:
        for _ in range(_TRIES):
            record = await self._records.read(self._settings.record)
            others = tuple(each for each in _changes(record, name) if each.key != change.key)
            with suppress(Conflict):
                await self._write(record, name, others if forget else (*others, change), f"{change.key}/over")
                return
        raise TemporaryError(f"the ConfigMap {self._settings.record} is changed by too many at once")

    async def _write(self, record: Configuration, name: str, changes: tuple[_Change, ...], key: str) -> None:
        text = _CHANGES.dump_json(changes[-_REMEMBERED:]).decode()
        await self._records.change(record.name, {name: text}, expected_version=record.version, key=key)

    def _deployment(self, model: str) -> str:
        name = self._settings.deployment.replace("{model}", model)
        if not name.replace("-", "").isalnum() or not name.isascii() or name != name.lower() or len(name) > 253:
            raise PermanentError(f"{model!r} gives {name!r}, which is no name of a Deployment: rename it or set `deployment`")
        return name


def _changes(record: Configuration, name: str) -> tuple[_Change, ...]:
    try:
        return _CHANGES.validate_python(json.loads(record.data.get(name, "[]")))
    except (ValueError, ValidationError) as error:
        raise PermanentError(f"the ConfigMap {record.name}: its entry {name} is not ours: {error}") from error
