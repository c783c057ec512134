"""Labelled rows from a Parquet file, for an evaluation of any model."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.evaluating import Labelled, Part
from tools.errors import PermanentError
from tools.registry.serving_spec import ServingSpec
from tools.values import Window

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHOWN = 5


@dataclass(frozen=True)
class Sample:
    """Rows that neither of the two has learnt from, by part, and from when they are, where that is known."""

    parts: dict[Part, Labelled]
    windows: dict[Part, Window]
    source: str
    """Where they come from, for people."""


def read(
    path: Path,
    spec: ServingSpec,
    *,
    label: str,
    time: str | None = None,
    recent: timedelta | None = None,
    more: tuple[str, ...] = (),
) -> Sample:
    """`label`: the column of what came true; rows without it are left out. `recent`: so much of the end, by the column `time`,
    is a part of its own. `more`: columns beside the features. Raises PermanentError, which names the column."""
    if recent is not None and time is None:
        raise PermanentError("--recent: it is the end of the data by a column of times, so --time has to name it")
    features = [feature.name for feature in spec.features]
    wanted = list(dict.fromkeys([*features, label, *([time] if time else []), *more]))
    table = _table(path, wanted)
    unlabelled = table[label].null_count
    table = table.filter(pc.is_valid(table[label]))
    if not table.num_rows:
        raise PermanentError(f"{label}: no row of {path.name} has a label")
    found = labels(table[label], label, spec)
    source = f"{path.name}, {table.num_rows:,} rows" + (f", {unlabelled:,} without a label left out" if unlabelled else "")
    if time is None:
        return Sample({"held_out": Labelled(table, found)}, {}, source)
    at = moments(table[time], time)
    if recent is None:
        return Sample({"held_out": Labelled(table, found)}, {"held_out": _window(at)}, source)
    late: NDArray[np.bool_] = at >= at.max() - np.timedelta64(recent)
    parts: dict[Part, Labelled] = {}
    windows: dict[Part, Window] = {}
    for part, chosen in (("held_out", ~late), ("recent", late)):
        if chosen.any():
            parts[part] = Labelled(table.filter(pa.array(chosen)), found[chosen])  # type: ignore[index]
            windows[part] = _window(at[chosen])  # type: ignore[index]
    return Sample(parts, windows, source)


def duration(text: str) -> timedelta:
    """`90m`, `36h`, `7d`, `2w`; raises ValueError."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if found is None or not int(found[1]):
        raise ValueError(f"{text!r} is no length of time: write 90m, 36h, 7d or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _table(path: Path, wanted: list[str]) -> pa.Table:
    try:
        known = pq.read_schema(path).names
        if missing := [name for name in wanted if name not in known]:
            raise PermanentError(f"{', '.join(missing)}: {path.name} has no such column (it has {', '.join(known[:20])})")
        return pq.read_table(path, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise PermanentError(f"{path}: it cannot be read as Parquet: {error}") from error


def labels(column: pa.ChunkedArray, name: str, spec: ServingSpec) -> NDArray[Any]:
    """Classes as text, or numbers. Raises PermanentError, which names the column."""
    try:
        if spec.task == "regression":
            values: NDArray[Any] = column.cast(pa.float64()).to_numpy()
            return values
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        texts = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PermanentError(f"{name}: {column.type} holds no labels of a {spec.task} model") from error
    if odd := [each for each in texts.unique().to_pylist() if each not in spec.classes]:
        shown = ", ".join(map(repr, odd[:_SHOWN]))
        raise PermanentError(f"{name}: {shown} is no class of the model, which are {', '.join(map(repr, spec.classes))}")
    return np.array(texts.to_pylist())


def moments(column: pa.ChunkedArray, name: str) -> NDArray[Any]:
    """Microseconds, UTC; a time without a zone is taken as UTC."""
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        raise PermanentError(f"{name}: {column.type} is no column of times")
    if column.null_count:
        raise PermanentError(f"{name}: {column.null_count} rows have no time")
    zone = column.type.tz if pa.types.is_timestamp(column.type) else None
    found: NDArray[Any] = column.cast(pa.timestamp("us", zone)).to_numpy().astype("datetime64[us]")
    return found


def _window(moments: NDArray[Any]) -> Window:
    first, last = (moment.astype(datetime).replace(tzinfo=UTC) for moment in (moments.min(), moments.max()))
    return Window(start=first, end=last + timedelta(microseconds=1))
