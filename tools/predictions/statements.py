"""A question about one model in one window: the tables it is about, and its bounds as bound values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.predictions.connection import translated
from tools.predictions.schema import labels_table, predictions_table
from tools.values import Window

_EARLY = timedelta(days=1)
"""How far the clocks of those who predict and those who label may be apart: no label is older than its prediction by more."""


@dataclass(frozen=True, slots=True)
class Query:
    client: Any
    model: str
    window: Window
    version: str | None = None

    @property
    def predictions(self) -> str:
        return predictions_table(self.model)

    @property
    def within(self) -> str:
        """Condition on `predictions`."""
        bounds = "at >= fromUnixTimestamp64Micro({start:Int64}, 'UTC') AND at < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
        return bounds if self.version is None else f"{bounds} AND version = {{version:String}}"

    def labelled(self, columns: Sequence[str]) -> str:
        """Answered predictions with the newest label that has come for each, as a table with these columns, `label` and
        `labelled_at`."""
        return f"""(
            SELECT {", ".join(f"p.{name} AS {name}" for name in columns)}, l.label AS label, l.labelled_at AS labelled_at
            FROM (SELECT id, {", ".join(columns)} FROM {self.predictions} WHERE {self.within} AND error IS NULL) AS p
            INNER JOIN (
                SELECT id, label, at AS labelled_at FROM {labels_table(self.model)} FINAL
                WHERE at >= fromUnixTimestamp64Micro({{labelled_from:Int64}}, 'UTC')
            ) AS l ON p.id = l.id
        )"""

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        bounds: dict[str, Any] = {"start": micros(self.window.start), "end": micros(self.window.end)}
        bounds["labelled_from"] = bounds["start"] - _EARLY // timedelta(microseconds=1)
        if self.version is not None:
            bounds["version"] = self.version
        with translated():
            rows: Sequence[Any] = self.client.query(statement, parameters={**bounds, **(parameters or {})}).result_rows
        return rows


def micros(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
