"""ClickHouse SQL, synchronously: the embedded engine or a server, through one client and in the same words.

Lives where blocking is harmless: in a child process (embedded: one process at a time may open a store) or in threads (server).
Every answer is an aggregate; rows stay in the store.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools.errors import PermanentError, TemporaryError
from tools.predictions import loading
from tools.predictions.port import FeatureProfile, Slice, VersionWindow, Volume
from tools.predictions.schema import (
    CATALOGUE,
    COLUMNS,
    FeatureKind,
    column,
    labels_table,
    predictions_table,
)
from tools.values import Window

_BINS = 20
_CATEGORIES = 20
_SLICES = 20
_IN_WINDOW = "at >= {start:DateTime64(6, 'UTC')} AND at < {end:DateTime64(6, 'UTC')}"


class Engine:
    """`url`: `chdb:///absolute/folder`, or `clickhouse://user:password@host:port/database` (also `http://`, `https://`)."""

    def __init__(self, url: str) -> None:
        with _translated():
            self._client = _connect(url)
            self._client.command(CATALOGUE)
            self._client.command(COLUMNS)

    def close(self) -> None:
        self._client.close()

    def ping(self) -> None:
        with _translated():
            self._client.query("SELECT 1")

    def models(self) -> tuple[str, ...]:
        return tuple(model for (model,) in self._rows("SELECT DISTINCT model FROM oppen_models ORDER BY model"))

    def load(self, segment: Path) -> int:
        with _translated():
            return loading.load(self._client, segment)

    def versions(self, model: str, window: Window) -> tuple[VersionWindow, ...]:
        """Latency quantiles are t-digests: within a percent or so, whatever the size."""
        if not self._known(model):
            return ()
        query = f"""
        SELECT version, count(), countIf(error IS NOT NULL),
            quantilesTDigest(0.5, 0.95, 0.99)(latency_us / 1000),
            sumMap(if(prediction IS NULL, map(), map(assumeNotNull(prediction), toUInt64(1)))),
            avg(score),
            countIf(labelled), countIf(labelled AND label = prediction), countIf(prediction IS NOT NULL),
            avgIf(abs(score - toFloat64OrNull(label)), labelled AND prediction IS NULL),
            maxIf(labelled_at, labelled), sumMap(if(labelled, map(label, toUInt64(1)), map()))
        FROM ({_labelled(model)}) GROUP BY version ORDER BY version
        """
        return tuple(_version(model, window, row) for row in self._rows(query, _bounds(window)))

    def volume(self, model: str, window: Window, step: timedelta) -> tuple[Volume, ...]:
        microseconds = max(1, step // timedelta(microseconds=1))
        found: dict[int, tuple[int, int]] = {}
        if self._known(model):
            query = f"""
            SELECT intDiv(toUnixTimestamp64Micro(at) - {{origin:Int64}}, {{step:Int64}}) AS slot, count(),
                countIf(error IS NOT NULL)
            FROM {predictions_table(model)} WHERE {_IN_WINDOW} GROUP BY slot
            """
            origin = _micros(window.start)
            for slot, count, errors in self._rows(query, {**_bounds(window), "origin": origin, "step": microseconds}):
                found[slot] = (count, errors)
        slots = -(-(window.length // timedelta(microseconds=1)) // microseconds)
        return tuple(
            Volume(start=window.start + slot * step, count=found.get(slot, (0, 0))[0], errors=found.get(slot, (0, 0))[1])
            for slot in range(slots)
        )

    def feature_profiles(
        self, model: str, window: Window, version: str | None, like: Sequence[FeatureProfile]
    ) -> tuple[FeatureProfile, ...]:
        """NaN and infinities count as null."""
        kinds = self._features(model)
        if not kinds:
            return ()
        shapes = {profile.name: profile for profile in like if kinds.get(profile.name) == profile.kind}
        shapes |= self._shapes(model, window, version, {name: kind for name, kind in kinds.items() if name not in shapes})
        names = [name for name in kinds if name in shapes]
        parts, parameters = ["count()"], _bounds(window, version)
        for index, name in enumerate(names):
            parts += _counting(name, kinds[name], index)
            shape = shapes[name]
            parameters[f"shape{index}"] = list(shape.edges if kinds[name] == "numeric" else shape.categories)
        query = f"SELECT {', '.join(parts)} FROM {predictions_table(model)} WHERE {_where(version)}"
        (total, *values), *_ = self._rows(query, parameters)
        return tuple(_profile(shapes[name], total, values[5 * index : 5 * index + 5]) for index, name in enumerate(names))

    def slices(self, model: str, version: str, window: Window) -> tuple[Slice, ...]:
        names = [name for name, kind in self._features(model).items() if kind == "categorical"]
        if not names:
            return ()
        pairs = ", ".join(f"({{name{index}:String}}, {column(name)})" for index, name in enumerate(names))
        query = f"""
        SELECT pair.1 AS feature, assumeNotNull(pair.2) AS value, count(), countIf(label = prediction)
        FROM ({_labelled(model, features=names, version=True)}) ARRAY JOIN [{pairs}] AS pair
        WHERE labelled AND prediction IS NOT NULL AND pair.2 IS NOT NULL
        GROUP BY feature, value ORDER BY feature, count() DESC, value LIMIT {_SLICES} BY feature
        """
        parameters = {**_bounds(window, version), **{f"name{index}": name for index, name in enumerate(names)}}
        return tuple(
            Slice(feature=feature, value=value, labelled=labelled, correct=correct)
            for feature, value, labelled, correct in self._rows(query, parameters)
        )

    def _shapes(
        self, model: str, window: Window, version: str | None, kinds: dict[str, FeatureKind]
    ) -> dict[str, FeatureProfile]:
        """Bins and categories that fit this window: edges at its quantiles, its most frequent values."""
        if not kinds:
            return {}
        levels = ", ".join(f"{step / _BINS}" for step in range(1, _BINS))
        parts = [
            f"quantilesTDigestIf({levels})({column(name)}, isFinite({column(name)}))"
            if kind == "numeric"
            else f"topKIf({_CATEGORIES})(assumeNotNull({column(name)}), {column(name)} IS NOT NULL)"
            for name, kind in kinds.items()
        ]
        query = f"SELECT {', '.join(parts)} FROM {predictions_table(model)} WHERE {_where(version)}"
        (row,) = self._rows(query, _bounds(window, version))
        shapes: dict[str, FeatureProfile] = {}
        for (name, kind), found in zip(kinds.items(), row, strict=True):
            if kind == "numeric":
                edges = tuple(sorted({float(edge) for edge in found if not math.isnan(edge)}))
                shapes[name] = FeatureProfile(name=name, kind=kind, count=0, nulls=0, edges=edges)
            else:
                shapes[name] = FeatureProfile(name=name, kind=kind, count=0, nulls=0, categories=tuple(found))
        return shapes

    def _known(self, model: str) -> bool:
        return bool(self._rows("SELECT 1 FROM oppen_models WHERE model = {model:String} LIMIT 1", {"model": model}))

    def _features(self, model: str) -> dict[str, FeatureKind]:
        query = "SELECT feature, kind FROM oppen_features FINAL WHERE model = {model:String} ORDER BY position, feature"
        return dict(self._rows(query, {"model": model}))

    def _rows(self, query: str, parameters: dict[str, Any] | None = None) -> Sequence[Any]:
        with _translated():
            rows: Sequence[Any] = self._client.query(query, parameters=parameters).result_rows
        return rows


def _connect(url: str) -> Any:
    import clickhouse_connect

    if url.startswith("chdb://"):
        folder = Path(url.removeprefix("chdb://"))
        folder.mkdir(parents=True, exist_ok=True)
        return clickhouse_connect.get_client(interface="chdb", path=str(folder))
    parts = urlsplit(url)
    secure = parts.scheme in ("https", "clickhouses")
    return clickhouse_connect.get_client(
        interface="https" if secure else "http",
        host=parts.hostname or "localhost",
        port=parts.port or (8443 if secure else 8123),
        username=parts.username or "default",
        password=parts.password or "",
        database=parts.path.strip("/") or "default",
        # Queries of several threads at once: a session would let in one at a time.
        autogenerate_session_id=False,
    )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError

    try:
        yield
    except OperationalError as error:
        raise TemporaryError(f"the prediction store is not available: {_first_line(error)}") from error
    except DatabaseError as error:
        raise PermanentError(f"the prediction store refused: {_first_line(error)}") from error
    except (Error, OSError) as error:
        raise TemporaryError(f"the prediction store is not available: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def _labelled(model: str, features: Sequence[str] = (), *, version: bool = False) -> str:
    """Predictions of the window with the newest label that has come for each; a label never comes before its prediction."""
    more = "".join(f", {column(name)}" for name in features)
    which = " AND version = {version:String}" if version else ""
    return f"""
    SELECT p.version AS version, p.error AS error, p.latency_us AS latency_us, p.prediction AS prediction, p.score AS score,
        l.label AS label, l.labelled_at AS labelled_at, l.id != '' AS labelled{more}
    FROM (SELECT * FROM {predictions_table(model)} WHERE {_IN_WINDOW}{which}) AS p
    LEFT JOIN (
        SELECT id, argMax(label, at) AS label, max(at) AS labelled_at FROM {labels_table(model)}
        WHERE at >= {{start:DateTime64(6, 'UTC')}} GROUP BY id
    ) AS l ON p.id = l.id
    """


def _where(version: str | None) -> str:
    return _IN_WINDOW + ("" if version is None else " AND version = {version:String}")


def _bounds(window: Window, version: str | None = None) -> dict[str, Any]:
    bounds: dict[str, Any] = {"start": window.start.astimezone(UTC), "end": window.end.astimezone(UTC)}
    return bounds if version is None else {**bounds, "version": version}


def _counting(name: str, kind: FeatureKind, index: int) -> tuple[str, str, str, str, str]:
    """Nulls, mean, minimum, maximum, and how many fell into each bin or category."""
    x = column(name)
    if kind == "categorical":
        place = f"indexOf({{shape{index}:Array(String)}}, assumeNotNull({x}))"
        there = f"{x} IS NOT NULL"
        return f"countIf({x} IS NULL)", "NULL", "NULL", "NULL", f"sumMapIf([{place}], [toUInt64(1)], {there})"
    place = f"arrayCount(edge -> assumeNotNull({x}) >= edge, {{shape{index}:Array(Float64)}})"
    there = f"ifNull(isFinite({x}), 0)"
    return (
        f"countIf(NOT {there})",
        f"avgIf({x}, {there})",
        f"minIf({x}, {there})",
        f"maxIf({x}, {there})",
        f"sumMapIf([{place}], [toUInt64(1)], {there})",
    )


def _profile(shape: FeatureProfile, total: int, values: Sequence[Any]) -> FeatureProfile:
    nulls, mean, minimum, maximum, (places, counts) = values
    found = dict(zip(places, counts, strict=True))
    # For categories, position 0 is "not among them"; it goes last.
    numeric, size = shape.kind == "numeric", len(shape.categories)
    slots = list(range(len(shape.edges) + 1)) if numeric else [*range(1, size + 1), 0]
    some = total > nulls
    return shape.model_copy(
        update={
            "count": total,
            "nulls": nulls,
            "mean": mean if some else None,
            "minimum": minimum if some else None,
            "maximum": maximum if some else None,
            "counts": tuple(int(found.get(slot, 0)) for slot in slots),
        }
    )


def _version(model: str, window: Window, row: Sequence[Any]) -> VersionWindow:
    version, count, errors, latencies, outputs, score, labelled, correct, classified, error, newest, labels = row
    return VersionWindow(
        model=model,
        version=version,
        window=window,
        count=count,
        errors=errors,
        latency_p50_ms=latencies[0],
        latency_p95_ms=latencies[1],
        latency_p99_ms=latencies[2],
        outputs=dict(outputs),
        mean_score=score,
        labelled=labelled,
        correct=correct if classified else None,
        labels=dict(labels),
        mean_absolute_error=error if error is not None and not math.isnan(error) else None,
        last_label_at=_aware(newest) if labelled else None,
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
