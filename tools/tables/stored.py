"""Distributions as JSON, to lie beside a model: what it was trained on is counted once and kept with its version."""

import json
from datetime import datetime
from typing import Any

from tools.errors import PermanentError
from tools.tables.port import ColumnProfile, Distributions, Grid
from tools.values import Window

FILE = "reference.json"
_FORMAT = 1


def written(distributions: Distributions) -> str:
    """JSON text; numbers are as exact as they are in memory."""
    columns = {name: getattr(distributions, name) for name in _SINGLE}
    return json.dumps(
        {
            "format": _FORMAT,
            "start": distributions.window.start.isoformat(),
            "end": distributions.window.end.isoformat(),
            "rows": distributions.rows,
            "version": distributions.version,
            "features": [_column(each) for each in distributions.features],
            **{name: _column(column) for name, column in columns.items() if column is not None},
        },
        allow_nan=False,
        separators=(",", ":"),
    )


def read(text: str | bytes) -> Distributions:
    """Raises PermanentError where the text is not what `written` makes."""
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise PermanentError(f"{FILE} has the format {content['format']!r}; this version reads {_FORMAT}")
        return Distributions(
            window=Window(start=datetime.fromisoformat(content["start"]), end=datetime.fromisoformat(content["end"])),
            rows=int(content["rows"]),
            version=content["version"],
            features=tuple(_profile(each) for each in content["features"]),
            **{name: _profile(content[name]) for name in _SINGLE if name in content},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PermanentError(f"{FILE} cannot be read: {type(error).__name__} {str(error)[:200]}") from error


_SINGLE = ("prediction", "score", "label", "residual")
_PLAIN = ("name", "kind", "rows", "nulls", "not_finite", "others", "mean", "deviation", "minimum", "maximum")


def _column(profile: ColumnProfile) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(profile, name) for name in _PLAIN}
    if profile.grid is not None:
        found["grid"] = vars(profile.grid)
    if profile.buckets:
        found["buckets"] = profile.buckets
    # In pairs: as keys of an object, numbers and truth would become text.
    return {**found, "values": [[value, count] for value, count in profile.values.items()]}


def _profile(content: dict[str, Any]) -> ColumnProfile:
    grid = content.get("grid")
    return ColumnProfile(
        **{name: content[name] for name in _PLAIN},
        values={value: int(count) for value, count in content["values"]},
        buckets=tuple(map(int, content.get("buckets", ()))),
        grid=Grid(**{**grid, "counts": tuple(map(int, grid["counts"]))}) if grid is not None else None,
    )
