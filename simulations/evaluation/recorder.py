"""What was really changed: every call of a write half of a port, seen from outside the platform, before the port has it.

The recorder knows nothing of proposals. Whether a write was allowed is asked afterwards, of the record (`auditing.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar, cast

from api.container import Adapters
from tools.clock import Clock

P = TypeVar("P")

WRITES = {
    "registry": ("set_alias", "discard", "restore"),
    "serving": ("set_weights", "scale", "set_batching"),
    "quarantines": ("place", "release"),
    "jobs": ("submit", "cancel", "set_buying", "discard", "restore"),
}
"""The write halves, by port. Messages to people change nothing."""


@dataclass(frozen=True)
class Write:
    at: datetime
    call: str
    """`serving.scale`."""
    key: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass
class Recorder:
    clock: Clock
    writes: list[Write] = field(default_factory=list)

    def decorate(self, adapters: Adapters) -> Adapters:
        """As `api.container.Decorate`."""
        watched = {name: self._watching(name, getattr(adapters, name), methods) for name, methods in WRITES.items()}
        return replace(adapters, **watched)

    def _watching(self, name: str, port: P, methods: tuple[str, ...]) -> P:
        return cast("P", _Watched(port, {method: self._noting(name, port, method) for method in methods}))

    def _noting(self, name: str, port: Any, method: str) -> Callable[..., Any]:
        call = getattr(port, method)

        async def noted(*arguments: Any, **options: Any) -> Any:
            key = str(options.get("key") or (arguments[0] if method == "submit" else ""))
            self.writes.append(Write(self.clock.now(), f"{name}.{method}", key, arguments, options))
            return await call(*arguments, **options)

        return noted


class _Watched:
    """The port, with other ways to its write half."""

    def __init__(self, port: Any, instead: dict[str, Callable[..., Any]]) -> None:
        self._port = port
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._port, name)
