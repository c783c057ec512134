"""A question about one model in some windows: the tables it is about, and its bounds as bound values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.predictions.connection import translated
from tools.predictions.schema import labels_table, predictions_table, shadows_table, usage_table, values_table
from tools.values import Window

_EARLY = timedelta(days=1)
"""How far the clocks of those who predict and those who label may be apart: no label is older than its prediction by more."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement answers for all windows: planning a small statement costs more than running it."""

    client: Any
    model: str
    windows: tuple[Window, ...]
    """They may overlap."""
    version: str | None = None
    without: tuple[Window, ...] = ()
    """What is passed over."""

    def passing_over(self, windows: Iterable[Window]) -> "Query":
        """The same question without these, of which only those count that it would see."""
        seen = [each for each in windows if any(each.overlaps(window) for window in self.windows)]
        ordered = tuple(sorted({*self.without, *seen}, key=lambda each: (each.start, each.end)))
        return replace(self, without=ordered) if ordered != self.without else self

    def predictions(self, columns: Iterable[str]) -> str:
        """Predictions within the windows as a table with these columns and `w`, the window's place in `windows`; once for each
        window that a prediction is in."""
        if len(self.windows) == 1:
            place = "materialize(toUInt8(0))"
        else:
            tick, places = "toUnixTimestamp64Micro(at)", list(range(len(self.windows)))
            inside = f"(place, begin, finish) -> {tick} >= begin AND {tick} < finish"
            given = f"CAST({places}, 'Array(UInt8)'), {{starts:Array(Int64)}}, {{ends:Array(Int64)}}"
            place = f"arrayJoin(arrayFilter({inside}, {given}))"
        return f"(SELECT {', '.join(columns)}, {place} AS w FROM {predictions_table(self.model)} WHERE {self._within})"

    def usage(self, columns: Sequence[str]) -> str:
        """Tokens and costs of the calls within the windows, as a table with these columns; raises NoTable when it is read of a
        model that is no language model."""
        return f"(SELECT {', '.join(columns)} FROM {usage_table(self.model)} WHERE {self._within})"

    def within(self, table: str) -> str:
        """The rows of one of our tables within the windows."""
        return f"(SELECT * FROM {table} WHERE {self._within})"

    def labelled(self, columns: Sequence[str]) -> str:
        """Answered predictions with the newest label that has come for each, as a table with these columns, `w`, `label` and
        `labelled_at`."""
        return self._joined(columns, "INNER")

    def answered(self, columns: Sequence[str]) -> str:
        """The same with those whose label has not come: theirs is empty, and `labelled_at` is the epoch."""
        return self._joined(columns, "LEFT")

    def valued(self, columns: Sequence[str]) -> str:
        """Answered predictions with the newest value of `{metric:String}` that has come for each, as a table with these
        columns, `w` and `value`."""
        return f"""(
            SELECT {", ".join(f"p.{name} AS {name}" for name in (*columns, "w"))}, v.value AS value
            FROM (SELECT * FROM {self.predictions(("id", "error", *columns))} WHERE error IS NULL) AS p
            INNER JOIN (
                SELECT id, value FROM {values_table(self.model)} FINAL
                WHERE name = {{metric:String}} AND at >= fromUnixTimestamp64Micro({{labelled_from:Int64}}, 'UTC')
            ) AS v ON p.id = v.id
        )"""

    def beside_shadows(self) -> str:
        """FROM what `{served:String}` answered as `p` and `{shadow:String}` to the copies of it as `s`, with `label` and
        `labelled_at` as in `answered`."""
        columns = "id, at, latency_us, cpu_us, prediction, score, error"
        return f"""(
            SELECT {columns} FROM {predictions_table(self.model)} WHERE {self._within} AND version = {{served:String}}
        ) AS p INNER JOIN (
            SELECT {columns} FROM {shadows_table(self.model)} WHERE {self._within} AND version = {{shadow:String}}
        ) AS s ON p.id = s.id LEFT JOIN (
            SELECT id, label, at AS labelled_at FROM {labels_table(self.model)} FINAL
            WHERE at >= fromUnixTimestamp64Micro({{labelled_from:Int64}}, 'UTC')
        ) AS l ON p.id = l.id"""

    def _joined(self, columns: Sequence[str], how: str) -> str:
        return f"""(
            SELECT {", ".join(f"p.{name} AS {name}" for name in (*columns, "w"))},
                l.label AS label, l.labelled_at AS labelled_at
            FROM (SELECT * FROM {self.predictions(dict.fromkeys(("id", "error", *columns)))} WHERE error IS NULL) AS p
            {how} JOIN {self.labels} AS l ON p.id = l.id
        )"""

    @property
    def labels(self) -> str:
        """The newest label of each prediction as a table: `id`, `label`, `labelled_at`."""
        return f"""(
            SELECT id, label, at AS labelled_at FROM {labels_table(self.model)} FINAL
            WHERE at >= fromUnixTimestamp64Micro({{labelled_from:Int64}}, 'UTC')
        )"""

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        with translated():
            rows: Sequence[Any] = self.client.query(statement, parameters=self._bound(parameters)).result_rows
        return rows

    def arrow(self, statement: str) -> Any:
        """The rows as an Arrow table."""
        with translated():
            return self.client.query_arrow(statement, parameters=self._bound(None), use_strings=True)

    def _bound(self, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
        starts, ends = [micros(window.start) for window in self.windows], [micros(window.end) for window in self.windows]
        bounds: dict[str, Any] = {"starts": starts, "ends": ends}
        bounds |= {f"start{place}": start for place, start in enumerate(starts)}
        bounds |= {f"end{place}": end for place, end in enumerate(ends)}
        bounds |= {f"from{place}": micros(window.start) for place, window in enumerate(self.without)}
        bounds |= {f"until{place}": micros(window.end) for place, window in enumerate(self.without)}
        bounds["labelled_from"] = min(starts) - _EARLY // timedelta(microseconds=1)
        if self.version is not None:
            bounds["version"] = self.version
        return {**bounds, **(parameters or {})}

    @property
    def _within(self) -> str:
        """In words by which the table's own order is used."""
        bounds = f"({_inside('start', 'end', len(self.windows))})"
        if self.without:
            bounds += f" AND NOT ({_inside('from', 'until', len(self.without))})"
        return bounds if self.version is None else f"{bounds} AND version = {{version:String}}"


def _inside(start: str, end: str, number: int) -> str:
    moment = "fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"
    return " OR ".join(
        f"(at >= {moment.format(name=f'{start}{place}')} AND at < {moment.format(name=f'{end}{place}')})"
        for place in range(number)
    )


def micros(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
