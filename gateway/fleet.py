"""All models of this gateway: those with a route on disk, those named at start, and those that get a route while it runs."""

import asyncio
import contextlib
import itertools
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator

import structlog
from prometheus_client.metrics_core import Metric

from gateway.metrics import gauge
from gateway.mirroring import Mirrors
from gateway.models import Forgotten, Model, ServingLimits
from gateway.refusals import Clash, NotFound, Refused
from gateway.routes import RouteFiles, StoredRoute
from gateway.versions import Loader
from tools.errors import PortError
from tools.registry.port import Alias
from tools.serving.port import Capacity, Route

log = structlog.get_logger()

_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f]{1,200}")
_RETRY_S = (0.5, 1.0, 2.0)
"""Pauses between tries at start; the last one repeats."""


class Fleet:
    def __init__(self, files: RouteFiles, loader: Loader, limits: ServingLimits, mirrors: Mirrors) -> None:
        self._mirrors = mirrors
        self._files = files
        self._loader = loader
        self._limits = limits
        self._models: dict[str, Model] = {}
        self._starting: set[asyncio.Task[None]] = set()

    def start(self, models: Iterable[str]) -> None:
        """Begin to load, in the background, every stored route, and the champion of each of `models` that has none."""
        stored = {route.model: route for route in self._files.read_all()}
        for route in stored.values():
            self._begin(self._add(route), self._restore)
        for name in models:
            if name not in stored:
                self._begin(self._add(StoredRoute(name)), self._adopt)

    @property
    def ready(self) -> bool:
        """Whether everything that is to be served can answer."""
        return all(model.ready for model in self._models.values())

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def serves(self, name: str) -> bool:
        return name in self._models

    def model(self, name: str) -> Model:
        found = self._models.get(name)
        if found is None:
            raise NotFound(f"no model {name!r} is served here")
        return found

    async def set_weights(
        self,
        name: str,
        weights: dict[str, int],
        *,
        shadow: dict[str, int],
        expected_generation: int,
        key: str,
        salt: str | None = None,
    ) -> Route:
        """Like `Model.set_weights`; a model that is new here starts at generation 0, and is forgotten if this fails, with all
        that it had loaded."""
        for part in (name, *weights, *shadow):
            # They become names of files and folders.
            if not _NAME.fullmatch(part):
                raise Refused(f"{part!r} cannot be the name of a model or version")
        while True:
            present = self._models.get(name)
            model = present or self._add(StoredRoute(name))
            try:
                return await model.set_weights(
                    weights, shadow=shadow, expected_generation=expected_generation, key=key, salt=salt
                )
            except Forgotten:
                # It was new, and the change that this one had waited for has failed: it is new again.
                self._drop(model)
            finally:
                # Until it has let go of everything it stays here: whoever comes next under its name waits for that.
                if present is None and not model.route.weights and await model.forget():
                    self._drop(model)

    async def scale(self, name: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        return await self.model(name).scale(workers, expected_workers=expected_workers, key=key)

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for model in self._models.values():
            await model.close()

    def metrics(self) -> Iterator[Metric]:
        models = list(self)
        yield gauge("route_generation", "Changes of the route so far", ("model",), _of(models, lambda m: m.route.generation))
        yield gauge(
            "route_weight",
            "Share of the traffic in percent",
            ("model", "version"),
            [((m.name, version), weight) for m in models for version, weight in m.route.weights.items()],
        )
        yield gauge(
            "shadow_percent",
            "Share of the requests that the version gets copies of",
            ("model", "version"),
            [((m.name, version), percent) for m in models for version, percent in m.route.shadow.items()],
        )
        yield gauge(
            "mirror_rows",
            "Rows of copies that wait or are computed",
            ("model", "version"),
            [((m.name, m.mirror.version.version), m.mirror.rows) for m in models if m.mirror is not None],
        )
        yield gauge(
            "queue_rows",
            "Rows waiting for a worker",
            ("model", "version"),
            [
                ((m.name, v.version), v.batcher.queued_rows)
                for m in models
                for v in m.versions
                if v.state == "ready" and v.upstream is None
            ],
        )
        yield gauge(
            "batch_limit_rows",
            "Rows that are computed together at most",
            ("model",),
            [((m.name,), m.batching.rows) for m in models if not m.language],
        )
        yield gauge(
            "batch_wait_seconds",
            "How long a batch that is not full waits for more rows",
            ("model",),
            [((m.name,), m.batching.wait_ms / 1000) for m in models if not m.language],
        )
        yield gauge("workers", "Batches that may be computed at once", ("model",), _of(models, lambda m: m.capacity.workers))
        yield gauge(
            "utilisation",
            "Share of the last minute in which the workers were busy",
            ("model",),
            _of(models, lambda m: m.capacity.utilisation),
        )
        yield gauge(
            "version_ready",
            "1 for a version that can answer",
            ("model", "version"),
            [((m.name, v.version), v.ready) for m in models for v in m.versions],
        )

    def _add(self, route: StoredRoute) -> Model:
        model = self._models[route.model] = Model(route, self._files, self._loader, self._limits, self._mirrors)
        return model

    def _drop(self, model: Model) -> None:
        if self._models.get(model.name) is model:
            del self._models[model.name]

    def _begin(self, model: Model, step: Callable[[Model], Coroutine[None, None, bool]]) -> None:
        task = asyncio.create_task(_until_done(model, step))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _restore(self, model: Model) -> bool:
        try:
            await model.restore()
        except Refused as error:
            # It stays `failed` and not ready until somebody gives the model another route.
            log.error("model.not_servable", model=model.name, error=str(error))
        return True

    async def _adopt(self, model: Model) -> bool:
        """All traffic to the champion, as soon as the registry answers and there is one, unless a route is set before."""
        if model.route.generation:
            return True
        champion = await self._loader.registry.alias(model.name, Alias.CHAMPION)
        if champion is None:
            log.warning("model.no_champion", model=model.name)
            return False
        with contextlib.suppress(Clash):
            await model.set_weights({champion: 100}, shadow={}, expected_generation=0, key=f"start/{champion}")
        return True


async def _until_done(model: Model, step: Callable[[Model], Coroutine[None, None, bool]]) -> None:
    """What fails at start is tried again whatever it was: a registry that refuses us now may let us in when its own start, or
    somebody's change of rights, is done. Until then the model is not ready."""
    for attempt in itertools.count():
        try:
            if await step(model):
                return
        except (PortError, Refused, OSError) as error:
            log.warning("model.not_started", model=model.name, step=step.__name__.strip("_"), error=str(error))
        except Exception:
            log.exception("model.not_started", model=model.name, step=step.__name__.strip("_"))
        await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])


def _of(models: Iterable[Model], value: Callable[[Model], float]) -> list[tuple[tuple[str, ...], float]]:
    return [((model.name,), value(model)) for model in models]
