"""What versions answered in some windows, how quickly, and how right they were by the labels that have come."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.predictions.catalogue import Feature
from tools.predictions.port import Outcome, Slice, VersionWindow, Volume
from tools.predictions.statements import Query
from tools.values import Window

_CLASSES = 200
"""Label classes per version that are told apart, the most frequent ones: labels come from outside."""
_SLICES = 20
_PAIRS = 50_000
"""Of class, twentieth and label: labels come from outside."""
_AT_ONCE = 60
"""`grouping` takes 64 columns."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class _Labelled:
    """What is known of the labelled predictions of one version in one window."""

    measured: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    slices: defaultdict[int, list[Slice]] = field(default_factory=lambda: defaultdict(list))


class Labelled:
    """By window and version; a category's values are told apart for `features`."""

    def __init__(self, query: Query, features: Sequence[Feature] = ()) -> None:
        self._found: defaultdict[tuple[int, str], _Labelled] = defaultdict(_Labelled)
        for start in range(0, max(1, len(features)), _AT_ONCE):
            self._read(query, features[start : start + _AT_ONCE], start)

    def measured(self, window: int, version: str, *, classified: bool) -> dict[str, Any]:
        """Fields of a `VersionWindow`; `classified`: whether it answers with classes, which without a label shows nowhere."""
        found = self._found.get((window, version))
        if found is None:
            nothing = {"labelled": 0, "correct": 0 if classified else None, "mean_absolute_error": None, "last_label_at": None}
            return {**nothing, "labels": {}}
        return {**found.measured, "labels": found.classes}

    def slices(self, window: int, version: str) -> tuple[Slice, ...]:
        found = self._found.get((window, version))
        if found is None:
            return ()
        return tuple(slice_ for place in sorted(found.slices) for slice_ in found.slices[place][:_SLICES])

    def versions(self, window: int) -> list[str]:
        return sorted(version for place, version in self._found if place == window)

    def _read(self, query: Query, features: Sequence[Feature], offset: int) -> None:
        columns = [feature.column for feature in features]
        keys = ("class", *columns)
        sets = ", ".join(("(w, version)", *(f"(w, version, {key})" for key in keys)))
        statement = f"""
        SELECT w, version, {", ".join(keys)}, grouping({", ".join(keys)}) AS which, count(), count(prediction) AS n,
            countIf(label = prediction), avgIf(miss, isFinite(miss)), max(labelled_at)
        FROM (
            SELECT *, if(prediction IS NULL, '', label) AS class,
                if(prediction IS NULL, abs(score - toFloat64OrNull(label)), NULL) AS miss
            FROM {query.labelled(("version", "prediction", "score", *columns))}
        )
        GROUP BY GROUPING SETS ({sets})
        ORDER BY n DESC, {", ".join(keys)} LIMIT {_CLASSES} BY w, version, which
        """
        everything = (1 << len(keys)) - 1
        for w, version, class_, *values, which, count, classified, correct, miss, newest in query.rows(statement):
            found = self._found[w, version]
            if which == everything:
                found.measured = {
                    "labelled": count,
                    "correct": correct if classified else None,
                    "mean_absolute_error": miss if miss is not None and math.isfinite(miss) else None,
                    "last_label_at": _aware(newest),
                }
                continue
            place = next(index for index in range(len(keys)) if not which >> (len(keys) - 1 - index) & 1)
            if place == 0:
                if classified:
                    found.classes[class_] = classified
            elif classified and values[place - 1] is not None:
                slice_ = Slice(feature=features[place - 1].name, value=values[place - 1], labelled=classified, correct=correct)
                found.slices[offset + place].append(slice_)


def versions(query: Query, labelled: "Labelled") -> list[tuple[VersionWindow, ...]]:
    """One tuple per window. Latency quantiles are exact."""
    answered = f"""
    SELECT w, version, prediction, grouping(prediction) AS whole, count(), countIf(error IS NOT NULL),
        quantilesExact(0.5, 0.95, 0.99)(latency_us), avg(score)
    FROM {query.predictions(("version", "prediction", "error", "latency_us", "score"))}
    GROUP BY GROUPING SETS ((w, version), (w, version, prediction))
    """
    wholes: dict[tuple[int, str], Any] = {}
    outputs: defaultdict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for place, version, prediction, whole, *measured in query.rows(answered):
        if whole:
            wholes[place, version] = measured
        elif prediction is not None:
            outputs[place, version][prediction] = measured[0]
    found: list[list[VersionWindow]] = [[] for _ in query.windows]
    for (place, version), (count, errors, latencies, score) in sorted(wholes.items()):
        p50, p95, p99 = (latency / 1000 for latency in latencies)
        found[place].append(
            VersionWindow(
                model=query.model,
                version=version,
                window=query.windows[place],
                count=count,
                errors=errors,
                latency_p50_ms=p50,
                latency_p95_ms=p95,
                latency_p99_ms=p99,
                outputs=outputs[place, version],
                mean_score=score,
                **labelled.measured(place, version, classified=bool(outputs[place, version])),
            )
        )
    return [tuple(each) for each in found]


def volumes(query: Query, steps: Sequence[timedelta]) -> list[tuple[Volume, ...]]:
    """One tuple per window, in that window's steps."""
    since, step = "toUnixTimestamp64Micro(at) - {starts:Array(Int64)}[w + 1]", "{steps:Array(Int64)}[w + 1]"
    statement = f"""
    SELECT w, intDiv({since}, {step}) AS slot, count(), countIf(error IS NOT NULL)
    FROM {query.predictions(("at", "error"))} GROUP BY w, slot
    """
    rows = query.rows(statement, {"steps": [step // _MICROSECOND for step in steps]})
    found = {(place, slot): (count, errors) for place, slot, count, errors in rows}
    return [
        tuple(
            Volume(start=start, count=count, errors=errors)
            for slot, start in enumerate(_starts(window, step))
            for count, errors in [found.get((place, slot), (0, 0))]
        )
        for place, (window, step) in enumerate(zip(query.windows, steps, strict=True))
    ]


def silence(window: Window, step: timedelta) -> tuple[Volume, ...]:
    """The steps of a window with nothing in them."""
    return tuple(Volume(start=start, count=0, errors=0) for start in _starts(window, step))


def _starts(window: Window, step: timedelta) -> Iterator[datetime]:
    return (window.start + slot * step for slot in range(-(-window.length // step)))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def answers(query: Query) -> tuple[Outcome, ...]:
    """Of the query's one window."""
    statement = f"""
    SELECT assumeNotNull(prediction) AS class,
        if(score >= 0 AND score <= 1, toInt8(least(19., floor(score * 20))), NULL) AS twentieth,
        if(toUnixTimestamp64Micro(labelled_at) = 0, NULL, label) AS came, count() AS n
    FROM {query.answered(("prediction", "score"))} WHERE prediction IS NOT NULL
    GROUP BY class, twentieth, came ORDER BY n DESC, class, twentieth, came LIMIT {_PAIRS}
    """
    return tuple(
        Outcome(prediction=class_, twentieth=twentieth, label=label, count=n)
        for class_, twentieth, label, n in query.rows(statement)
    )
