"""A run over a feature store as a job: from where things are to what was done. For the command line, and a child process.

Whoever only names a job imports nothing heavy.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import PermanentError
from tools.features.addresses import Place

if TYPE_CHECKING:
    from pipelines.cancelling import Cancellation
    from pipelines.feature_runs import Run
    from pipelines.features import FeatureView
    from tools.features.feast import FeastStore
    from tools.lake.port import Lake

OFF = "off"
_LAST = "last-run.json"


@dataclass(frozen=True)
class Job:
    place: Place
    lake: str
    """With the raw data: a folder or a URL, as for `open_lake`."""
    definitions: str
    """Module that has VIEWS."""
    clock: str = "system"
    lake_password: str | None = field(default=None, repr=False)
    lineage: str = OFF
    """Where it is told what came from where: a file or an address; `off`."""
    home: Path = Path()
    """Where what an address did not take waits."""


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
    from tools.lake.opening import must_be_there

    # Before Feast, which takes seconds: what is wrong here is told at once.
    views, clock = definitions(job.definitions), clock_from(job.clock)
    must_be_there(job.lake)
    with opened(job.place) as store, contextlib.closing(_lake(job)) as lake:
        done = materialize(views, lake, store.offline, store, clock, until=until, cancellation=cancellation, progress=progress)
    _trace(job, views, done, progress)
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
def reading(place: Place) -> "Iterator[FeastStore]":
    """For who only reads: nothing is made where nothing is. Raises PermanentError where there is no store."""
    if not place.registry and not place.registry_file.is_file():
        raise PermanentError(
            f"there is no feature store at {place.folder}: `oppen features materialize` makes one; or name another with --store"
            " or OPPEN_FEATURES"
        )
    with opened(place) as store:
        yield store


@contextlib.contextmanager
def opened(place: Place) -> "Iterator[FeastStore]":
    from tools.features.feast import FeastStore

    store = FeastStore(place)
    try:
        yield store
    finally:
        store.close()


def _lake(job: Job) -> "Lake":
    from tools.lake.opening import open_lake

    return open_lake(job.lake, job.lake_password)


def _trace(job: Job, views: "Sequence[FeatureView]", done: "Run", tell: Callable[[str], None]) -> None:
    """Raw batches -> versions of views. A run is not less done for what cannot be told."""
    if job.lineage == OFF:
        return
    from pipelines.lineage import features_computed
    from tools.errors import PortError
    from tools.lineage.opening import open_lineage
    from tools.lineage.port import Column

    try:
        with contextlib.closing(open_lineage(job.lineage, home=job.home, key=os.environ.get("OPPEN_KEY", ""))) as writer:
            for view, computed in zip((each.view for each in views), done.views, strict=False):
                if computed.inputs:
                    columns = [Column(name=name, type=kind) for name, kind in (*view.entities.items(), *view.features.items())]
                    batches = {view.source: computed.inputs}
                    features_computed(
                        writer, view.name, view.version, batches=batches, columns=columns, rows=computed.rows_written, tell=tell
                    )
    except PortError as error:
        tell(f"lineage: {error}")
