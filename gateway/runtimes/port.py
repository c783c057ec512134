"""The seam where a version is computed: in this process, or by a server beside it.

Everything else stays the gateway's: who is answered by which version, batches, the log, metrics and labels. A runtime is handed
a version's files and gives back something that can be called with tensors.
"""

from collections.abc import Collection
from typing import Protocol

from tools.inference.engines import Engine
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import ServingSpec


class Estimate(Protocol):
    """How long a batch keeps whoever computes it, see `tools.inference.costs`."""

    def expected_s(self, rows: int) -> float: ...

    def observe(self, rows: int, seconds: float) -> None: ...


class Placement(Protocol):
    """A version where it can compute. Its engine raises TemporaryError while that place is away: soon, and never hanging."""

    @property
    def spec(self) -> ServingSpec: ...

    @property
    def platform(self) -> str: ...

    @property
    def engine(self) -> Engine: ...

    @property
    def cost(self) -> Estimate: ...

    @property
    def here(self) -> bool:
        """Whether the engine computes in the thread that calls it. If not, that thread's processor time says nothing of what a
        batch takes, and nobody else tells."""
        ...

    @property
    def problem(self) -> str:
        """Why it cannot answer just now; empty when it can. It heals by itself."""
        ...

    async def scale(self, workers: int) -> None:
        """So many batches may come at once from now on. Idempotent; raises TemporaryError or PermanentError."""
        ...

    async def close(self) -> None:
        """No batch will come any more."""
        ...


class Runtime(Protocol):
    async def place(self, files: ModelFiles, workers: int) -> Placement:
        """Bring the version there and warm it. Repeating it is no error. Raises TemporaryError, or PermanentError for a version
        that cannot be served."""
        ...

    def settle(self, model: str, main: str | None, keep: Collection[str]) -> None:
        """From now on `main` has the most traffic and only `keep` is needed; what else is there of the model may go. Returns at
        once, and is done as soon as it can be."""
        ...

    async def close(self) -> None: ...
