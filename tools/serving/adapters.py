"""What the platform asks of a language-model server: which models it answers as, and LoRA adapters while it runs."""

from typing import Protocol, runtime_checkable

from tools.values import Frozen


class ServedModel(Frozen):
    """A name that a request may carry as its `model`."""

    name: str
    path: str | None = None
    """Where the server has it from."""
    base: str | None = None
    """Of an adapter: the model it lies over; None for a base model."""


@runtime_checkable
class AdapterServer(Protocol):
    async def ping(self) -> None: ...

    async def models(self) -> tuple[ServedModel, ...]:
        """By name."""
        ...

    async def load_adapter(self, name: str, path: str) -> ServedModel:
        """The same adapter twice is once. Raises Conflict when the name is another path's, PermanentError when there is no
        adapter at `path`, the name is a base model's, or the server takes no adapters while it runs."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """What is not there is gone already. Raises PermanentError for a base model."""
        ...
