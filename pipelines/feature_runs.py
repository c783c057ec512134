"""From raw batches in the lake to rows of views, and online: only what is new, each raw batch once, however a run ends.

Per view: raw batches that are in none of its batches yet are taken in groups, in pieces of bounded size; a group's rows are one
batch, all or nothing, under a key made from the group. Of a view of aggregates the tiles come first, then the rows that they
change; a run that was interrupted between the two does the second the next time.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.cancelling import Cancellation, Cancelled
from pipelines.features import FeatureView
from pipelines.windows import TILE, Reach, merged, rows, tiles
from tools.clock import Clock
from tools.errors import PortError, TemporaryError
from tools.features.columns import TIME, schema_of
from tools.features.offline import Batch, OfflineTables, append, batches, created_after, prepared
from tools.features.port import EVENT_TIME, FeatureStore, Materialized, View, refuse_ahead
from tools.lake.port import Lake, LakeReader, Receipt
from tools.values import Frozen

_GROUP_ROWS, _GROUP_BATCHES = 1_000_000, 256
"""Raw rows and batches that make one batch of a view: many small files are no good to anybody."""


_NOTHING = (
    "the lake has no rows in a table '{0}': bring them with `oppen data ingest ... --table {0}`, or name the right lake with"
    " --lake or OPPEN_LAKE"
)


class Computed(Frozen):
    view: str
    version: str
    batches: int = 0
    """Raw ones that were taken in."""
    rows_read: int = 0
    rows_written: int = 0
    seconds: float = 0.0
    online: Materialized | None = None
    published: bool = False
    """This run made the version current."""
    inputs: tuple[str, ...] = Field(default=(), exclude=True, repr=False)
    """Keys of the raw batches, for lineage."""
    error: str | None = None
    temporary: bool = False
    """The error may be gone the next time."""


class Run(Frozen):
    views: tuple[Computed, ...]
    until: datetime
    seconds: float
    cancelled: bool = False

    @property
    def ok(self) -> bool:
        return not self.cancelled and all(each.error is None for each in self.views)


def materialize(
    definitions: Sequence[FeatureView],
    lake: Lake,
    offline: OfflineTables,
    store: FeatureStore,
    clock: Clock,
    *,
    until: datetime | None = None,
    cancellation: Cancellation | None = None,
    progress: Callable[[str], None] = lambda _text: None,
) -> Run:
    """Have every view as the lake has it, offline, and online as of `until`, by default now.

    A view that fails holds up no other, and says so. Raises TemporaryError while another run is at it, PermanentError for an
    `until` that is ahead of now.
    """
    started, moment, asked = time.perf_counter(), until or clock.now(), cancellation or Cancellation()
    refuse_ahead(moment, clock.now())
    done: list[Computed] = []
    cancelled = False
    with offline.writing():
        try:
            for definition in definitions:
                asked.check()
                done.append(_materialized(definition, lake, offline, store, clock, moment, asked))
                progress(_told(done[-1]))
        except Cancelled:
            cancelled = True
    seconds = round(time.perf_counter() - started, 3)
    return Run(views=tuple(done), until=moment, seconds=seconds, cancelled=cancelled)


def _materialized(
    definition: FeatureView,
    lake: Lake,
    offline: OfflineTables,
    store: FeatureStore,
    clock: Clock,
    until: datetime,
    cancellation: Cancellation,
) -> Computed:
    view, started = definition.view, time.perf_counter()
    found = Computed(view=view.name, version=view.version)
    try:
        store.register((view,))
        found = compute(definition, lake, offline, clock, cancellation)
        online = store.materialize(view, until, max(until, clock.now()))
        # Its name means the new version from the moment on at which it is there as a whole.
        published = not store.published(view)
        if published:
            store.publish(view)
    except PortError as error:
        return found.model_copy(update={"error": str(error), "temporary": isinstance(error, TemporaryError)})
    seconds = round(time.perf_counter() - started, 3)
    return found.model_copy(update={"online": online, "published": published, "seconds": seconds})


def compute(definition: FeatureView, lake: Lake, offline: OfflineTables, clock: Clock, cancellation: Cancellation) -> Computed:
    """Have the offline rows of a view as the lake has it. Raises PermanentError when the transformation fails, TemporaryError
    when the lake has nothing of its source: that is another lake or another table, and not one where nothing is new."""
    view, started = definition.view, time.perf_counter()
    work = _Aggregates(definition, view, offline, clock) if definition.aggregates else _Facts(definition, view, offline, clock)
    source = lake.read(definition.source)
    taken, accepted = work.inputs(), [each for each in source.receipts() if each.refused is None]
    if not accepted:
        raise TemporaryError(_NOTHING.format(definition.source))
    fresh = [each for each in accepted if each.key not in taken]
    read = 0
    written = work.catch_up()
    for group in _groups(fresh):
        cancellation.check()
        keys = [each.key for each in group]
        read += sum(each.rows for each in group)
        written += work.take(keys, _pieces(source, keys, cancellation))
    return Computed(
        view=view.name,
        version=view.version,
        batches=len(fresh),
        inputs=tuple(each.key for each in fresh),
        rows_read=read,
        rows_written=written,
        seconds=round(time.perf_counter() - started, 3),
    )


class _Facts:
    """A row for each fact."""

    def __init__(self, definition: FeatureView, view: View, offline: OfflineTables, clock: Clock) -> None:
        self._definition, self._view, self._offline, self._clock = definition, view, offline, clock

    def inputs(self) -> frozenset[str]:
        return _inputs(self._offline.batches(self._view))

    def catch_up(self) -> int:
        return 0

    def take(self, keys: Sequence[str], pieces: Iterator[pa.Table]) -> int:
        """How many rows that made."""
        definition, view = self._definition, self._view
        created = created_after(self._clock.now(), self._offline.batches(view))
        parts = []
        for piece in pieces:
            facts = definition.facts(piece)
            moments = facts[definition.event_time].cast(TIME, safe=False)
            if EVENT_TIME in facts.column_names:
                facts = facts.drop_columns([EVENT_TIME])
            parts.append(prepared(view, facts.append_column(EVENT_TIME, moments), created))
        found = _last(pa.concat_tables(parts), [*view.entities, EVENT_TIME]) if parts else schema_of(view).empty_table()
        newest = pc.max(found[EVENT_TIME]).as_py()
        append(
            self._offline.lake,
            view.id,
            _key(keys),
            found,
            times=EVENT_TIME,
            newest=newest,
            inputs=keys,
            source=view.source,
            now=created,
        )
        return int(found.num_rows)


class _Aggregates:
    """Tiles of what happened, and from them the rows of windows."""

    def __init__(self, definition: FeatureView, view: View, offline: OfflineTables, clock: Clock) -> None:
        self._definition, self._view, self._offline, self._clock = definition, view, offline, clock
        self._tiles = f"{view.id}_tiles"

    def inputs(self) -> frozenset[str]:
        return _inputs(batches(self._offline.lake, self._tiles))

    def catch_up(self) -> int:
        """Rows of tiles that a run before this one left without."""
        all_tiles, done = batches(self._offline.lake, self._tiles), {each.key for each in self._offline.batches(self._view)}
        return sum(self._rows(each, all_tiles) for each in all_tiles if each.key not in done)

    def take(self, keys: Sequence[str], pieces: Iterator[pa.Table]) -> int:
        definition, newest = self._definition, None
        parts = []
        for piece in pieces:
            facts = definition.facts(piece)
            if facts.num_rows:
                parts.append(tiles(definition, facts))
                latest = pc.max(facts[definition.event_time].cast(TIME, safe=False)).as_py()
                newest = latest if newest is None else max(newest, latest)
        # Without a fact there is no tile; that the group was taken in has to be known all the same.
        found = merged(definition, pa.concat_tables(parts)) if parts else pa.table({TILE: pa.array([], TIME)})
        append(
            self._offline.lake,
            self._tiles,
            _key(keys),
            found,
            times=TILE,
            newest=newest,
            inputs=keys,
            source=self._view.source,
            now=self._clock.now(),
        )
        return self.catch_up()

    def _rows(self, fresh: Batch, all_tiles: Sequence[Batch]) -> int:
        definition, view = self._definition, self._view
        created = created_after(self._clock.now(), self._offline.batches(view))
        found = schema_of(view).empty_table()
        if fresh.start is not None and fresh.end is not None:
            reach = Reach.of(definition, _us(fresh.start), _us(fresh.end))
            near = {
                each.key
                for each in all_tiles
                if each.start and each.end and _us(each.end) >= reach.first_tile and _us(each.start) <= reach.last_row
            }
            read = self._offline.lake.read(self._tiles)
            new = merged(definition, pa.Table.from_batches(read.rows({fresh.key})))
            found = rows(definition, merged(definition, pa.Table.from_batches(read.rows(near))), new)
            found = prepared(view, found, created)
        append(
            self._offline.lake,
            view.id,
            fresh.key,
            found,
            times=EVENT_TIME,
            newest=fresh.newest,
            inputs=fresh.inputs,
            source=view.source,
            now=created,
        )
        return int(found.num_rows)


def _inputs(found: Sequence[Batch]) -> frozenset[str]:
    return frozenset(key for each in found for key in each.inputs)


def _groups(receipts: Sequence[Receipt]) -> Iterator[list[Receipt]]:
    group: list[Receipt] = []
    for receipt in receipts:
        if group and (len(group) >= _GROUP_BATCHES or sum(each.rows for each in group) + receipt.rows > _GROUP_ROWS):
            yield group
            group = []
        group.append(receipt)
    if group:
        yield group


def _pieces(source: LakeReader, keys: Sequence[str], cancellation: Cancellation) -> Iterator[pa.Table]:
    for piece in source.rows(keys):
        cancellation.check()
        yield pa.Table.from_batches([piece])


def _key(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode("utf-8", "surrogatepass")).hexdigest()


def _last(found: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Of rows with the same values in these columns the last: what comes later in the raw data corrects what came before."""
    numbered = found.append_column("_place", pa.array(range(found.num_rows), pa.int64()))
    places = numbered.group_by(list(columns), use_threads=False).aggregate([("_place", "max")])["_place_max"]
    return found.take(places.combine_chunks().sort())


def _us(moment: datetime) -> int:
    return int(pa.scalar(moment, TIME).cast(pa.int64()).as_py())


def _told(found: Computed) -> str:
    if found.error is not None:
        return f"{found.view}: {found.error}"
    keys = found.online.keys if found.online else 0
    return f"{found.view}: {found.rows_read:,} raw rows, {found.rows_written:,} rows, {keys:,} keys online, {found.seconds} s"
