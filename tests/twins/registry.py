"""A registry in memory. Aliases move by the same rules as in the real one, over a record in memory."""

import asyncio
import contextlib
import json
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tools.clock import Clock
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.leftovers import Discarded, Leftover
from tools.registry import discarding, signing
from tools.registry.evaluations import Evaluation
from tools.registry.history import Entry
from tools.registry.moves import Moves
from tools.registry.port import Alias, AliasChange, ArtifactFormat, ModelFiles, ModelVersion, TrainingRun
from tools.registry.quantizations import Quantization
from tools.registry.serving_spec import FILE, ServingSpec
from tools.tables import stored
from tools.tables.port import Distributions


class MemoryHistory:
    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @contextlib.asynccontextmanager
    async def exclusive(self, model: str) -> AsyncIterator[None]:
        async with self._locks[model]:
            yield

    async def entries(self, model: str) -> tuple[Entry, ...]:
        return tuple(e for e in self._entries if e.change.model == model and e.state != "void")

    async def add(self, entry: Entry) -> None:
        if any(e.change.key == entry.change.key and e.state != "void" for e in self._entries):
            raise Conflict(f"{entry.change.key} has an entry")
        self._entries.append(entry)

    async def settle(self, key: str, state: Literal["done", "void"]) -> None:
        self._entries = [replace(e, state=state) if e.change.key == key and e.state == "intended" else e for e in self._entries]

    async def close(self) -> None:
        self._entries.clear()


class MemoryAliases:
    """Versions and aliases without history; a test moves aliases here to move them behind the platform's back."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[str, ModelVersion]] = {}
        self.on: dict[tuple[str, Alias], str] = {}
        self.down = False

    def answer(self) -> None:
        if self.down:
            raise TemporaryError("the registry is down")

    async def carried(self, model: str) -> Mapping[Alias, str]:
        self.answer()
        return {alias: version for (name, alias), version in self.on.items() if name == model}

    async def put(self, model: str, alias: Alias, version: str | None, *, expected: str | None) -> str | None:
        self.answer()
        if self.on.get((model, alias)) != expected:
            raise Conflict(f"{model}@{alias} is not on {expected}")
        if version is None:
            self.on.pop((model, alias), None)
            return None
        if version not in self.versions.get(model, {}):
            raise PermanentError(f"{model} has no version {version}")
        self.on[model, alias] = version
        return version


class TwinRegistry:
    key = "the platform's own"
    """What its evaluations are signed with."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._aliases = MemoryAliases()
        self._moves = Moves(self._aliases, MemoryHistory(), clock)
        self._runs: dict[str, TrainingRun] = {}
        self._files: dict[tuple[str, str], dict[str, bytes]] = {}
        self._evaluations: dict[tuple[str, str, str], str] = {}
        self._claims: dict[tuple[str, str, str], str] = {}
        self._quantizations: dict[tuple[str, str], str] = {}
        self._aside: dict[tuple[str, str], dict[str, bytes]] = {}
        self._marks: dict[tuple[str, str], discarding.Mark] = {}

    # What a test does to it from outside.

    def publish(
        self,
        model: str,
        *,
        format: ArtifactFormat = "pt2",
        files: Mapping[str, bytes] | None = None,
        run: TrainingRun | None = None,
        tags: Mapping[str, str] | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> str:
        """A new version, as a training job would register it; `files` go into the folder that `fetch` makes, and what is
        `beside` them too."""
        versions = self._aliases.versions.setdefault(model, {})
        version = str(len(versions) + 1)
        versions[version] = ModelVersion(
            model=model,
            version=version,
            created_at=self._clock.now(),
            run_id=run.run_id if run is not None else None,
            status="READY",
            format=format,
            tags=dict(tags or {}),
        )
        if run is not None:
            self._runs[run.run_id] = run
        usual = {f"model.{format}": b"", FILE: b"{}"} if files is None else files
        self._files[model, version] = {**usual, **(beside or {})}
        return version

    def evaluate(self, model: str, version: str, champion: str, text: str) -> None:
        """What an evaluation job has left beside the version's run."""
        self._evaluations[model, version, champion] = text

    def quantize(self, model: str, version: str, text: str) -> None:
        """What a quantisation job has left beside the run of the version that it was made of."""
        self._quantizations[model, version] = text

    def boast(self, model: str, version: str, champion: str, text: str) -> None:
        """What the training says of its version."""
        self._claims[model, version, champion] = text

    def spoil(self, model: str, version: str, name: str, content: bytes) -> None:
        """Another file in place of one of a version's."""
        self._files[model, version][name] = content

    def artefact(self, model: str, version: str) -> str:
        """The digest of its files."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._files[model, version].items():
                (Path(folder) / name).write_bytes(content)
            return signing.digest(Path(folder))

    def move_externally(self, model: str, alias: Alias, version: str | None) -> None:
        if version is None:
            self._aliases.on.pop((model, alias), None)
        else:
            self._aliases.on[model, alias] = version

    def go_down(self) -> None:
        self._aliases.down = True

    def come_back(self) -> None:
        self._aliases.down = False

    # The port.

    async def ping(self) -> None:
        self._aliases.answer()

    async def models(self) -> tuple[str, ...]:
        self._aliases.answer()
        return tuple(sorted(self._aliases.versions))

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        self._aliases.answer()
        return tuple(reversed(self._aliases.versions.get(model, {}).values()))

    async def version(self, model: str, version: str) -> ModelVersion:
        self._aliases.answer()
        found = self._aliases.versions.get(model, {}).get(version)
        if found is None:
            raise PermanentError(f"{model} has no version {version}")
        return found

    async def alias(self, model: str, alias: Alias) -> str | None:
        return (await self._aliases.carried(model)).get(alias)

    async def history(self, model: str, *, since: datetime | None = None) -> tuple[AliasChange, ...]:
        return tuple(c for c in await self._moves.changes(model) if since is None or c.at >= since)

    async def alias_at(self, model: str, alias: Alias, at: datetime) -> str | None:
        return await self._moves.at(model, alias, at)

    async def training_run(self, model: str, version: str) -> TrainingRun | None:
        run_id = (await self.version(model, version)).run_id
        return self._runs[run_id] if run_id is not None else None

    async def reference(self, model: str, version: str) -> Distributions | None:
        await self.version(model, version)
        text = self._files[model, version].get(stored.FILE)
        return stored.read(text) if text is not None else None

    async def serving(self, model: str, version: str) -> ServingSpec | None:
        await self.version(model, version)
        text = self._files[model, version].get(FILE)
        try:
            return ServingSpec.model_validate_json(text) if text is not None else None
        except ValidationError:
            return None

    async def evaluation(self, model: str, version: str, champion: str) -> Evaluation | None:
        await self.version(model, version)
        text = self._evaluations.get((model, version, champion))
        if text is None:
            return None
        found = signing.verified(text, self.key, model=model, version=version, champion=champion)
        signing.bind(found, artefact=self.artefact(model, version), champion_artefact=self.artefact(model, champion))
        return found

    async def quantization(self, model: str, version: str) -> Quantization | None:
        await self.version(model, version)
        text = self._quantizations.get((model, version))
        if text is None:
            return None
        found = signing.verified_quantization(text, self.key, model=model, version=version)
        produced = self.artefact(model, found.produced) if found.produced else None
        signing.bind_quantization(found, original=self.artefact(model, version), produced=produced)
        return found

    async def claim(self, model: str, version: str, champion: str) -> Evaluation | None:
        await self.version(model, version)
        text = self._claims.get((model, version, champion))
        try:
            return Evaluation.model_validate_json(text) if text is not None else None
        except ValidationError as error:
            raise PermanentError(f"the claim of {model} {version} cannot be read") from error

    async def fetch(self, model: str, version: str, into: Path) -> ModelFiles:
        folder = into / model / version
        if not folder.exists():
            found = await self.version(model, version)
            folder.mkdir(parents=True)
            for name, content in self._files[model, version].items():
                (folder / name).write_bytes(content)
            (folder / "origin.json").write_text(json.dumps(found.format))
        format_: ArtifactFormat = json.loads((folder / "origin.json").read_text())
        return ModelFiles(model=model, version=version, folder=folder, format=format_)

    async def set_alias(
        self, model: str, alias: Alias, version: str | None, *, expected: str | None, key: str, actor: str, reason: str
    ) -> AliasChange:
        return await self._moves.move(model, alias, version, expected=expected, key=key, actor=actor, reason=reason)

    async def stored(self, model: str) -> tuple[Leftover, ...]:
        return tuple(
            Leftover(
                kind="version",
                model=model,
                name=each.version,
                size_bytes=sum(map(len, self._files[model, each.version].values())),
                since=each.created_at,
                seen=_seen(each),
            )
            for each in await self.versions(model)
            if (model, each.version) not in self._marks and each.run_id is not None
        )

    async def discard(self, item: Leftover, *, protected: tuple[str, ...] = ()) -> Discarded:
        async with self._moves.alone(item.model) as changes:
            discarding.refuse_needed(item, changes, protected)
            place = item.model, item.name
            if _seen(await self.version(*place)) != item.seen:
                raise Conflict(f"{item.name} is not what was listed")
            if place not in self._marks:
                self._marks[place] = discarding.Mark(at=self._clock.now(), size_bytes=item.size_bytes, aside=True)
                self._aside[place], self._files[place] = self._files[place], {}
            return self._marks[place].told

    async def restore(self, model: str, version: str) -> None:
        place = model, version
        await self.version(*place)
        if place not in self._marks:
            return
        if place not in self._aside:
            raise PermanentError(f"{model} {version}: its files are gone for good")
        self._files[place] = self._aside.pop(place)
        del self._marks[place]

    async def empty(self, before: datetime) -> int:
        self._aliases.answer()
        due = [place for place, mark in self._marks.items() if discarding.is_before(mark, before)]
        freed = 0
        for place in due:
            freed += sum(map(len, self._aside.pop(place, {}).values()))
            self._marks[place] = self._marks[place].model_copy(update={"aside": False})
        return freed


def _seen(version: ModelVersion) -> str:
    return discarding.seen(version.version, int(version.created_at.timestamp() * 1000))
