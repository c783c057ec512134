"""Feast as the store: its registry has the definitions, its online stores the latest values; its file store reads our Parquet.

Importing it takes seconds and hundreds of megabytes, so it is for programs, and for a child process of the service
(`offloaded.py`). Three things of it are done here instead, and contract tests hold them against its own:

- the join for training sets (ADR 6);
- what is materialized: Feast goes by event times alone, and never sees a correction of a row that was materialized before;
- `ttl` online, which Feast looks at in training sets only.
"""

import time as wall
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tools.errors import PermanentError, TemporaryError
from tools.features import library
from tools.features.addresses import Place, config
from tools.features.columns import TIME, schema_of
from tools.features.errors import translated
from tools.features.joining import as_of, latest, taken
from tools.features.offline import OfflineTables
from tools.features.port import (
    CREATED,
    EVENT_TIME,
    EVENT_US,
    MAX_KEYS,
    SKEW,
    Found,
    Key,
    Kind,
    Materialized,
    Reference,
    Unanswerable,
    Value,
    View,
    ViewState,
    refuse_ahead,
)
from tools.features.progress import Mark, Progress

_VIEW, _CURRENT = "oppen.view", "oppen.current"
"""Tags of a view in the registry: what it is, and whether its name alone means it."""
_REMEMBER_S = 30.0
"""How long a reader goes by what it knows of the registry: a new version is found that much later."""
_WRITE_ROWS = 5_000
"""Go online in one transaction: readers of SQLite wait for it no longer than a few tenths of a second."""
_READ_ROWS = 500_000
_FIELDS: Mapping[Kind, str] = {
    "text": "string_val",
    "integer": "int64_val",
    "number": "double_val",
    "boolean": "bool_val",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Known:
    view: View
    current: bool
    feast: Any
    """Its `FeatureView`."""


@dataclass(frozen=True)
class _Asked:
    """What a lookup or a training set wants of one view: asked name and feature."""

    known: _Known
    wanted: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> list[str]:
        return [*dict.fromkeys(feature for _, feature in self.wanted), EVENT_US]


class FeastStore:
    """`FeatureStore`."""

    def __init__(self, place: Place) -> None:
        """Takes the seconds that Feast takes to be imported. Raises PermanentError for settings that cannot be used."""
        library.load()
        with translated():
            from feast import FeatureStore

            place.folder.mkdir(parents=True, exist_ok=True)
            self._feast = FeatureStore(config=config(place))
            if place.online:
                _impatient(self._feast)
            if place.registry:
                _unmistakable(self._feast)
        self._offline = OfflineTables(place.offline)
        self._progress = Progress(place.folder, place.online_digest)
        self._place = place
        self._views: dict[str, _Known] = {}
        self._plans: dict[tuple[str, ...], tuple[_Asked, ...]] = {}
        self._orders: dict[tuple[str, ...], list[str]] = {}
        self._looked = float("-inf")

    @property
    def offline(self) -> OfflineTables:
        """Where rows of views are put."""
        return self._offline

    def ping(self) -> None:
        """That registry and online store answer."""
        self._look()
        with translated():
            if self._place.online:
                self._feast.provider.online_store._get_client(self._feast.config.online_store).ping()

    def states(self) -> tuple[ViewState, ...]:
        known = sorted(self._look().values(), key=lambda each: (each.view.name, not each.current, each.view.version))
        return tuple(self._state(each) for each in known)

    def lookup(self, keys: Sequence[Key], features: Sequence[str], now: datetime) -> tuple[Found, ...]:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise Unanswerable("entities", f"give 1 to {MAX_KEYS} at a time, not {len(keys)}")
        self._look_now_and_then()
        values: list[dict[str, Value]] = [{} for _ in keys]
        moments: list[dict[str, datetime]] = [{} for _ in keys]
        plan = self._plan(tuple(features))
        read = self._read_at_once(plan, keys) if self._place.online else self._read_one_by_one(plan, keys)
        for asked, rows in zip(plan, read, strict=True):
            view = asked.known.view
            for place, row in enumerate(rows):
                moment = _moment(row.get(EVENT_US))
                if moment is None or moment > now + SKEW or now - moment > view.ttl:
                    values[place].update(dict.fromkeys((name for name, _ in asked.wanted), None))
                    continue
                moments[place][view.name] = moment
                values[place].update((name, row.get(feature)) for name, feature in asked.wanted)
        order = self._names(features)
        return tuple(
            Found(values={name: found[name] for name in order}, as_of=times)
            for found, times in zip(values, moments, strict=True)
        )

    def _read_one_by_one(self, plan: Sequence[_Asked], keys: Sequence[Key]) -> list[list[dict[str, Value]]]:
        """For each view and key its features: in a file, view by view, past what makes Feast's answers slow."""
        found = []
        for asked in plan:
            entities = [_entity_key(asked.known.view, key) for key in keys]
            with translated():
                rows = self._feast.provider.online_read(self._feast.config, asked.known.feast, entities, asked.columns)
            found.append([{name: _plain(value) for name, value in (row or {}).items()} for _, row in rows])
        return found

    def _read_at_once(self, plan: Sequence[_Asked], keys: Sequence[Key]) -> list[list[dict[str, Value]]]:
        """The same of a server: in one round trip, which is what takes the time there, and which only Feast's own way does."""
        names = {name for asked in plan for name in asked.known.view.entities}
        for asked in plan:
            for key in keys:
                _entity_key(asked.known.view, key)
        with translated():
            answer = self._feast.get_online_features(
                features=[f"{asked.known.view.id}:{name}" for asked in plan for name in asked.columns],
                entity_rows=[{name: key[name] for name in names} for key in keys],
                full_feature_names=True,
            ).to_dict()
        return [
            [{name: answer[f"{asked.known.view.id}__{name}"][place] for name in asked.columns} for place in range(len(keys))]
            for asked in plan
        ]

    def training_set(self, rows: pa.Table, features: Sequence[str], *, time: str = EVENT_TIME) -> pa.Table:
        self._look()
        plan = self._plan(tuple(features))
        left = _with_time(rows, time)
        columns: dict[str, pa.ChunkedArray] = {}
        for asked in plan:
            view = asked.known.view
            if missing := [name for name in view.entities if name not in left.column_names]:
                raise PermanentError(f"rows: {view.name} needs the column {', '.join(missing)}")
            right = self._offline.rows(view, [feature for _, feature in asked.wanted])
            try:
                positions = as_of(left, right, list(view.entities), time, view.ttl)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise PermanentError(f"rows: the entities of {view.name} are of another kind there: {error}") from error
            for name, feature in asked.wanted:
                columns[name] = taken(right[feature], positions)
        for name in self._names(features):
            if name in rows.column_names:
                raise PermanentError(f"rows: there is a column {name!r} already")
            rows = rows.append_column(name, columns[name])
        return rows

    def register(self, views: Sequence[View]) -> None:
        known = self._look()
        new = [view for view in views if view.id not in known]
        if not new:
            return
        for view in new:
            self._offline.ensure(view)
        from feast import Entity, FeatureView, Field, FileSource, ValueType
        from feast.types import Bool, Float64, Int64, String

        kinds = {"text": String, "integer": Int64, "number": Float64, "boolean": Bool}
        types = {"text": ValueType.STRING, "integer": ValueType.INT64}
        with translated():
            entities = {
                name: Entity(name=name, join_keys=[name], value_type=types[kind])
                for view in new
                for name, kind in view.entities.items()
            }
            tables = [
                FeatureView(
                    name=view.id,
                    entities=[entities[name] for name in view.entities],
                    ttl=view.ttl,
                    schema=[
                        *(
                            Field(name=name, dtype=kinds[kind])
                            for name, kind in (*view.entities.items(), *view.features.items())
                        ),
                        Field(name=EVENT_US, dtype=Int64),
                    ],
                    source=FileSource(
                        name=view.id,
                        path=str(self._offline.path(view)),
                        timestamp_field=EVENT_TIME,
                        created_timestamp_column=CREATED,
                    ),
                    tags={_VIEW: view.model_dump_json(), _CURRENT: "no"},
                    owner=view.owner,
                    description=view.description,
                )
                for view in new
            ]
            self._place.settle()
            self._feast.apply([*entities.values(), *tables])
        self._look()

    def published(self, view: View) -> bool:
        return (known := self._look().get(view.id)) is not None and known.current

    def publish(self, view: View) -> None:
        for known in self._look().values():
            if known.view.name == view.name and known.current != (known.view.id == view.id):
                known.feast.tags = {**known.feast.tags, _CURRENT: "yes" if known.view.id == view.id else "no"}
                with translated():
                    self._feast.registry.apply_feature_view(known.feast, self._feast.project)
        self._look()

    def materialize(self, view: View, until: datetime, now: datetime) -> Materialized:
        refuse_ahead(until, now)
        known = self._known(view.id)
        before = self._progress.of(view)
        if before.until is not None and before.until > now + SKEW:
            before = Mark()  # of which nothing can be trusted: which keys have a row online that has not begun is not known
        batches = [each for each in self._offline.batches(view) if each.start is not None]
        until = max(until, before.until or until)
        fresh = [each.start for each in batches if each.start and (before.seen is None or each.at > before.seen)]
        since = min([*fresh, *([before.until] if before.until else [])], default=None)
        rows = schema_of(view).empty_table()
        if since is not None:
            keys = [each.key for each in batches if each.start and each.end and each.end >= since and each.start <= until]
            rows = self._latest(view, keys, since, until)
        self._ensure_online(known)
        for start in range(0, rows.num_rows, _WRITE_ROWS):
            self._write(known, rows.slice(start, _WRITE_ROWS))
        seen = max((each.at for each in batches), default=before.seen)
        self._progress.advance(view, until, seen)
        return Materialized(view=view.name, version=view.version, keys=rows.num_rows, since=since, until=until)

    def close(self) -> None:
        """Feast itself has no way to: its connections would be open until they are collected."""
        for name in ("write_engine", "read_engine"):
            if (engine := getattr(self._feast.registry, name, None)) is not None:
                engine.dispose()
        online = self._feast.provider.online_store
        for name in ("_conn", "_client"):
            if (connection := getattr(online, name, None)) is not None:
                connection.close()
                setattr(online, name, None)

    def _latest(self, view: View, keys: Sequence[str], since: datetime, until: datetime) -> pa.Table:
        """Piece by piece, so that a long history need not fit into memory."""
        import pyarrow.compute as pc

        first, last = pa.scalar(since, TIME), pa.scalar(until, TIME)
        found, pending = schema_of(view).empty_table(), []
        for part in self._offline.parts(view, set(keys)):
            moments = part[EVENT_TIME]
            pending.append(part.filter(pc.and_(pc.greater_equal(moments, first), pc.less_equal(moments, last))))
            if sum(each.num_rows for each in pending) > _READ_ROWS:
                found, pending = latest(pa.concat_tables([found, pa.Table.from_batches(pending)]), list(view.entities)), []
        return latest(pa.concat_tables([found, pa.Table.from_batches(pending, schema_of(view))]), list(view.entities))

    def _ensure_online(self, known: _Known) -> None:
        """The view may have been registered by who shares the registry and not the online store, which lacks its table then."""
        if not self._place.online:
            with translated():
                self._place.settle()
                self._feast.provider.update_infra(self._feast.project, [], [known.feast], [], [], partial=True)

    def _write(self, known: _Known, rows: pa.Table) -> None:
        """Past Feast's own way from Arrow, which rounds integers where others are missing and leaves out rows of nulls."""
        view = known.view
        # Without the zone: it is UTC, and the stores take what they are given for that.
        times = [[each.replace(tzinfo=None) for each in rows[name].to_pylist()] for name in (EVENT_TIME, CREATED)]
        columns = {name: _wired(rows[name].to_pylist(), kind) for name, kind in view.features.items()}
        columns[EVENT_US] = _wired(rows[EVENT_US].to_pylist(), "integer")
        keys = [_entity_key(view, key) for key in rows.select(list(view.entities)).to_pylist()]
        values = [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]
        with translated():
            data = list(zip(keys, values, *times, strict=True))
            self._feast.provider.online_write_batch(self._feast.config, known.feast, data, None)

    def _state(self, known: _Known) -> ViewState:
        batches = self._offline.batches(known.view)
        return ViewState(
            view=known.view,
            current=known.current,
            rows=sum(each.rows for each in batches),
            newest=max((each.newest for each in batches if each.newest), default=None),
            computed_at=max((each.at for each in batches), default=None),
            materialized_until=self._progress.of(known.view).until,
        )

    def _look_now_and_then(self) -> None:
        """A lookup does without the registry when that is away, as long as it knows something."""
        if wall.monotonic() - self._looked <= _REMEMBER_S:
            return
        try:
            self._look()
        except TemporaryError:
            if not self._views:
                raise
            self._looked = wall.monotonic()

    def _look(self) -> dict[str, _Known]:
        """At the registry; views that others put there are none of ours."""
        with translated():
            self._feast.registry.refresh(self._feast.project)
            found = self._feast.registry.list_feature_views(self._feast.project, allow_cache=True)
        ours = [each for each in found if _VIEW in each.tags]
        known = [_Known(View.model_validate_json(each.tags[_VIEW]), each.tags.get(_CURRENT) == "yes", each) for each in ours]
        self._views = {each.view.id: each for each in known}
        self._plans.clear()
        self._orders.clear()
        self._looked = wall.monotonic()
        return self._views

    def _known(self, name: str) -> _Known:
        if name not in self._views and name not in self._look():
            raise PermanentError(f"there is no feature view {name}")
        return self._views[name]

    def _plan(self, features: tuple[str, ...]) -> tuple[_Asked, ...]:
        if features not in self._plans:
            wanted: dict[str, list[tuple[str, str]]] = {}
            for text in features:
                for name, known, feature in self._resolved(text):
                    wanted.setdefault(known.view.id, []).append((name, feature))
            if not wanted:
                raise Unanswerable("features", "name at least one")
            self._plans[features] = tuple(_Asked(self._views[each], tuple(names)) for each, names in wanted.items())
        return self._plans[features]

    def _names(self, features: Sequence[str]) -> list[str]:
        """In the order of the answer."""
        if (asked := tuple(features)) not in self._orders:
            self._orders[asked] = list(dict.fromkeys(name for text in asked for name, _, _ in self._resolved(text)))
        return self._orders[asked]

    def _resolved(self, text: str) -> list[tuple[str, _Known, str]]:
        """Asked name, version and feature."""
        reference = Reference.parse(text)
        candidates = [each for each in self._views.values() if each.view.name == reference.view]
        if reference.version is None:
            found = next((each for each in candidates if each.current), None)
        else:
            found = next((each for each in candidates if each.view.version == reference.version), None)
        if found is None:
            what = "it has not been materialized yet" if candidates and reference.version is None else "there is none"
            raise Unanswerable("features", f"{text}: {what}; `oppen features list` shows what there is")
        if reference.feature is None:
            return [(f"{text}:{feature}", found, feature) for feature in found.view.features]
        if reference.feature not in found.view.features:
            raise Unanswerable("features", f"{text}: {found.view.name} has {', '.join(found.view.features)}")
        return [(text, found, reference.feature)]


def _impatient(feast: Any) -> None:
    """Redis' client would try again for ten seconds, which who looks something up has not; and one connection may be stale."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = feast.provider.online_store._get_client(feast.config.online_store)
    client.set_retry(Retry(NoBackoff(), 1))


def _unmistakable(feast: Any) -> None:
    """Feast remembers lists by a registry's version and its place in memory, which another one gets when it is gone; and what
    comes from SQL has no version. So a look would find what was there before, or in another registry."""
    read = feast.registry.proto

    def proto() -> Any:
        found = read()
        found.version_id = uuid.uuid4().hex
        return found

    feast.registry.proto = proto


def _entity_key(view: View, key: Key) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value as Wire

    values = []
    for name, kind in view.entities.items():
        value = key.get(name)
        if isinstance(value, bool) or not isinstance(value, str if kind == "text" else int):
            raise Unanswerable("entities", f"{view.name} needs {name}, as {'a text' if kind == 'text' else 'an integer'}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Unanswerable("entities", f"{name} is no integer of 64 bits")
        values.append(Wire(string_val=value) if isinstance(value, str) else Wire(int64_val=value))
    return EntityKey(join_keys=list(view.entities), entity_values=values)


def _wired(values: Sequence[Value], kind: Kind) -> list[Any]:
    from feast.protos.feast.types.Value_pb2 import Value as Wire

    field = _FIELDS[kind]
    wire: Any = Wire
    return [wire() if value is None else wire(**{field: value}) for value in values]


def _moment(number: Value) -> datetime | None:
    return None if number is None else _EPOCH + timedelta(microseconds=int(number))


def _plain(value: Any) -> Value:
    if value is None or (kind := value.WhichOneof("val")) is None:
        return None
    plain: Value = getattr(value, kind)
    return plain


def _with_time(rows: pa.Table, time: str) -> pa.Table:
    if time not in rows.column_names:
        raise PermanentError(f"rows: there is no column {time!r}, which is to say as of when")
    column = rows[time]
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise PermanentError(f"rows: {time!r} has to be a time with a zone, not {column.type}")
    return rows.set_column(rows.column_names.index(time), time, column.cast(TIME, safe=False))
