"""Files: one, a folder, a glob; here or in object storage. A file is a batch.

One that is here is known by its name (without its folder, so that it is the same from wherever it is asked for), size and
SHA-256; one in object storage by its path, size and ETag, so that what is in the
lake already is not fetched again.
"""

import fnmatch
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs

from tools.errors import PermanentError
from tools.sources.fetched import ObjectBatch
from tools.sources.formats import KINDS, FileBatch, hashed, kind_of, told, translated


class Files:
    """`Source`. Endings: .parquet, .csv, .jsonl, .ndjson, the last three also with .gz."""

    ordered = False

    def __init__(
        self,
        filesystem: Any,
        path: str,
        name: str,
        batch_rows: int,
        key: str | None = None,
        scheme: str = "",
        without: Path | None = None,
    ) -> None:
        """`path`: of a file, a folder or a glob, as the filesystem writes it. `name`: what was asked for, for people.
        `key`: of the one file that there is, in place of what it is called and holds. `scheme`: of the paths of batches.
        `without`: a folder here, the lake's, whose files are none of the source's."""
        self._filesystem = filesystem
        self._path = path
        self._name = name
        self._batch_rows = batch_rows
        self._key = key
        self._scheme = scheme
        self._without = without.resolve() if without is not None else None
        self.held_back: dict[str, int] = {}

    @property
    def name(self) -> str:
        return f"files:{self._name}"

    @property
    def label(self) -> str:
        parts = [part for part in self._path.split("/") if part and not _is_pattern(part)]
        return parts[-1].partition(".")[0] if parts else ""

    def batches(self, mark: str | None) -> Iterator[FileBatch | ObjectBatch]:
        del mark  # files are told apart by what they hold
        found = self._found()
        if self._key is not None and len(found) > 1:
            raise PermanentError(f"{self._name}: a key is for one file, and these are {len(found)}")
        for path, relative in found:
            if isinstance(self._filesystem, pyarrow.fs.LocalFileSystem):
                yield self._here(Path(path))
            else:
                with tempfile.TemporaryDirectory(prefix="oppen-source-") as folder:
                    to = Path(folder) / Path(relative).name
                    yield ObjectBatch(self._filesystem, path, f"{self._scheme}{path}", self._key, to, self._batch_rows)

    def close(self) -> None:
        """Nothing is held between batches."""

    def _here(self, path: Path) -> FileBatch:
        with told(str(path)):
            digest, size = hashed(path), path.stat().st_size
        return FileBatch(path, str(path), self._key or f"file:{path.name}:{size}:{digest}", digest, self._batch_rows)

    def _found(self) -> list[tuple[str, str]]:
        """Path and name relative to what was asked for, in order."""
        if _is_pattern(self._path):
            parts = self._path.split("/")
            fixed = next(place for place, part in enumerate(parts) if _is_pattern(part))
            base = "/".join(parts[:fixed])
        else:
            base = self._path
        try:
            (there,) = self._filesystem.get_file_info([base or "/"])
            if there.type == pyarrow.fs.FileType.File:
                kind_of(there.path)
                if self._is_left_out(there.path):
                    raise PermanentError(f"{self._name}: this is a file of the lake that it would go to")
                return [(there.path, there.base_name)]
            if there.type != pyarrow.fs.FileType.Directory:
                raise PermanentError(f"{self._name}: there is no such file or folder")
            listed = self._filesystem.get_file_info(pyarrow.fs.FileSelector(base or "/", recursive=True))
        except OSError as error:
            raise translated(self._name, error) from error
        found, left_out = [], False
        for each in listed:
            relative = each.path[len(base.rstrip("/")) + 1 :]
            hidden = any(part.startswith((".", "_")) for part in relative.split("/"))
            matches = _matches(each.path, self._path) if _is_pattern(self._path) else _has_kind(each.path)
            if each.type == pyarrow.fs.FileType.File and matches and not hidden:
                if self._is_left_out(each.path):
                    left_out = True
                else:
                    found.append((each.path, relative))
        if not found:
            if left_out:
                raise PermanentError(f"{self._name}: all files in it are those of the lake that they would go to")
            raise PermanentError(f"{self._name}: there is no file in it that ends in {', '.join(KINDS)}")
        return sorted(found)

    def _is_left_out(self, path: str) -> bool:
        return self._without is not None and Path(path).resolve().is_relative_to(self._without)


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _matches(path: str, pattern: str) -> bool:
    """`*` stays within a folder, `**` does not."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(path, pattern)
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _has_kind(path: str) -> bool:
    return path.removesuffix(".gz").endswith(KINDS)
