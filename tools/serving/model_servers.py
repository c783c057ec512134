"""What is asked of a server that computes models beside the gateway: which versions it has, with how many workers each."""

from typing import Protocol, runtime_checkable

from tools.errors import PermanentError
from tools.values import Frozen


class Unregistered(PermanentError):
    """The server does not know the version, or not any more: a start knows none."""


class HostedVersion(Frozen):
    """`archive`: what it was registered from. `workers`: as many as were asked for; `ready`: as many as can answer now.
    `default`: it answers calls that name no version."""

    model: str
    version: str
    archive: str
    workers: int
    ready: int
    default: bool


@runtime_checkable
class ModelServerReader(Protocol):
    async def ping(self) -> None:
        """Proof that it answers, and lets us in."""
        ...

    async def models(self) -> tuple[str, ...]: ...

    async def versions(self, model: str) -> tuple[HostedVersion, ...]:
        """By their names; empty when the model is unknown."""
        ...


@runtime_checkable
class ModelServer(ModelServerReader, Protocol):
    """Every write may be repeated: what is so already is no error."""

    async def register(self, model: str, version: str, archive: str, *, workers: int) -> HostedVersion:
        """Load the archive and wait for its workers. Raises Conflict when the version is there from another archive, and
        PermanentError when its workers do not start; it is then not registered."""
        ...

    async def scale(self, model: str, version: str, workers: int) -> None:
        """Wait until that many have started. Raises Unregistered."""
        ...

    async def set_default(self, model: str, version: str) -> None:
        """Raises Unregistered."""
        ...

    async def remove(self, model: str, version: str) -> None:
        """Raises Conflict for the default while there are others."""
        ...
