"""A run over a feature store as a job: from where things are to what was done. For the command line, and a child process.

Whoever only names a job imports nothing heavy.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tools.features.addresses import Place

if TYPE_CHECKING:
    from pipelines.cancelling import Cancellation
    from pipelines.feature_runs import Run
    from tools.features.feast import FeastStore
    from tools.lake.port import Lake

_LAST = "last-run.json"


@dataclass(frozen=True)
class Job:
    place: Place
    lake: str
    """Folder of the raw data."""
    definitions: str
    """Module that has VIEWS."""
    clock: str = "system"
    lake_password: str | None = field(default=None, repr=False)


def run(
    job: Job,
    until: datetime | None = None,
    *,
    cancellation: "Cancellation | None" = None,
    progress: Callable[[str], None] = lambda _text: None,
) -> "Run":
    """Raises PermanentError for what cannot be opened, TemporaryError while another run is at it."""
    from pipelines.feature_runs import materialize
    from pipelines.features import definitions
    from tools.clock import clock_from

    # Before Feast, which takes seconds: what is wrong here is told at once.
    views, clock = definitions(job.definitions), clock_from(job.clock)
    with opened(job.place) as store, contextlib.closing(_lake(job)) as lake:
        done = materialize(views, lake, store.offline, store, clock, until=until, cancellation=cancellation, progress=progress)
    if not done.cancelled:
        path = job.place.folder / _LAST
        fresh = path.with_suffix(".new")
        fresh.write_text(done.model_dump_json())
        fresh.replace(path)
    return done


def last_run(folder: Path) -> "Run | None":
    """The last one that came to its end; None where there is none that can be read."""
    from pydantic import ValidationError

    from pipelines.feature_runs import Run

    try:
        return Run.model_validate_json((folder / _LAST).read_bytes())
    except (OSError, ValidationError):
        return None


@contextlib.contextmanager
def opened(place: Place) -> "Iterator[FeastStore]":
    from tools.features.feast import FeastStore

    store = FeastStore(place)
    try:
        yield store
    finally:
        store.close()


def _lake(job: Job) -> "Lake":
    from tools.lake.parquet import ParquetLake

    return ParquetLake(Path(job.lake))
