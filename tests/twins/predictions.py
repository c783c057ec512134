"""A prediction store in memory, with the answers of the real one."""

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet

from tests.twins.columns import column
from tools.errors import TemporaryError
from tools.predictions import segments
from tools.predictions.kinds import FeatureKind, fitting, kinds
from tools.predictions.port import (
    LABEL,
    Copies,
    Exposed,
    Exposures,
    FeatureProfile,
    Loaded,
    Mirrored,
    Outcome,
    Period,
    Sampled,
    Slice,
    Tally,
    TokenCost,
    TokenUsage,
    Values,
    VersionWindow,
    Volume,
    Work,
)
from tools.predictions.records import LabelRecord, PredictionRecord, Record, ShadowRecord, Usage, ValueRecord
from tools.predictions.shapes import CATEGORIES, edges, levels
from tools.tables.port import Distributions
from tools.values import LeftOut, Window

_SLICES = 20
_MICROSECOND = timedelta(microseconds=1)


class TwinPredictions:
    def __init__(self) -> None:
        self._predictions: defaultdict[str, list[PredictionRecord]] = defaultdict(list)
        self._labels: defaultdict[str, dict[str, LabelRecord]] = defaultdict(dict)
        self._kinds: defaultdict[str, dict[str, FeatureKind]] = defaultdict(dict)
        self._shadows: defaultdict[str, list[ShadowRecord]] = defaultdict(list)
        self._values: defaultdict[str, dict[tuple[str, str], tuple[int, float]]] = defaultdict(dict)
        """By metric and prediction: when it came, and the value."""
        self._segments: set[str] = set()
        self._down = False
        self.too_slow: set[str] = set()
        """Models whose distributions take longer than the store lets a statement take."""
        self.asked: Counter[str] = Counter()
        """How often the distributions of each model were asked for."""

    # What a test does to it from outside.

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            seen = self._kinds[record.model]
            if isinstance(record, PredictionRecord):
                for name, kind in kinds([record]).items():
                    seen.setdefault(name, kind)
                self._predictions[record.model].append(record)
            elif isinstance(record, ShadowRecord):
                self._shadows[record.model].append(record)
            elif isinstance(record, ValueRecord):
                came = self._values[record.model].get((record.name, record.id))
                if came is None or record.at >= came[0]:
                    self._values[record.model][record.name, record.id] = (record.at, record.value)
            else:
                known = self._labels[record.model].get(record.id)
                if known is None or record.at >= known.at:
                    self._labels[record.model][record.id] = record

    def go_down(self) -> None:
        self._down = True

    def come_back(self) -> None:
        self._down = False

    # The port.

    async def ping(self) -> None:
        self._answer()

    async def close(self) -> None:
        self._down = True

    async def models(self) -> tuple[str, ...]:
        self._answer()
        return tuple(sorted(self._kinds, key=str.encode))

    async def load(self, segment: Path) -> Loaded:
        self._answer()
        records, rejected, batch = 0, 0, None
        while batch is None or not batch.last:
            batch = segments.read(segment, 0 if batch is None else batch.end)
            segments.set_aside(segment, batch)
            if segment.name not in self._segments:
                self.add([*batch.predictions, *batch.labels, *batch.shadows, *batch.values])
            records += batch.records
            rejected += len(batch.rejected)
        self._segments.add(segment.name)
        return Loaded(records=records, rejected=rejected)

    async def versions(self, model: str, window: Window) -> tuple[VersionWindow, ...]:
        rows = sorted(self._rows(model, window), key=lambda row: row.version.encode())
        return tuple(
            self._version(model, version, window, list(some)) for version, some in groupby(rows, lambda row: row.version)
        )

    async def volume(self, model: str, window: Window, step: timedelta) -> tuple[Volume, ...]:
        found: defaultdict[int, list[PredictionRecord]] = defaultdict(list)
        for row in self._rows(model, window):
            found[(row.at - _micros(window.start)) // (step // _MICROSECOND)].append(row)
        return tuple(
            Volume(
                start=window.start + slot * step,
                count=len(found[slot]),
                errors=sum(row.error is not None for row in found[slot]),
            )
            for slot in range(ceil(window.length / step))
        )

    async def tallies(
        self,
        model: str,
        window: Window,
        step: timedelta,
        *,
        slow_ms: float | None = None,
        metric: str | None = None,
        cpu_hour: float = 3600.0,
        currency: str | None = None,
    ) -> tuple[Tally, ...]:
        found: defaultdict[tuple[int, str], list[PredictionRecord]] = defaultdict(list)
        for row in self._rows(model, window):
            found[(row.at - _micros(window.start)) // (step // _MICROSECOND), row.version].append(row)
        told = []
        for (slot, version), rows in sorted(found.items(), key=lambda each: (each[0][0], each[0][1].encode())):
            labels = [(row, self._labels[model][row.id]) for row in rows if row.error is None and row.id in self._labels[model]]
            classified = all(row.prediction is not None for row, _ in labels)
            told.append(
                Tally(
                    start=window.start + slot * step,
                    version=version,
                    count=len(rows),
                    errors=sum(row.error is not None for row in rows),
                    slow=None if slow_ms is None else sum(row.latency_us > 1000 * slow_ms for row in rows),
                    labelled=len(labels),
                    wrong=sum(row.prediction != label.label for row, label in labels) if classified else None,
                    loss=None
                    if any(row.prediction is not None for row, _ in labels)
                    else _values(_miss(row, label) for row, label in labels),
                    cost=_costs(rows, cpu_hour, currency),
                    metric=None
                    if metric is None
                    else _values(self._values[model].get((metric, row.id), (0, None))[1] for row in rows if row.error is None),
                )
            )
        return tuple(told)

    async def mirrored(
        self,
        model: str,
        version: str,
        beside: str,
        window: Window,
        step: timedelta,
        *,
        slow_ms: float | None = None,
        cpu_hour: float = 3600.0,
    ) -> tuple[Mirrored, ...]:
        copies = {row.id: row for row in self._shadows[model] if row.version == version}
        found: defaultdict[int, list[tuple[ShadowRecord, PredictionRecord]]] = defaultdict(list)
        for row in self._rows(model, window, beside):
            if row.id in copies:
                found[(row.at - _micros(window.start)) // (step // _MICROSECOND)].append((copies[row.id], row))
        told = []
        for slot, pairs in sorted(found.items()):
            start, labels = window.start + slot * step, self._labels[model]
            both = [
                (copy, row, labels[row.id])
                for copy, row in pairs
                if copy.error is None and row.error is None and row.id in labels
            ]
            classes = [each for each in both if each[0].prediction is not None and each[1].prediction is not None]
            misses = [each for each in both if each[0].prediction is None and each[1].prediction is None]
            wrong = [(copy.prediction != label.label, row.prediction != label.label) for copy, row, label in classes]
            sides = [
                Tally(
                    start=start,
                    version=name,
                    count=len(pairs),
                    errors=sum(row.error is not None for row in rows),
                    slow=None if slow_ms is None else sum(row.latency_us > 1000 * slow_ms for row in rows),
                    labelled=len(classes),
                    wrong=None,
                    loss=None if classes else _values(_miss(each[side], each[2]) for each in misses),
                    cost=_costs(rows, cpu_hour),
                )
                for side, name in enumerate((version, beside))
                for rows in [[pair[side] for pair in pairs]]
            ]
            told.append(
                Mirrored(
                    start=start,
                    shadow=sides[0],
                    served=sides[1],
                    labelled=len(classes),
                    only_shadow_wrong=wrong.count((True, False)),
                    only_served_wrong=wrong.count((False, True)),
                )
            )
        return tuple(told)

    async def copies(self, model: str, version: str, beside: str, window: Window) -> Copies | None:
        made = {row.id: row for row in self._shadows[model] if row.version == version}
        pairs = [(made[row.id], row) for row in self._rows(model, window, beside) if row.id in made]
        if not pairs:
            return None
        both = [(copy, row) for copy, row in pairs if copy.error is None and row.error is None]
        classes = [(copy, row) for copy, row in both if copy.prediction is not None and row.prediction is not None]
        labels = self._labels[model]
        wrong = [
            (copy.prediction != labels[row.id].label, row.prediction != labels[row.id].label)
            for copy, row in classes
            if row.id in labels
        ]
        latencies = [[each / 1000 for each in _exact((row[side].latency_us for row in pairs), (0.5, 0.99))] for side in (0, 1)]
        return Copies(
            window=window,
            shadow=version,
            served=beside,
            requests=len(pairs),
            shadow_errors=sum(copy.error is not None for copy, _ in pairs),
            served_errors=sum(row.error is not None for _, row in pairs),
            both=len(both),
            same=sum(copy.prediction == row.prediction for copy, row in classes) if len(classes) == len(both) else None,
            apart=_values(
                abs(copy.score - row.score) if copy.score is not None and row.score is not None else None for copy, row in both
            ),
            labelled=len(wrong),
            only_shadow_wrong=sum(ours and not theirs for ours, theirs in wrong),
            only_served_wrong=sum(theirs and not ours for ours, theirs in wrong),
            shadow_p50_ms=latencies[0][0],
            shadow_p99_ms=latencies[0][1],
            served_p50_ms=latencies[1][0],
            served_p99_ms=latencies[1][1],
            shadow_cpu_us=_values(copy.cpu_us for copy, _ in pairs),
            served_cpu_us=_values(row.cpu_us for _, row in pairs),
            saved_cpu_us=_values(
                row.cpu_us - copy.cpu_us if row.cpu_us is not None and copy.cpu_us is not None else None for copy, row in pairs
            ),
        )

    async def exposures(
        self,
        model: str,
        window: Window,
        step: timedelta,
        *,
        versions: Sequence[str],
        slow_ms: float | None = None,
        metrics: Sequence[str] = (),
        within: timedelta = timedelta(0),
    ) -> Exposures:
        rows = [row for row in self._rows(model, window) if row.version in versions]
        entities: defaultdict[str, list[PredictionRecord]] = defaultdict(list)
        for row in rows:
            if row.entity:
                entities[row.entity].append(row)
        found: defaultdict[tuple[int, str], list[PredictionRecord]] = defaultdict(list)
        mixed = 0
        for seen in entities.values():
            if len({row.version for row in seen}) > 1:
                mixed += 1
                continue
            first = min(seen, key=lambda row: (row.at, row.id))
            found[(first.at - _micros(window.start)) // (step // _MICROSECOND), first.version].append(first)
        told = []
        for (slot, version), firsts in sorted(found.items()):
            labels = [(row, label) for row, label in self._labelled(model, firsts) if row.prediction is not None]
            times = [row.latency_us / 1000 for row in firsts]
            worth = {
                name: [sum(own) for row in firsts if (own := self._brought(model, entities[row.entity], row, name, within))]
                for name in metrics
            }
            told.append(
                Exposed(
                    start=window.start + slot * step,
                    version=version,
                    entities=len(firsts),
                    failed=sum(row.error is not None for row in firsts),
                    slow=None if slow_ms is None else sum(row.latency_us > 1000 * slow_ms for row in firsts),
                    labelled=len(labels),
                    wrong=sum(row.prediction != label.label for row, label in labels),
                    latency_ms=_values(times),
                    values={name: _values(brought) for name, brought in worth.items()},
                    positive={name: sum(each > 0 for each in brought) for name, brought in worth.items()},
                )
            )
        return Exposures(steps=tuple(told), mixed=mixed, anonymous=sum(not row.entity for row in rows))

    def _brought(
        self, model: str, rows: list[PredictionRecord], first: PredictionRecord, name: str, within: timedelta
    ) -> list[float]:
        until = first.at + within // _MICROSECOND
        told = [(row.at, *self._values[model].get((name, row.id), (until, 0.0))) for row in rows]
        return [value for made, at, value in told if max(made, at) < until]

    async def feature_profiles(
        self, model: str, window: Window, *, version: str | None = None, like: Sequence[FeatureProfile] = ()
    ) -> tuple[FeatureProfile, ...]:
        rows = self._rows(model, window, version)
        shapes = {profile.name: profile for profile in like}
        return tuple(
            _profile(name, kind, [fitting(row.features.get(name), kind) for row in rows], shapes.get(name))
            for name, kind in self._kinds.get(model, {}).items()
        )

    async def distributions(
        self,
        model: str,
        window: Window,
        *,
        version: str | None = None,
        label: str | None = None,
        like: Distributions | None = None,
        without: Sequence[LeftOut] = (),
    ) -> Distributions:
        self.asked[model] += 1
        if model in self.too_slow:
            raise TemporaryError("the statement took too long (159)")
        rows = _without(self._rows(model, window, version), [each for each in without if not each.features])
        if label is not None:
            rows = [row for row, came in self._labelled(model, rows) if came.label == label]
        found = Distributions(window=window, version=version, rows=len(rows))
        if not rows:
            return found
        given = like or found
        known = {profile.name: profile for profile in given.features}
        features = tuple(
            column(
                name,
                kind,
                [fitting(row.features.get(name), kind) for row in _without(rows, _about(without, name))],
                known.get(name),
            )
            for name, kind in self._kinds[model].items()
        )
        answered = _without(rows, without)
        classified = any(row.prediction is not None for row in rows)
        classes = [row.prediction for row in answered if row.prediction is not None]
        scores = [row.score for row in answered if row.score is not None]
        labelled = list(self._labelled(model, rows))
        numbers = [(row, number) for row, came in labelled if (number := _number(came.label)) is not None and isfinite(number)]
        came: list[Any] = [label.label for _, label in labelled] if classified else [number for _, number in numbers]
        judged = {row.id for row in answered}
        off = [row.score - number for row, number in numbers if row.score is not None and row.id in judged]
        return replace(
            found,
            features=features,
            prediction=column("prediction", "categorical", classes, given.prediction) if classes else None,
            score=column("score", "numeric", scores, given.score) if scores else None,
            label=column("label", "categorical" if classified else "numeric", came, given.label) if came else None,
            residual=column("residual", "numeric", off, given.residual) if off and not classified else None,
        )

    async def outcomes(
        self, model: str, window: Window, *, version: str | None = None, without: Sequence[LeftOut] = ()
    ) -> tuple[Outcome, ...]:
        answered = [row for row in _without(self._rows(model, window, version), without) if row.error is None]
        labels = {row.id: label.label for row, label in self._labelled(model, answered)}
        counted = Counter(
            (row.prediction, _twentieth(row.score), labels.get(row.id)) for row in answered if row.prediction is not None
        )
        return tuple(
            Outcome(prediction=prediction, twentieth=twentieth, label=label, count=count)
            for (prediction, twentieth, label), count in counted.items()
        )

    async def sample(
        self,
        model: str,
        window: Window,
        to: Path,
        *,
        most: int,
        version: str | None = None,
        without: Sequence[LeftOut] = (),
        labelled: bool = False,
    ) -> Sampled:
        rows = _without(self._rows(model, window, version), without)
        truth = {row.id: label.label for row, label in self._labelled(model, rows)} if labelled else {}
        rows = [row for row in rows if row.id in truth] if labelled else rows
        chosen = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:most]
        columns: dict[str, list[Any]] = {
            name: [fitting(row.features.get(name), kind) for row in chosen] for name, kind in self._kinds.get(model, {}).items()
        }
        answers = {"prediction": [row.prediction for row in chosen], "score": [row.score for row in chosen]}
        columns |= {name: of for name, of in answers.items() if name not in columns}
        if labelled:
            columns[LABEL] = [truth[row.id] for row in chosen]
        pyarrow.parquet.write_table(pa.table(columns), to)
        return Sampled(rows=len(rows), sampled=len(chosen))

    async def usage(self, model: str, window: Window) -> tuple[TokenUsage, ...]:
        rows = sorted(self._rows(model, window), key=lambda row: row.version.encode())
        of_languages = [row for row in rows if isinstance(row.usage, Usage)]
        return tuple(
            _usage(model, version, window, [row.usage for row in some if isinstance(row.usage, Usage)])
            for version, some in groupby(of_languages, lambda row: row.version)
        )

    async def works(self, model: str, window: Window, step: timedelta) -> tuple[Work, ...]:
        rows: list[PredictionRecord | ShadowRecord] = list(self._rows(model, window))
        start, end = _micros(window.start), _micros(window.end)
        rows += [row for row in self._shadows.get(model, []) if start <= row.at < end]
        groups: defaultdict[tuple[datetime, bool, str], list[PredictionRecord | ShadowRecord]] = defaultdict(list)
        for row in rows:
            place = (row.at - start) // (step // _MICROSECOND)
            groups[window.start + place * step, isinstance(row, ShadowRecord), row.version].append(row)
        return tuple(_work(*key, groups[key]) for key in sorted(groups))

    async def stored(self) -> dict[str, int]:
        self._answer()
        return {model: sum(len(msgspec.json.encode(row)) for row in rows) for model, rows in self._predictions.items()}

    async def slices(self, model: str, version: str, window: Window) -> tuple[Slice, ...]:
        labelled = [
            (row, label)
            for row, label in self._labelled(model, self._rows(model, window, version))
            if row.prediction is not None
        ]
        found = []
        for name in [name for name, kind in self._kinds.get(model, {}).items() if kind == "categorical"]:
            counts: defaultdict[str, list[bool]] = defaultdict(list)
            for row, label in labelled:
                if (value := fitting(row.features.get(name), "categorical")) is not None:
                    counts[str(value)].append(row.prediction == label.label)
            frequent = sorted(counts.items(), key=lambda each: (-len(each[1]), each[0].encode()))
            found += [
                Slice(feature=name, value=value, labelled=len(right), correct=sum(right)) for value, right in frequent[:_SLICES]
            ]
        return tuple(found)

    async def periods(self, model: str, windows: Sequence[Window], *, steps: int) -> tuple[Period, ...]:
        found: list[Period] = []
        for window in windows:
            versions = await self.versions(model, window)
            found.append(
                Period(
                    window=window,
                    versions=versions,
                    features=await self.feature_profiles(model, window, like=found[0].features if found else ()),
                    volume=await self.volume(model, window, -(-window.length // steps)),
                    slices={each.version: await self.slices(model, each.version, window) for each in versions if each.labelled},
                )
            )
        return tuple(found)

    def _answer(self) -> None:
        if self._down:
            raise TemporaryError("the prediction store is down")

    def _rows(self, model: str, window: Window, version: str | None = None) -> list[PredictionRecord]:
        self._answer()
        start, end = _micros(window.start), _micros(window.end)
        rows = self._predictions.get(model, [])
        return [row for row in rows if start <= row.at < end and (version is None or row.version == version)]

    def _labelled(self, model: str, rows: Iterable[PredictionRecord]) -> Iterator[tuple[PredictionRecord, LabelRecord]]:
        labels = self._labels.get(model, {})
        return ((row, labels[row.id]) for row in rows if row.error is None and row.id in labels)

    def _version(self, model: str, version: str, window: Window, rows: list[PredictionRecord]) -> VersionWindow:
        labelled = list(self._labelled(model, rows))
        classified = [(row, label) for row, label in labelled if row.prediction is not None]
        outputs = Counter(row.prediction for row in rows if row.prediction is not None)
        misses = [miss for row, label in labelled if row.prediction is None and (miss := _miss(row, label)) is not None]
        scores = [row.score for row in rows if row.score is not None]
        latencies = sorted(row.latency_us / 1000 for row in rows)
        p50, p95, p99 = (latencies[floor(level * len(rows))] for level in (0.5, 0.95, 0.99))
        return VersionWindow(
            model=model,
            version=version,
            window=window,
            count=len(rows),
            errors=sum(row.error is not None for row in rows),
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            latency_p99_ms=p99,
            outputs=dict(outputs),
            mean_score=sum(scores) / len(scores) if scores else None,
            labelled=len(labelled),
            correct=sum(row.prediction == label.label for row, label in classified)
            if classified or (outputs and not labelled)
            else None,
            labels=dict(Counter(label.label for _, label in classified)),
            mean_absolute_error=sum(misses) / len(misses) if misses else None,
            last_label_at=max((datetime.fromtimestamp(label.at / 1e6, UTC) for _, label in labelled), default=None),
        )


def _usage(model: str, version: str, window: Window, usages: list[Usage]) -> TokenUsage:
    times = sorted(usage.first_token_us / 1000 for usage in usages if usage.first_token_us is not None)
    priced: defaultdict[str, list[Usage]] = defaultdict(list)
    for usage in usages:
        if usage.currency is not None:
            priced[usage.currency].append(usage)
    return TokenUsage(
        model=model,
        version=version,
        window=window,
        calls=len(usages),
        counted=sum(usage.prompt_tokens is not None and usage.completion_tokens is not None for usage in usages),
        prompt_tokens=sum(usage.prompt_tokens or 0 for usage in usages),
        completion_tokens=sum(usage.completion_tokens or 0 for usage in usages),
        first_token_mean_ms=sum(times) / len(times) if times else None,
        first_token_p50_ms=times[floor(0.5 * len(times))] if times else None,
        first_token_p95_ms=times[floor(0.95 * len(times))] if times else None,
        finishes=dict(Counter(usage.finish for usage in usages if usage.finish is not None)),
        costs=tuple(
            TokenCost(
                currency=currency,
                amount=sum((Decimal(usage.cost or 0) for usage in some), Decimal(0)),
                calls=len(some),
                tokens=sum((usage.prompt_tokens or 0) + (usage.completion_tokens or 0) for usage in some),
            )
            for currency, some in sorted(priced.items())
        ),
    )


def _without(rows: list[PredictionRecord], left_out: Iterable[LeftOut]) -> list[PredictionRecord]:
    spans = [(_micros(each.window.start), _micros(each.window.end)) for each in left_out]
    return [row for row in rows if not any(start <= row.at < end for start, end in spans)]


def _about(left_out: Iterable[LeftOut], feature: str) -> list[LeftOut]:
    return [each for each in left_out if feature in each.features]


def _miss(row: PredictionRecord | ShadowRecord, label: LabelRecord) -> float | None:
    number = _number(label.label)
    miss = abs(row.score - number) if row.score is not None and number is not None else None
    return miss if miss is not None and isfinite(miss) else None


def _values(given: Iterable[float | None]) -> Values:
    known = [value for value in given if value is not None]
    return Values(count=len(known), total=sum(known), squares=sum(value * value for value in known))


def _costs(rows: Iterable[PredictionRecord | ShadowRecord], cpu_hour: float, currency: str | None = None) -> Values | None:
    costs = _values(_cost(row, cpu_hour, currency) for row in rows)
    return costs if costs.count else None


def _cost(row: PredictionRecord | ShadowRecord, cpu_hour: float, currency: str | None) -> float | None:
    cpu = None if row.cpu_us is None else row.cpu_us * cpu_hour / 3.6e9
    if currency is None or isinstance(row, ShadowRecord) or not isinstance(row.usage, Usage):
        return cpu
    known = row.usage.cost is not None and row.usage.currency == currency
    return float(row.usage.cost or 0) + (cpu or 0.0) if known else None


def _twentieth(score: float | None) -> int | None:
    return min(19, floor(score * 20)) if score is not None and 0 <= score <= 1 else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _profile(name: str, kind: FeatureKind, values: list[Any], like: FeatureProfile | None) -> FeatureProfile:
    filled = [value for value in values if value is not None]
    profile = FeatureProfile(name=name, kind=kind, count=len(values), nulls=len(values) - len(filled))
    shape = like if like is not None and like.kind == kind else None
    if kind == "categorical":
        found = Counter(filled)
        frequent = sorted(found, key=lambda value: (-found[value], value.encode()))[:CATEGORIES]
        categories = shape.categories if shape is not None else tuple(frequent)
        named = [found[value] for value in categories]
        return profile.model_copy(update={"categories": categories, "counts": (*named, len(filled) - sum(named))})
    ordered = sorted(filled)
    bins = (
        shape.edges
        if shape is not None
        else edges((_quantile(ordered, level) for level in levels()), max(ordered, default=None))
    )
    places = Counter(bisect_right(bins, value) for value in filled)
    known = {"mean": sum(filled) / len(filled), "minimum": ordered[0], "maximum": ordered[-1]} if filled else {}
    return profile.model_copy(update={**known, "edges": bins, "counts": tuple(places[place] for place in range(len(bins) + 1))})


def _exact(values: Iterable[float], levels: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered[floor(level * len(ordered))] for level in levels]


def _quantile(ordered: list[float], level: float) -> float:
    """Between the two values that it falls between, in proportion."""
    if not ordered:
        return float("nan")
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] * (below + 1 - place) + ordered[above] * (place - below)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND


def _work(start: datetime, shadow: bool, version: str, rows: Sequence[PredictionRecord | ShadowRecord]) -> Work:
    used = [row.usage for row in rows if isinstance(row, PredictionRecord) and isinstance(row.usage, Usage)]
    return Work(
        start=start,
        version=version,
        shadow=shadow,
        predictions=len(rows),
        cpu_seconds=Decimal(sum(round((row.cpu_us or 0) * 10) for row in rows)) / 10_000_000,
        prompt_tokens=sum(each.prompt_tokens or 0 for each in used),
        completion_tokens=sum(each.completion_tokens or 0 for each in used),
    )
