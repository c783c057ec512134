"""The digest of a version's files as they lie in the registry, without a copy of them.

A model may be larger than the room that a service has for scratch. What lies on this machine is read where it lies, and what a
tracking server hands out is read as it comes; from any other store one file is copied after the other, and removed at once.
Minutes for a large model: it runs in a child process where nobody else waits.
"""

import contextlib
import hashlib
import posixpath
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.errors import PermanentError
from tools.registry import artifacts, signing

_BLOCK = 1 << 20
_MOST = 256
"""Digests that are remembered."""
_GOOD_FOR_S = 600.0
"""Stores tell the sizes of files and not that they were changed: another file of the same size is noticed after so long."""


class Digests:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: in seconds, from any beginning."""
        self._now = now
        self._known: OrderedDict[tuple[object, ...], tuple[float, str]] = OrderedDict()

    def of(self, repository: artifacts.Repository, identity: tuple[object, ...]) -> str:
        """As `signing.digest` of a copy. `identity`: what the artifacts are those of.

        Files that are seen to be others, by their names, sizes and, on this machine, times are read anew. Raises PermanentError
        for what is no plain file."""
        files = artifacts.files(repository)
        key = (*identity, *((name, source, size, _mark(repository, source)) for name, source, size in files))
        found = self._known.get(key)
        if found is not None and self._now() - found[0] < _GOOD_FOR_S:
            return found[1]
        begun = self._now()
        whole = signing.combined((name, _sha256(_blocks(repository, source))) for name, source, _ in files)
        self._known[key] = (begun, whole)
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return whole


def _mark(repository: artifacts.Repository, source: str) -> tuple[int, ...]:
    """By which a change is seen of a file on this machine; empty for one elsewhere."""
    path = _local(repository, source)
    if path is None:
        return ()
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sha256(blocks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def _blocks(repository: artifacts.Repository, source: str) -> Iterator[bytes]:
    path = _local(repository, source)
    if path is not None:
        yield from _read(path)
    elif (address := _address(repository)) is not None:
        yield from _streamed(address, source)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            copied = Path(scratch) / "file"
            artifacts.download(repository, source, Path(scratch), copied)
            yield from _read(copied)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _local(repository: Any, source: str) -> Path | None:
    """Where it lies on this machine, if it does."""
    get_local_path = getattr(repository, "get_local_path", None)
    found = get_local_path(artifacts.inside(source)) if get_local_path is not None else None
    if found is None:
        return None
    path = Path(found)
    if not path.is_file():  # a pipe would be waited for, and never end
        raise PermanentError(f"the artifact {source!r} is no plain file")
    return path


def _address(repository: Any) -> str | None:
    """Of a tracking server that hands out its artifacts itself."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    return repository.artifact_uri if isinstance(repository, HttpArtifactRepository) else None


def _streamed(address: str, source: str) -> Iterator[bytes]:
    """MLflow's client can only write it to a file; this is the request that it makes, with the same credentials."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import augmented_raise_for_status, http_request

    path = posixpath.join("/", artifacts.inside(source))
    with contextlib.closing(http_request(get_default_host_creds(address), path, "GET", stream=True)) as response:
        augmented_raise_for_status(response)
        yield from response.iter_content(_BLOCK)
