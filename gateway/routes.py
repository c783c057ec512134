"""The routes on disk: one small JSON file per model, replaced whole, so that a restart serves what was last agreed.

A change counts from the moment its file is renamed into place; the key that made it lies in the same file, so a repeated call
after a crash finds either both or neither.
"""

import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from gateway.routing import Slots

T = TypeVar("T")

_REMEMBERED_KEYS = 1000
"""Retries come within minutes; a thousand changes of one model take months."""


class Change(Struct, frozen=True):
    """What a key did, to be given back when the key comes again."""

    generation: int
    weights: dict[str, int]
    shadow: dict[str, int] = {}
    salt: str | None = None
    """As it was asked for."""
    made: str | None = None
    """The salt that the route had then; None: noted by a release that did not keep it."""


class StoredBatching(Struct, frozen=True):
    generation: int
    rows: int
    wait_ms: float


class StoredRoute(Struct, frozen=True):
    model: str
    generation: int = 0
    weights: dict[str, int] = {}
    slots: Slots = ()
    shadow: dict[str, int] = {}
    """Percent of the requests that are copied to each version."""
    salt: str = ""
    workers: int = 1
    changes: dict[str, Change] = {}
    """By key, oldest first."""
    scalings: dict[str, int] = {}
    """By key, oldest first: the workers it asked for."""
    batching: StoredBatching | None = None
    """None: as the gateway was started."""
    batchings: dict[str, StoredBatching] = {}
    """By key, oldest first: what it made."""

    def changed(
        self, weights: dict[str, int], shadow: dict[str, int], slots: Slots, key: str, salt: str | None = None
    ) -> "StoredRoute":
        """`salt`: None keeps the one there is while traffic is split; who has all of it needs none."""
        kept = self.salt if len(set(slots)) > 1 else ""
        made = kept if salt is None else salt
        change = Change(self.generation + 1, weights, shadow, salt, made)
        return msgspec.structs.replace(
            self,
            generation=change.generation,
            weights=weights,
            slots=slots,
            shadow=shadow,
            salt=made,
            changes=_remember(self.changes, key, change),
        )

    def scaled(self, workers: int, key: str) -> "StoredRoute":
        return msgspec.structs.replace(self, workers=workers, scalings=_remember(self.scalings, key, workers))

    def batched(self, rows: int, wait_ms: float, key: str) -> "StoredRoute":
        made = StoredBatching((self.batching.generation if self.batching else 0) + 1, rows, wait_ms)
        return msgspec.structs.replace(self, batching=made, batchings=_remember(self.batchings, key, made))


def _remember(known: dict[str, T], key: str, value: T) -> dict[str, T]:
    return dict([*known.items(), (key, value)][-_REMEMBERED_KEYS:])


class RouteFiles:
    """Blocking: call `write` from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read_all(self) -> list[StoredRoute]:
        """Raises msgspec.ValidationError for a file that somebody else has written to."""
        return [msgspec.json.decode(path.read_bytes(), type=StoredRoute) for path in sorted(self._folder.glob("*.json"))]

    def write(self, route: StoredRoute) -> None:
        path = self._folder / f"{quote(route.model, safe='')}.json"
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(route))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(self._folder)


def sync_folder(folder: Path) -> None:
    """A rename survives a power cut only when its folder is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
