"""A registry that is a folder: `{root}/{model}/{version}/` holds a version's files, `{root}/{model}/champion` its alias."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

from tools.errors import PermanentError, TemporaryError
from tools.registry.port import Alias, AliasChange, ArtifactFormat, ModelFiles, ModelVersion, TrainingRun

_BORN = datetime(2026, 1, 1, tzinfo=UTC)


class FolderRegistry:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched: list[str] = []

    async def ping(self) -> None:
        if not self.root.is_dir():
            raise TemporaryError(f"{self.root} is not there")

    async def models(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self.root.iterdir()))

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        names = sorted((path.name for path in (self.root / model).iterdir() if path.is_dir()), reverse=True)
        return tuple([await self.version(model, name) for name in names])

    async def version(self, model: str, version: str) -> ModelVersion:
        folder = self.root / model / version
        if not folder.is_dir():
            raise PermanentError(f"{model} has no version {version}")
        return ModelVersion(
            model=model,
            version=version,
            created_at=_BORN,
            run_id=None,
            status="READY",
            format=_format(folder),
            tags={},
        )

    async def alias(self, model: str, alias: Alias) -> str | None:
        await self.ping()
        path = self.root / model / alias.value
        return path.read_text() if path.exists() else None

    async def history(self, model: str, *, since: datetime | None = None) -> tuple[AliasChange, ...]:
        return ()

    async def alias_at(self, model: str, alias: Alias, at: datetime) -> str | None:
        return await self.alias(model, alias)

    async def training_run(self, model: str, version: str) -> TrainingRun | None:
        return None

    async def fetch(self, model: str, version: str, into: Path) -> ModelFiles:
        await self.ping()
        found = await self.version(model, version)
        target = into / model / version
        if not target.exists():
            self.fetched.append(f"{model}/{version}")
            shutil.copytree(self.root / model / version, target)
        return ModelFiles(model=model, version=version, folder=target, format=found.format)


def _format(folder: Path) -> ArtifactFormat:
    """The suffix of the model file; `pth` is a pickle."""
    for path in folder.rglob("*"):
        suffix = path.suffix.removeprefix(".")
        if suffix == "pth":
            return "pickle"
        if suffix in get_args(ArtifactFormat):
            return cast("ArtifactFormat", suffix)
    return "unknown"
