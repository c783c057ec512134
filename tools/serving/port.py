"""What the platform asks of the serving layer: which versions get which share of the traffic, with how many workers, and in
how large batches."""

from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from tools.values import Frozen


class Route(Frozen):
    """Weights in percent over versions, adding up to 100. `generation` grows by one with every change."""

    model: str
    generation: int
    weights: dict[str, int]
    shadow: dict[str, int] = Field(default_factory=dict)
    """A version that gets copies of so many percent of the requests, and whose answers are discarded."""
    salt: str = ""
    """Of the hash that assigns entities to versions, where an experiment has brought one."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A route without a shadow or a salt is written as it was before there were any: whoever reads it may be older."""
        written: dict[str, Any] = dump(self)
        for later in ("shadow", "salt"):
            if not getattr(self, later):
                written.pop(later, None)
        return written


class ServedVersion(Frozen):
    version: str
    state: Literal["loading", "ready", "unloading", "failed"]
    detail: str = ""


class Capacity(Frozen):
    """How many batches of a model are computed at once, how many may be, and how busy they were over the last minute."""

    workers: int
    limit: int
    utilisation: float


class Batching(Frozen):
    """How many rows of a model are computed together at most, and how long a batch that is not full waits for more."""

    generation: int
    """Grows by one with every change; 0: as the serving layer was started."""
    rows: int
    wait_ms: float
    most_rows: int
    longest_wait_ms: float
    """What may be asked for."""


class Batches(Frozen):
    """What the batches of one version took lately, of those whose processor time is known: sums over them."""

    version: str
    seconds: float
    """For which it was measured: an hour, or since it was loaded."""
    count: int
    requests: int
    rows: int
    rows_squared: int
    cpu_s: float
    cpu_squared: float
    rows_cpu: float


@runtime_checkable
class ServingReader(Protocol):
    async def ping(self) -> None: ...

    async def models(self) -> tuple[str, ...]: ...

    async def route(self, model: str) -> Route:
        """Raises PermanentError when the model is not served."""
        ...

    async def served(self, model: str) -> tuple[ServedVersion, ...]: ...

    async def capacity(self, model: str) -> Capacity: ...

    async def batching(self, model: str) -> Batching:
        """Raises PermanentError when the model is not served, or is a language model: that is computed elsewhere."""
        ...

    async def batches(self, model: str) -> tuple[Batches, ...]:
        """By version, of those that answer; without those of which no processor time is known."""
        ...


@runtime_checkable
class Serving(ServingReader, Protocol):
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
        """Load and warm what is new, then switch; a version that is no `shadow` here gets no copies any more.

        Repeating a `key` returns the route it made; Conflict when the generation has moved on by somebody else. `salt`:
        entities are assigned by a hash with it from now on. None: as before while traffic is split, and by none once one
        version has all of it.
        """
        ...

    async def scale(self, model: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        """Repeating a `key` changes nothing and returns the capacity of now; Conflict when somebody else has changed the
        number of workers."""
        ...

    async def set_batching(self, model: str, *, rows: int, wait_ms: float, expected_generation: int, key: str) -> Batching:
        """From the next batch on. Repeating a `key` changes nothing and returns what it made; Conflict when the generation has
        moved on by somebody else; PermanentError beyond what may be asked for."""
        ...
