"""The labelled rows that a candidate is held to: those of the source that policy names, and recent traffic from the platform.

Bounded: of a large table the latest rows of the window are kept.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.evaluating import Part
from pipelines.faults import LostArrivals
from pipelines.labelled import moments
from tools.errors import PermanentError
from tools.predictions.port import LABEL
from tools.registry.serving_spec import NumericFeature, ServingSpec
from tools.tables.opening import open_table
from tools.values import LeftOut, Window

FLIGHTS = "flights"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Source:
    name: str
    """`flights`, or a table as `tools.tables.opening` takes it, with `${VARIABLE}` for what is secret."""
    label: str
    time: str
    most_rows: int
    groups: tuple[str, ...] = ()
    least_group: int = 200
    """Rows that a group needs to be held beside others."""


@dataclass
class Rows:
    """As files of Parquet, each with its labels in the column LABEL."""

    parts: dict[Part, Path] = field(default_factory=dict)
    windows: dict[Part, Window] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    """Where they come from, for people."""

    def add(self, part: Part, table: pa.Table, window: Window | None, told: str, folder: Path) -> None:
        if table.num_rows:
            self.parts[part] = folder / f"{part}.parquet"
            pq.write_table(table, self.parts[part])
            self.told.append(told)
            if window is not None:
                self.windows[part] = window


def hold_out(
    rows: Rows,
    source: Source,
    spec: ServingSpec,
    window: Window | None,
    left_out: Sequence[LeftOut],
    folder: Path,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """`spec`: the champion's. Raises PermanentError, which names the column or variable; TemporaryError where the source is
    away."""
    if source.name == FLIGHTS:
        if window is None:
            raise PermanentError("held_out: of the flights a window has to be named")
        rows.add("held_out", _flights(window, left_out, environment), window, f"flights from New York, {_days(window)}", folder)
        return
    features = [feature.name for feature in spec.features]
    table = _of_table(source, features, window, left_out, environment)
    name = source.name.rpartition("@")[2] if "://" in source.name else Path(source.name).name
    known = window if source.time else None
    rows.add("held_out", table, known, f"{name}, {table.num_rows:,} rows", folder)


def collect(
    source: Source,
    spec: ServingSpec,
    folder: Path,
    *,
    held_out: Window | None,
    recent: Window | None,
    traffic: str,
    left_out: Sequence[LeftOut],
) -> Rows:
    """Of the source and of the traffic, as far as they are there. Raises PermanentError when there is nothing, or as `hold_out`
    does."""
    rows = Rows()
    if source.name:
        hold_out(rows, source, spec, held_out, left_out, folder)
    if traffic and recent is not None:
        add_traffic(rows, traffic, spec, recent, folder)
    if not rows.parts:
        where = source.name or "no source"
        raise PermanentError(f"there are no labelled rows to hold the two to ({where}, {held_out or 'no window'})")
    return rows


def add_traffic(rows: Rows, encoded: str, spec: ServingSpec, window: Window, folder: Path) -> None:
    """`encoded`: a sample of the prediction store, Parquet in base64. What no request had is null; labels that are no class of
    the model are left out, and counted."""
    file = folder / "traffic"
    try:
        file.write_bytes(base64.b64decode(encoded, validate=True))
        table = pq.read_table(file)
    except (binascii.Error, pa.ArrowException, OSError) as error:
        raise PermanentError(f"the traffic among the job's files cannot be read: {error}") from error
    for feature in spec.features:
        if feature.name not in table.column_names:
            kind = pa.float64() if isinstance(feature, NumericFeature) else pa.string()
            table = table.append_column(feature.name, pa.nulls(table.num_rows, kind))
    told = f"{table.num_rows:,} labelled predictions, {_days(window)}"
    if spec.classes:
        known = pc.is_in(table[LABEL], value_set=pa.array(spec.classes, pa.string()))
        odd = table.num_rows - pc.sum(known).as_py() if table.num_rows else 0
        if odd:
            table, told = table.filter(known), f"{told}, {odd:,} with a label that is no class left out"
    rows.add("recent", table, window, told, folder)


def _flights(window: Window, left_out: Sequence[LeftOut], environment: Mapping[str, str]) -> pa.Table:
    from pipelines.flights import load
    from pipelines.joined import joined
    from pipelines.reference_rows import labelled, without
    from pipelines.retraining import features_of, place_of

    shift = timedelta(weeks=int(environment.get("OPPEN_FLIGHTS_SHIFT_WEEKS", "0")))
    flights = without(load(), left_out, shift)
    if fault := environment.get("OPPEN_DRILL_FAULT", ""):
        # Whoever prepares the data has spoilt it for everybody.
        flights = LostArrivals.parse(fault).spoil(flights)
    of_2013 = window.shifted(-shift)
    known = flights.arrived_by(of_2013.end).departing(of_2013)
    if (features := features_of(environment)) and (place := place_of(environment)) is not None:
        known = joined(known, features, place, shift).flights
    chosen = labelled(known)
    return chosen.table.append_column(LABEL, pa.array(chosen.labels))


def _of_table(
    source: Source, features: Sequence[str], window: Window | None, left_out: Sequence[LeftOut], environment: Mapping[str, str]
) -> pa.Table:
    wanted = list(dict.fromkeys([*features, source.label, *([source.time] if source.time else []), *source.groups]))
    table = open_table(_filled(source.name, environment))
    if missing := [name for name in wanted if name not in table.schema.names]:
        raise PermanentError(f"{', '.join(missing)}: {source.name} has no such column (it has {table.schema.names[:20]})")
    kept: list[pa.Table] = []
    for batch in table.batches():
        part = _within(pa.Table.from_batches([batch]).select(wanted), source, window, left_out)
        kept.append(part.filter(pc.is_valid(part[source.label])))
        if sum(each.num_rows for each in kept) > 2 * source.most_rows:
            kept = [_latest(pa.concat_tables(_plain(kept)), source)]
            if not source.time:
                break
    found = _latest(pa.concat_tables(_plain(kept)), source) if kept else pa.table({name: pa.nulls(0) for name in wanted})
    labels = found[source.label]
    return found.drop_columns([source.label] if source.label not in features else []).append_column(LABEL, labels)


def _within(table: pa.Table, source: Source, window: Window | None, left_out: Sequence[LeftOut]) -> pa.Table:
    if not source.time or not table.num_rows:
        return table
    at = moments(table[source.time], source.time)
    chosen: NDArray[np.bool_] = np.ones(len(at), dtype=bool)
    if window is not None:
        chosen &= _between(at, window)
    for each in left_out:
        chosen &= ~_between(at, each.window)
    return table.filter(pa.array(chosen))


def _between(at: NDArray[np.datetime64], window: Window) -> NDArray[np.bool_]:
    start, end = (np.datetime64(each.astimezone(UTC).replace(tzinfo=None), "us") for each in (window.start, window.end))
    inside: NDArray[np.bool_] = (at >= start) & (at < end)
    return inside


def _latest(table: pa.Table, source: Source) -> pa.Table:
    if table.num_rows <= source.most_rows:
        return table
    if not source.time:
        return table.slice(0, source.most_rows)
    return table.sort_by([(source.time, "descending")]).slice(0, source.most_rows)


def _plain(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Without dictionaries, which differ from batch to batch."""
    return [table.cast(pa.schema([(each.name, _value_type(each.type)) for each in table.schema])) for table in tables]


def _value_type(of: pa.DataType) -> pa.DataType:
    return of.value_type if pa.types.is_dictionary(of) else of


def _filled(name: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise PermanentError(f"source: the variable {found[1]} is not set; name it in the evaluation's secrets")
        return environment[found[1]]

    return _VARIABLE.sub(value, name)


def _days(window: Window) -> str:
    return f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
