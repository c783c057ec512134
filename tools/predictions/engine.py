"""ClickHouse SQL, synchronously: the embedded engine or a server, through one client and in the same words.

Lives where blocking is harmless: in a child process (embedded: one process at a time may open a store) or in threads (server).
Every answer is an aggregate; rows stay in the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tools.predictions import copies, exposures, loading, outcomes, sampling, segments, tallies, usage, work
from tools.predictions.catalogue import Catalogue, Feature
from tools.predictions.connection import Connection, translated
from tools.predictions.distributions import distributions
from tools.predictions.outcomes import Labelled
from tools.predictions.port import (
    Copies,
    Exposures,
    FeatureProfile,
    Mirrored,
    Outcome,
    Period,
    Sampled,
    Slice,
    Tally,
    TokenUsage,
    VersionWindow,
    Volume,
    Work,
)
from tools.predictions.profiles import profiles
from tools.predictions.statements import Query
from tools.tables.port import Distributions
from tools.values import LeftOut, Window


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
        self.client = self._connection.client
        """The calling thread's way to the store, for what else is kept there."""
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
        return Step(batch.records, len(batch.rejected), None if batch.last else batch.end)

    def versions(self, model: str, window: Window) -> tuple[VersionWindow, ...]:
        query = self._query(model, (window,))
        return outcomes.versions(query, Labelled(query))[0] if self._knows(model) else ()

    def volume(self, model: str, window: Window, step: timedelta) -> tuple[Volume, ...]:
        if not self._knows(model):
            return outcomes.silence(window, step)
        return outcomes.volumes(self._query(model, (window,)), [step])[0]

    def tallies(
        self,
        model: str,
        window: Window,
        step: timedelta,
        slow_ms: float | None,
        metric: str | None,
        cpu_hour: float,
        currency: str | None,
    ) -> tuple[Tally, ...]:
        if not self._knows(model):
            return ()
        return tallies.tallies(self._query(model, (window,)), step, slow_ms, metric, cpu_hour, currency)

    def mirrored(
        self,
        model: str,
        version: str,
        beside: str,
        window: Window,
        step: timedelta,
        slow_ms: float | None,
        cpu_hour: float,
    ) -> tuple[Mirrored, ...]:
        if not self._knows(model):
            return ()
        return tallies.mirrored(self._query(model, (window,)), version, beside, step, slow_ms, cpu_hour)

    def copies(self, model: str, version: str, beside: str, window: Window) -> Copies | None:
        return copies.copies(self._query(model, (window,)), version, beside) if self._knows(model) else None

    def exposures(self, model: str, window: Window, asked: exposures.Asked) -> Exposures:
        return exposures.exposures(self._query(model, (window,)), asked) if self._knows(model) else Exposures()

    def feature_profiles(
        self, model: str, windows: tuple[Window, ...], version: str | None, like: Sequence[FeatureProfile]
    ) -> list[tuple[FeatureProfile, ...]]:
        return profiles(self._query(model, windows, version), self._catalogue.features(model) or (), like)

    def distributions(
        self,
        model: str,
        window: Window,
        version: str | None,
        label: str | None,
        like: Distributions | None,
        without: tuple[LeftOut, ...] = (),
    ) -> Distributions:
        features = self._catalogue.features(model)
        if features is None:
            return Distributions(window=window, version=version, rows=0)
        return distributions(self._query(model, (window,), version), features, label, like, without)

    def answers(
        self, model: str, window: Window, version: str | None, without: tuple[LeftOut, ...] = ()
    ) -> tuple[Outcome, ...]:
        if not self._knows(model):
            return ()
        return outcomes.answers(self._query(model, (window,), version).passing_over(each.window for each in without))

    def sample(
        self,
        model: str,
        window: Window,
        to: Path,
        most: int,
        version: str | None,
        without: tuple[LeftOut, ...],
        labelled: bool,
    ) -> Sampled:
        query = self._query(model, (window,), version).passing_over(each.window for each in without)
        return sampling.sample(query, self._catalogue.features(model), to, most, labelled=labelled)

    def usage(self, model: str, window: Window) -> tuple[TokenUsage, ...]:
        return usage.usages(self._query(model, (window,))) if self._knows(model) else ()

    def works(self, model: str, window: Window, step: timedelta) -> tuple[Work, ...]:
        return work.works(self._query(model, (window,)), step) if self._knows(model) else ()

    def stored(self) -> dict[str, int]:
        return work.stored(self._connection.client(), self.models())

    def slices(self, model: str, version: str, window: Window) -> tuple[Slice, ...]:
        categorical = self._categorical(model)
        return Labelled(self._query(model, (window,), version), categorical).slices(0, version) if categorical else ()

    def outcomes(self, model: str, windows: tuple[Window, ...], steps: Sequence[timedelta]) -> list[Period]:
        """All of a period but its profiles."""
        if not self._knows(model):
            return [
                Period(window=window, volume=outcomes.silence(window, step))
                for window, step in zip(windows, steps, strict=True)
            ]
        query = self._query(model, windows)
        labelled = Labelled(query, self._categorical(model))
        versions, volumes = outcomes.versions(query, labelled), outcomes.volumes(query, steps)
        return [
            Period(
                window=window,
                versions=versions[place],
                volume=volumes[place],
                slices={version: labelled.slices(place, version) for version in labelled.versions(place)},
            )
            for place, window in enumerate(windows)
        ]

    def _query(self, model: str, windows: tuple[Window, ...], version: str | None = None) -> Query:
        return Query(self._connection.client(), model, windows, version)

    def _knows(self, model: str) -> bool:
        return self._catalogue.features(model) is not None

    def _categorical(self, model: str) -> list[Feature]:
        return [feature for feature in self._catalogue.features(model) or () if feature.kind == "categorical"]
