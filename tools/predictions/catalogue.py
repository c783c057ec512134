"""What the store knows about models: their tables, and which column holds which feature.

A feature's kind is the one of its first value. What was read is kept: of the embedded engine, which one process at a time may
open, for as long as it is open; of a server for a second, so that the queries of one investigation read it once.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.clickhouse.connection import NoTable
from tools.predictions.connection import Connection, translated
from tools.predictions.kinds import FeatureKind
from tools.predictions.schema import CATALOGUE, TYPES, apart, column, create, extend, labels_table, predictions_table

_FRESH_S = 1.0
_MOST_FEATURES = 1_000
"""Per model. A column is for ever, and names come from outside."""


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    kind: FeatureKind
    column: str


class Catalogue:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._shared = connection.shared
        self._seen: dict[str, tuple[float, tuple[Feature, ...] | None]] = {}
        self._created = False
        self._whole: set[str] = set()
        """Models whose table has all columns of this release."""
        self._apart: set[str] = set()
        self._admitting = threading.Lock()

    def models(self) -> tuple[str, ...]:
        try:
            rows = self._rows("SELECT DISTINCT model FROM oppen_model_tables ORDER BY model")
        except NoTable:
            return ()
        return tuple(model for (model,) in rows)

    def features(self, model: str) -> tuple[Feature, ...] | None:
        """In the order in which they came; None for a model of which nothing was ever loaded."""
        looked, features = self._seen.get(model, (float("-inf"), None))
        if features is None or (self._shared and time.monotonic() - looked > _FRESH_S):
            features = self._read(model)
            self._seen[model] = (time.monotonic(), features)
        return features

    def admit(self, model: str, kinds: Mapping[str, FeatureKind]) -> tuple[Feature, ...]:
        """See to it that the model has its tables, and these features their columns as far as there is room for them."""
        with self._admitting:
            known = self.features(model)
            if known is None or not kinds.keys() <= {feature.name for feature in known}:
                known = self._extended(model, kinds, self._read(model))
                self._seen[model] = (time.monotonic(), known)
            return known

    def admit_apart(self, model: str) -> None:
        """See to it that there is a place for what shadows answer and predictions were worth."""
        with self._admitting:
            if model in self._apart:
                return
            client = self._connection.client()
            with translated():
                for statement in apart(model):
                    client.command(statement)
            self._apart.add(model)

    def _extended(self, model: str, kinds: Mapping[str, FeatureKind], known: tuple[Feature, ...] | None) -> tuple[Feature, ...]:
        if known is None:
            self._create(model)
            known = ()
        names = {feature.name for feature in known}
        fresh = [Feature(name, kind, column(name, kind)) for name, kind in kinds.items() if name not in names]
        fresh = fresh[: max(0, _MOST_FEATURES - len(known))]
        if fresh:
            self._add(model, fresh, len(known))
        return (*known, *fresh)

    def _read(self, model: str) -> tuple[Feature, ...] | None:
        query = """
        SELECT '', '' AS kind, '', -1 AS position FROM oppen_model_tables WHERE model = {model:String} LIMIT 1
        UNION ALL
        SELECT feature, kind, column, toInt64(position) FROM oppen_feature_columns FINAL WHERE model = {model:String}
        """
        try:
            rows = self._rows(query, {"model": model})
        except NoTable:
            return None
        if rows and model not in self._whole:
            with translated():
                self._connection.client().command(extend(model))
            self._whole.add(model)
        found = sorted(rows, key=lambda row: (row[3], row[0]))
        return tuple(Feature(name, kind, column) for name, kind, column, _ in found[1:]) if found else None

    def _rows(self, query: str, parameters: dict[str, str] | None = None) -> Sequence[Any]:
        client = self._connection.client()
        with translated():
            rows: Sequence[Any] = client.query(query, parameters=parameters).result_rows
        return rows

    def _create(self, model: str) -> None:
        client = self._connection.client()
        with translated():
            if not self._created:
                for statement in CATALOGUE:
                    client.command(statement)
                self._created = True
            for statement in (*create(model), extend(model)):
                client.command(statement)
            self._whole.add(model)
            client.command(
                "INSERT INTO oppen_model_tables VALUES ({model:String}, {predictions:String}, {labels:String})",
                parameters={"model": model, "predictions": predictions_table(model), "labels": labels_table(model)},
            )

    def _add(self, model: str, fresh: list[Feature], position: int) -> None:
        """Columns first: a killed process leaves a column without an entry, which the next one finds and enters."""
        columns = ", ".join(f"ADD COLUMN IF NOT EXISTS {feature.column} {TYPES[feature.kind]}" for feature in fresh)
        client = self._connection.client()
        rows = [[model, feature.name, feature.kind, feature.column, position + i] for i, feature in enumerate(fresh)]
        with translated():
            client.command(f"ALTER TABLE {predictions_table(model)} {columns}")
            client.insert("oppen_feature_columns", rows)
