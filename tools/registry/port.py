"""What the platform needs from a model registry: versions, the two aliases, and who moved them when."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from tools.leftovers import Discarded, Leftover
from tools.registry.evaluations import Evaluation
from tools.registry.quantizations import Quantization
from tools.registry.serving_spec import ServingSpec
from tools.tables.port import Distributions
from tools.values import Frozen, Instant


class Alias(StrEnum):
    CHAMPION = "champion"
    CHALLENGER = "challenger"


ArtifactFormat = Literal["pt2", "onnx", "pickle", "unknown"]


class ModelVersion(Frozen):
    model: str
    version: str
    created_at: Instant
    run_id: str | None
    status: str
    format: ArtifactFormat
    tags: dict[str, str]


class TrainingRun(Frozen):
    """The job that made a version, as the registry's tracking half knows it."""

    run_id: str
    status: str
    started_at: Instant
    ended_at: Instant | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class AliasChange(Frozen):
    """One move of an alias. `origin` is `external` when somebody moved it behind our back and we noticed."""

    model: str
    alias: Alias
    before: str | None
    after: str | None
    at: Instant
    actor: str
    reason: str
    key: str
    origin: Literal["oppen", "external"]


class ModelFiles(Frozen):
    """A version's files on local disk. `folder` holds the model file and `serving.json` (see `tools.registry.serving_spec`)."""

    model: str
    version: str
    folder: Path
    format: ArtifactFormat


@runtime_checkable
class RegistryReader(Protocol):
    async def ping(self) -> None:
        """Cheap proof that the registry answers; loads no heavy library. Raises TemporaryError when it does not."""
        ...

    async def models(self) -> tuple[str, ...]: ...

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """Newest first; empty when the model is unknown."""
        ...

    async def version(self, model: str, version: str) -> ModelVersion:
        """Raises PermanentError when there is no such version."""
        ...

    async def alias(self, model: str, alias: Alias) -> str | None:
        """The version that carries the alias now, straight from the registry."""
        ...

    async def history(self, model: str, *, since: datetime | None = None) -> tuple[AliasChange, ...]:
        """Oldest first, after noticing (and recording) moves made by others."""
        ...

    async def alias_at(self, model: str, alias: Alias, at: datetime) -> str | None:
        """Which version carried the alias at that moment."""
        ...

    async def training_run(self, model: str, version: str) -> TrainingRun | None: ...

    async def reference(self, model: str, version: str) -> Distributions | None:
        """How the data it was trained on is distributed; None where its training left nothing about that."""
        ...

    async def serving(self, model: str, version: str) -> ServingSpec | None:
        """How it is served; None where its training left no `serving.json`, or none that can be read."""
        ...

    async def evaluation(self, model: str, version: str, champion: str) -> Evaluation | None:
        """What the newest evaluation job of the platform has measured of the version beside that champion, as the files of both
        are now; None where none has. Takes as long as it takes to read these, and keeps no other question waiting. Raises
        PermanentError for what lies in its place and is none of ours."""
        ...

    async def quantization(self, model: str, version: str) -> Quantization | None:
        """What the newest quantisation job of the platform has measured of this version in INT8, as its files, and those of the
        INT8 version where it was registered, are now; None where none has. Raises PermanentError as `evaluation` does."""
        ...

    async def claim(self, model: str, version: str, champion: str) -> Evaluation | None:
        """What the version's own training says of it beside that champion: nobody has checked it."""
        ...

    async def stored(self, model: str) -> tuple[Leftover, ...]:
        """Versions whose files lie where the registry keeps those of their runs, with the bytes that these take; without those
        that share them with another version. Takes as long as it takes to list them."""
        ...

    async def fetch(self, model: str, version: str, into: Path) -> ModelFiles:
        """Copy the version's files to `into/{model}/{version}`; a complete copy there is reused."""
        ...


@runtime_checkable
class Registry(RegistryReader, Protocol):
    async def set_alias(
        self, model: str, alias: Alias, version: str | None, *, expected: str | None, key: str, actor: str, reason: str
    ) -> AliasChange:
        """Move the alias from `expected` (None: nobody carries it) to `version` (None: nobody carries it from now on).

        Repeating a `key` is a no-op that returns the first change, also after a crash in between. Raises Conflict when the
        alias is neither on `expected` nor, by this key, on `version` already.
        """
        ...

    async def discard(self, item: Leftover, *, protected: tuple[str, ...] = ()) -> Discarded:
        """Take the files of a version away; the version itself, its run and its history stay. Repeating it changes nothing.

        Looked at right before: Conflict, with nothing done, for a version that carries an alias of any name, was champion
        before the one of now, is `protected`, or is not what was listed. Where somebody else gives it an alias in the same
        moment, the files are put back if they can be.
        """
        ...

    async def restore(self, model: str, version: str) -> None:
        """Put back what was discarded. What is there is left as it is; PermanentError for what is gone for good."""
        ...

    async def empty(self, before: datetime) -> int:
        """Delete for good what was discarded before then; how many bytes."""
        ...
