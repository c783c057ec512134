"""What versions answered in a window, how quickly, and how right they were by the labels that have come."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.predictions.catalogue import Feature
from tools.predictions.port import Slice, VersionWindow, Volume
from tools.predictions.statements import Query

_CLASSES = 200
"""Label classes per version that are told apart, the most frequent ones: labels come from outside."""
_SLICES = 20
_AT_ONCE = 60
"""`grouping` takes 64 columns."""
_MICROSECOND = timedelta(microseconds=1)


def versions(query: Query) -> Iterator[VersionWindow]:
    """Latency quantiles are exact."""
    answered = f"""
    SELECT version, prediction, grouping(prediction) AS whole, count(), countIf(error IS NOT NULL),
        quantilesExact(0.5, 0.95, 0.99)(latency_us), avg(score)
    FROM {query.predictions} WHERE {query.within} GROUP BY GROUPING SETS ((version), (version, prediction))
    """
    wholes: dict[str, Any] = {}
    outputs: dict[str, dict[str, int]] = {}
    for version, prediction, whole, *measured in query.rows(answered):
        if whole:
            wholes[version] = measured
        elif prediction is not None:
            outputs.setdefault(version, {})[prediction] = measured[0]
    labelled = _labelled(query) if wholes else {}
    for version, (count, errors, latencies, score) in sorted(wholes.items()):
        p50, p95, p99 = (latency / 1000 for latency in latencies)
        yield VersionWindow(
            model=query.model,
            version=version,
            window=query.window,
            count=count,
            errors=errors,
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            latency_p99_ms=p99,
            outputs=outputs.get(version, {}),
            mean_score=score,
            **labelled.get(version, _unlabelled(bool(outputs.get(version)))),
        )


def _labelled(query: Query) -> dict[str, dict[str, Any]]:
    statement = f"""
    SELECT version, class, grouping(class) AS whole, count() AS n, countIf(label = prediction), count(prediction),
        avgIf(error, isFinite(error)), max(labelled_at)
    FROM (
        SELECT version, prediction, label, labelled_at, if(prediction IS NULL, '', label) AS class,
            if(prediction IS NULL, abs(score - toFloat64OrNull(label)), NULL) AS error
        FROM {query.labelled(("version", "prediction", "score"))}
    )
    GROUP BY GROUPING SETS ((version), (version, class)) ORDER BY n DESC, class LIMIT {_CLASSES} BY version, whole
    """
    found: dict[str, dict[str, Any]] = {}
    classes: dict[str, dict[str, int]] = {}
    for version, name, whole, count, correct, classified, error, newest in query.rows(statement):
        if whole:
            found[version] = {
                "labelled": count,
                "correct": correct if classified else None,
                "mean_absolute_error": error if error is not None and math.isfinite(error) else None,
                "last_label_at": _aware(newest),
            }
        elif classified:
            classes.setdefault(version, {})[name] = count
    return {version: {**each, "labels": classes.get(version, {})} for version, each in found.items()}


def _unlabelled(classification: bool) -> dict[str, Any]:
    return {
        "labelled": 0,
        "correct": 0 if classification else None,
        "mean_absolute_error": None,
        "last_label_at": None,
        "labels": {},
    }


def slices(query: Query, features: Sequence[Feature]) -> Iterator[Slice]:
    for start in range(0, len(features), _AT_ONCE):
        some = features[start : start + _AT_ONCE]
        columns = [feature.column for feature in some]
        statement = f"""
        SELECT {", ".join(columns)}, grouping({", ".join(columns)}) AS which, count() AS n, countIf(label = prediction)
        FROM {query.labelled(("prediction", *columns))} WHERE prediction IS NOT NULL
        GROUP BY GROUPING SETS ({", ".join(f"({name})" for name in columns)})
        ORDER BY n DESC, {", ".join(columns)} LIMIT {_SLICES + 1} BY which
        """
        found: dict[int, list[Slice]] = {}
        for *values, _, labelled, correct in query.rows(statement):
            for place, value in enumerate(values):
                if value is not None:  # as it is in the sets of the others, and for the feature's own nulls
                    slice_ = Slice(feature=some[place].name, value=value, labelled=labelled, correct=correct)
                    found.setdefault(place, []).append(slice_)
        for place in sorted(found):
            yield from found[place][:_SLICES]


def volume(query: Query, step: timedelta) -> Iterator[Volume]:
    statement = f"""
    SELECT intDiv(toUnixTimestamp64Micro(at) - {{start:Int64}}, {{step:Int64}}) AS slot, count(), countIf(error IS NOT NULL)
    FROM {query.predictions} WHERE {query.within} GROUP BY slot
    """
    found = {slot: (count, errors) for slot, count, errors in query.rows(statement, {"step": step // _MICROSECOND})}
    for slot, silent in enumerate(silence(query, step)):
        count, errors = found.get(slot, (0, 0))
        yield silent.model_copy(update={"count": count, "errors": errors})


def silence(query: Query, step: timedelta) -> Iterator[Volume]:
    """The steps of the window with nothing in them."""
    for slot in range(-(-query.window.length // step)):
        yield Volume(start=query.window.start + slot * step, count=0, errors=0)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
