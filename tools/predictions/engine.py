"""ClickHouse SQL, synchronously: the embedded engine or a server, through one client and in the same words.

Lives where blocking is harmless: in a child process (embedded: one process at a time may open a store) or in threads (server).
Every answer is an aggregate; rows stay in the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tools.predictions import loading, outcomes, segments
from tools.predictions.catalogue import Catalogue
from tools.predictions.connection import Connection, translated
from tools.predictions.port import FeatureProfile, Slice, VersionWindow, Volume
from tools.predictions.profiles import profiles
from tools.predictions.statements import Query
from tools.values import Window


@dataclass(frozen=True, slots=True)
class Step:
    """Of loading one segment."""

    records: int
    rejected: int
    next: int | None
    """Where to go on; None when the segment is in the store as a whole."""


class Engine:
    """`url` as for `open_store`. May be used by several threads at once."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)
        self._catalogue = Catalogue(self._connection)

    def close(self) -> None:
        self._connection.close()

    def ping(self) -> None:
        with translated():
            self._connection.client().query("SELECT 1")

    def models(self) -> tuple[str, ...]:
        return self._catalogue.models()

    def load(self, segment: Path, start: int) -> Step:
        """One batch of the segment, from `start` on."""
        batch = segments.read(segment, start)
        segments.set_aside(segment, batch)
        loading.insert(self._connection.client(), self._catalogue, segment, batch)
        records = len(batch.predictions) + len(batch.labels)
        return Step(records, len(batch.rejected), None if batch.last else batch.end)

    def versions(self, model: str, window: Window) -> tuple[VersionWindow, ...]:
        if self._catalogue.features(model) is None:
            return ()
        return tuple(outcomes.versions(Query(self._connection.client(), model, window)))

    def volume(self, model: str, window: Window, step: timedelta) -> tuple[Volume, ...]:
        query = Query(self._connection.client(), model, window)
        if self._catalogue.features(model) is None:
            return tuple(outcomes.silence(query, step))
        return tuple(outcomes.volume(query, step))

    def feature_profiles(
        self, model: str, window: Window, version: str | None, like: Sequence[FeatureProfile]
    ) -> tuple[FeatureProfile, ...]:
        features = self._catalogue.features(model) or ()
        return tuple(profiles(Query(self._connection.client(), model, window, version), features, like))

    def slices(self, model: str, version: str, window: Window) -> tuple[Slice, ...]:
        features = self._catalogue.features(model) or ()
        categorical = [feature for feature in features if feature.kind == "categorical"]
        return tuple(outcomes.slices(Query(self._connection.client(), model, window, version), categorical))
