"""Worlds with a known truth: traffic of a model written down by hand, as the ports would have aggregated it.

A `World` starts healthy: one champion, steady inputs, traffic and labels. Each method changes one thing and returns a new
world, so that a test reads as what happened.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from agents.alerts import Alert, Severity
from agents.evidence import Missing
from agents.incident.observations import Observations, Reading
from agents.payloads.deliveries import fingerprint_of
from tools.predictions.port import FeatureProfile, Period, Slice, VersionWindow, Volume
from tools.registry.port import Alias, AliasChange
from tools.serving.port import Capacity, Route
from tools.values import Window

MODEL = "flights"
NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
NOW_WINDOW = Window(start=NOW - timedelta(hours=6), end=NOW)
LATELY_WINDOW = Window(start=NOW - timedelta(minutes=25), end=NOW)
"""Since a quarter of an hour before the alert."""
BEFORE_WINDOW = NOW_WINDOW.shifted(-timedelta(days=1))

When = Literal["lately", "now", "before", "preceding", "earlier"]
LATE = "late"
ON_TIME = "on_time"


HALF_IDLE = Capacity(workers=2, limit=8, utilisation=0.3)


def alert(name: str = "ModelAccuracyLow", severity: Severity = "warning", minutes_ago: int = 10, **labels: str) -> Alert:
    return Alert(
        source="alertmanager",
        fingerprint=fingerprint_of({"alertname": name, **labels}),
        status="firing",
        name=name,
        severity=severity,
        labels={"alertname": name, "model": MODEL, **labels},
        starts_at=NOW - timedelta(minutes=minutes_ago),
    )


@dataclass(frozen=True)
class Answers:
    """How one version answers in one period."""

    count: int = 2_000
    accuracy: float = 0.85
    coverage: float = 0.6
    """Share of predictions whose label has come by now."""
    errors: float = 0.001
    p99_ms: float = 40.0
    late: float = 0.3
    """Share predicted late."""
    labels_late: float | None = None
    """Share of labels that say late; as predicted where it is None."""
    last_label: datetime | None = None

    def window(self, version: str, window: Window) -> VersionWindow:
        labelled = round(self.count * self.coverage)
        late, labels_late = (
            round(self.count * self.late),
            round(labelled * (self.late if self.labels_late is None else self.labels_late)),
        )
        return VersionWindow(
            model=MODEL,
            version=version,
            window=window,
            count=self.count,
            errors=round(self.count * self.errors),
            latency_p50_ms=self.p99_ms / 8,
            latency_p95_ms=self.p99_ms / 2,
            latency_p99_ms=self.p99_ms,
            outputs={LATE: late, ON_TIME: self.count - late},
            mean_score=self.late,
            labelled=labelled,
            correct=round(labelled * self.accuracy),
            mean_absolute_error=None,
            labels={name: count for name, count in ((LATE, labels_late), (ON_TIME, labelled - labels_late)) if count},
            last_label_at=(self.last_label or window.end) if labelled else None,
        )


@dataclass(frozen=True)
class Feature:
    """One feature in one period, on the bins of a healthy day."""

    shares: tuple[float, ...]
    kind: Literal["numeric", "categorical"] = "numeric"
    nulls: float = 0.0
    low: float = 0.0
    high: float = 100.0
    categories: tuple[str, ...] = ()

    def profile(self, name: str, count: int) -> FeatureProfile:
        nulls = round(count * self.nulls)
        counts = [round((count - nulls) * each) for each in self.shares]
        return FeatureProfile(
            name=name,
            kind=self.kind,
            count=count,
            nulls=nulls,
            mean=(self.low + self.high) / 2 if self.kind == "numeric" else None,
            minimum=self.low if self.kind == "numeric" else None,
            maximum=self.high if self.kind == "numeric" else None,
            edges=tuple(10.0 * (place + 1) for place in range(len(counts) - 1)) if self.kind == "numeric" else (),
            categories=self.categories,
            counts=tuple(counts),
        )


EVEN = (0.1,) * 10
SHIFTED = (0.02, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.2, 0.15)
FEATURES = {
    "distance": Feature(EVEN),
    "wind": Feature(EVEN),
    "carrier": Feature((0.5, 0.3, 0.2, 0.0), "categorical", categories=("UA", "B6", "DL")),
}


@dataclass(frozen=True)
class World:
    versions: dict[tuple[str, When], Answers] = field(
        default_factory=lambda: {("1", "now"): Answers(), ("1", "before"): Answers()}
    )
    features: dict[tuple[str, When], Feature] = field(default_factory=dict)
    slices: dict[tuple[str, When], tuple[Slice, ...]] = field(default_factory=dict)
    champion: str | None = "1"
    history: tuple[AliasChange, ...] = ()
    capacity: Capacity | None = HALF_IDLE
    readings: tuple[Reading, ...] = ()
    alerts: tuple[Alert, ...] = (alert(),)
    missing: tuple[Missing, ...] = ()
    model: str | None = MODEL
    has_earlier: bool = False
    volume: dict[When, tuple[int, ...]] = field(default_factory=dict)

    def rolled_out(self, hours_ago: float = 4, previous: str | None = "1", new: str = "2", actor: str = "deploy") -> "World":
        change = AliasChange(
            model=MODEL,
            alias=Alias.CHAMPION,
            before=previous,
            after=new,
            at=NOW - timedelta(hours=hours_ago),
            actor=actor,
            reason="release",
            key=f"release-{new}",
            origin="oppen",
        )
        return replace(self, champion=new, history=(*self.history, change))

    def answers(self, version: str, when: When, **values: float | int | datetime) -> "World":
        """What `version` did in that period, beside the usual."""
        known = self.versions.get((version, when), Answers())
        return replace(self, versions={**self.versions, (version, when): replace(known, **values)})  # type: ignore[arg-type]

    def silent(self, version: str, when: When) -> "World":
        return replace(self, versions={key: each for key, each in self.versions.items() if key != (version, when)})

    def every_version_now(self, **values: float | int | datetime) -> "World":
        world = self
        for version, when in self.versions:
            if when == "now":
                world = world.answers(version, "now", **values)
        return world

    def feature(self, name: str, when: When = "now", **values: object) -> "World":
        known = self.features.get((name, when), FEATURES[name])
        return replace(self, features={**self.features, (name, when): replace(known, **values)})  # type: ignore[arg-type]

    def sliced(self, version: str, when: When, **accuracies: float) -> "World":
        """Accuracy by carrier, on 200 labels each."""
        parts = tuple(
            Slice(feature="carrier", value=name, labelled=200, correct=round(200 * accuracy))
            for name, accuracy in accuracies.items()
        )
        return replace(self, slices={**self.slices, (version, when): parts})

    def busy(self, utilisation: float, workers: int = 2, limit: int = 8) -> "World":
        return replace(self, capacity=Capacity(workers=workers, limit=limit, utilisation=utilisation))

    def alerted(self, *alerts: Alert) -> "World":
        return replace(self, alerts=alerts)

    def without(self, source: str, reason: str = "connection refused") -> "World":
        return replace(self, missing=(*self.missing, Missing(source=source, reason=reason)))

    def observed(self) -> Observations:
        has_preceding = any(when == "preceding" for _, when in self.versions)
        last = self.history[-1].at if self.history else NOW
        preceding = Window(start=last - NOW_WINDOW.length, end=last)
        return Observations(
            alerts=self.alerts,
            model=self.model,
            now=self._period("now", NOW_WINDOW),
            before=self._period("before", BEFORE_WINDOW),
            preceding=self._period("preceding", preceding) if has_preceding else None,
            lately=self._period("lately", LATELY_WINDOW) if any(when == "lately" for _, when in self.versions) else None,
            earlier=self._period("earlier", BEFORE_WINDOW.shifted(-timedelta(days=1))) if self.has_earlier else None,
            champion=self.champion,
            history=self.history,
            route=Route(model=MODEL, generation=3, weights={self.champion: 100}) if self.champion else None,
            capacity=self.capacity,
            readings=self.readings,
            missing=self.missing,
        )

    def _period(self, when: When, window: Window) -> Period:
        versions = tuple(
            answers.window(version, window) for (version, each), answers in sorted(self.versions.items()) if each == when
        )
        count = sum(each.count for each in versions) or (2_000 if when == "earlier" else 0)
        features = {name: self.features.get((name, when), usual) for name, usual in FEATURES.items()}
        series = self.volume.get(when, ())
        step = window.length / max(1, len(series))
        return Period(
            window=window,
            versions=versions,
            features=tuple(each.profile(name, count) for name, each in features.items()) if count else (),
            volume=tuple(Volume(start=window.start + step * place, count=each, errors=0) for place, each in enumerate(series)),
            slices={version: parts for (version, each), parts in self.slices.items() if each == when},
        )
