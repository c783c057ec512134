"""Which versions may lose their files, and where these are put aside.

MLflow's own deletion of a version cannot be undone: it takes its aliases with it and writes over where its files were. So the
version stays, with a tag; only its files go. In a folder of this machine they are renamed where they lie, and can be put back;
any other store can only delete.

A version's source is whatever whoever registered it has said. Files are touched only where they lie within the artifacts of
the version's own run or logged model, as MLflow knows them, and on this machine within the registry's own folder too.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.errors import Conflict
from tools.leftovers import KEPT, Discarded, Leftover
from tools.registry.port import Alias, AliasChange
from tools.values import Frozen, Instant

TAG = "oppen.discarded"
_ASIDE = ".discarded-"


class Mark(Frozen):
    """The tag's value."""

    at: Instant
    size_bytes: int
    aside: bool
    """Whether it can be put back."""

    @property
    def told(self) -> Discarded:
        return Discarded(size_bytes=self.size_bytes, undo_until=self.at + KEPT if self.aside else None)


def seen(source: str, created_ms: int) -> str:
    """A version is made once; one that was deleted and made anew has another time."""
    return f"{created_ms}:{source}"[:200]


def former_champion(changes: Sequence[AliasChange]) -> str | None:
    """The champion before the one of now: who can be gone back to."""
    champions = [change for change in changes if change.alias is Alias.CHAMPION]
    now = champions[-1].after if champions else None
    return next((change.before for change in reversed(champions) if change.before not in (None, now)), None)


def refuse_needed(item: Leftover, changes: Sequence[AliasChange], protected: Iterable[str]) -> None:
    """Raises Conflict."""
    carriers: dict[Alias, str | None] = {change.alias: change.after for change in changes}
    for alias, version in carriers.items():
        if version == item.name:
            raise Conflict(f"{item.model} {item.name} is {alias} now")
    if item.name == former_champion(changes):
        raise Conflict(f"{item.model} {item.name} was champion before the one of now: it is what a rollback goes back to")
    if item.name in set(protected):
        raise Conflict(f"{item.model} {item.name} is needed")


def aside(folder: Path) -> Path:
    return folder.with_name(f"{_ASIDE}{folder.name}")


def owned(folder: Path, root: Path) -> bool:
    """Whether it is a folder of the registry's own, below its root, and no link out of it."""
    return not folder.is_symlink() and folder.resolve().is_relative_to(root.resolve()) and folder.resolve() != root.resolve()


def put_aside(folder: Path) -> None:
    """What was put aside before, and has been made anew since, is let go of."""
    if folder.is_dir():
        shutil.rmtree(aside(folder), ignore_errors=True)
        folder.rename(aside(folder))


def put_back(folder: Path) -> bool:
    """Whether it is there afterwards."""
    if aside(folder).is_dir() and not folder.exists():
        aside(folder).rename(folder)
    return folder.is_dir()


def weigh(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def weigh_listed(repository: Any, path: str | None = None) -> int:
    """Of a store that only lists; what it does not tell the size of counts nothing."""
    return sum(
        weigh_listed(repository, entry.path) if entry.is_dir else int(entry.file_size or 0)
        for entry in repository.list_artifacts(path)
    )


def mark(tags: dict[str, str]) -> Mark | None:
    """None for what is not discarded, or has a tag of somebody else's under that name."""
    try:
        return Mark.model_validate(json.loads(tags[TAG]))
    except (KeyError, ValueError):
        return None


def is_before(found: Mark, moment: datetime) -> bool:
    return found.aside and found.at < moment
