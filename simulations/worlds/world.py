"""One model and what happens to it, from a scenario and a seed, moment by moment.

What is drawn in a stretch of five minutes depends on the seed and the stretch alone, so the platform's looks and moves change
who answers, and never who asks.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from simulations.worlds import population
from simulations.worlds.breaking import broken
from simulations.worlds.faults import (
    Concept,
    LabelsOneClass,
    LabelsShuffled,
    LabelsStop,
    Leak,
    Prior,
    Shift,
    Starve,
    Surge,
    Upstream,
)
from simulations.worlds.memory import Answer, Memory, Outcome
from simulations.worlds.population import NUMBERS, Array, Requests
from simulations.worlds.scenario import Scenario, Version
from simulations.worlds.service import Load, leaked, load
from simulations.worlds.serving import WorldServing
from tools.predictions.records import LabelRecord, PredictionRecord

STEP = timedelta(minutes=5)
_DAY = timedelta(days=1)
_ORDINARY_ERRORS = 0.001
"""Clients that leave, and the like."""
_SPREAD = 0.3
"""Of the logarithm of the time that the work of a request takes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday; the seed says which hour of which day is watched first."""
_LABELS = (LabelsStop, LabelsShuffled, LabelsOneClass)
_EXTRA = 6
"""Times as many are drawn, of whom those are picked that make the wanted share of a class."""


@dataclass(frozen=True)
class _Stretch:
    """Requests that have come, and nobody has answered yet."""

    at: Array
    """Microseconds since the epoch."""
    requests: Requests
    features: dict[str, list[Any]]
    chance: Array
    """Uniform numbers, one column for each thing that is up to chance in an answer."""


class World:
    def __init__(self, scenario: Scenario, seed: int, model: str) -> None:
        self.scenario = scenario
        self.model = model
        self._seed = [seed, *scenario.name.encode()]
        rng = np.random.default_rng([*self._seed, 0])
        self.start = _FIRST + timedelta(days=int(rng.integers(0, 5)), hours=int(rng.integers(7, 15)))
        self._law = population.true_law(rng, scenario.traffic.difficulty)
        self._laws = {name: self._made(version, name) for name, version in scenario.versions.items()}
        self._versions = dict(scenario.versions)
        self._phases = rng.uniform(0, 2 * math.pi, (3, len(NUMBERS)))
        self.now = self.start
        serving = scenario.serving
        self.serving = WorldServing(self, scenario.champion, frozenset(scenario.versions), serving.workers, serving.limit)
        self.memory = Memory()
        self._stretch: _Stretch | None = None
        self._fresh: list[PredictionRecord | LabelRecord] = []
        self._labels: list[tuple[int, int, str | None, str]] = []
        """When it arrives, of which request, what that was answered, and what came true."""
        self._number = self._known = self._right = 0
        self.loads: list[tuple[datetime, Load]] = []

    # What the platform is given.

    def history(self) -> Iterator[list[PredictionRecord | LabelRecord]]:
        """The traffic before the beginning, day by day, with the labels that have come by then."""
        begin = self.start - self.scenario.traffic.history
        place = 0
        while begin < self.start:
            end = min(begin + _DAY, self.start)
            rng = np.random.default_rng([*self._seed, 1, place])
            step = timedelta(hours=1)
            while begin < end:
                until = min(begin + step, end)
                stretch = self._come(rng, begin, until, faults=False)
                self._answer(stretch, slice(None), self._load_at(begin, faults=False))
                begin = until
            place += 1
            self._arrive()
            yield self.written()

    def flow_to(self, moment: datetime) -> None:
        """Let everything happen until `moment`."""
        while self.now < moment:
            place = (self.now - self.start) // STEP
            begin, end = self.start + place * STEP, self.start + (place + 1) * STEP
            if self.now == begin:
                self._stretch = self._come(np.random.default_rng([*self._seed, 2, place]), begin, end, faults=True)
            until = min(moment, end)
            assert self._stretch is not None
            first, last = np.searchsorted(self._stretch.at, [_micros(self.now), _micros(until)])
            found = self._load_at(self.now, faults=True)
            self.loads.append((self.now, found))
            self._answer(self._stretch, slice(int(first), int(last)), found)
            self.now = until
        self._arrive()

    def written(self) -> list[PredictionRecord | LabelRecord]:
        """What has come to be since it was asked before: answers, and labels of any age."""
        found = list(self._fresh)
        self._fresh.clear()
        return found

    @property
    def accuracy(self) -> float:
        """Of the history, as far as its labels had come."""
        return self._right / self._known

    def train(self, version: str, until: datetime) -> None:
        """A version that has learnt the world as it is at `until`, as well as the history's had the one before."""
        champion = self.scenario.versions[self.scenario.champion]
        self._versions[version] = Version(weakness=champion.weakness)
        rng = np.random.default_rng([*self._seed, 5, *version.encode()])
        self._laws[version] = population.learnt(self._law_at(until), champion.weakness, rng)
        self.serving.add(version)

    # What `serving` asks.

    @property
    def utilisation(self) -> float:
        return self._load_at(self.now, faults=True).utilisation

    def changing(self) -> None:
        """Nothing: whoever moves the clock has let everything happen until now."""

    def reading(self, name: str, at: datetime) -> float:
        """Of the machine: `processors` or `memory`, as shares of what there is."""
        found = next((each for moment, each in reversed(self.loads) if moment <= at), None)
        if at < self.start or found is None:
            found = self._load_at(at, faults=False)
        value: float = getattr(found, name)
        return value

    # How it goes.

    def _made(self, version: Version, name: str) -> population.Law:
        return population.learnt(self._law, version.weakness, np.random.default_rng([*self._seed, 3, *name.encode()]))

    def _faults(self, kind: type[Any] | tuple[type[Any], ...], at: datetime) -> Iterator[tuple[Any, float]]:
        for fault in self.scenario.faults:
            if isinstance(fault, kind) and (strength := fault.strength(at - self.start)) > 0:
                yield fault, strength

    def _law_at(self, at: datetime) -> population.Law:
        law = self._law
        for fault, strength in self._faults(Concept, at):
            law = population.turned(law, fault.features, strength)
        return law

    def _rate(self, at: datetime) -> float:
        """Times an average hour."""
        hour = at.hour + at.minute / 60
        weekend = 0.75 if at.weekday() >= 5 else 1.0
        return (1 + 0.5 * math.sin((hour - 8) * math.pi / 12)) * weekend

    def _level(self, at: datetime) -> Array:
        """Where the middle of each number lies at this hour: days, weeks and seasons have their own."""
        days = (at - _EPOCH) / _DAY
        waves = (0.12, 1.0), (0.06, 7.0), (0.04, 23.0)
        return sum(
            (
                height * np.sin(2 * math.pi * days / length + self._phases[place])
                for place, (height, length) in enumerate(waves)
            ),
            start=np.zeros(len(NUMBERS)),
        )

    def _come(self, rng: np.random.Generator, begin: datetime, end: datetime, *, faults: bool) -> _Stretch:
        hours = (end - begin) / timedelta(hours=1)
        expected = self.scenario.traffic.per_hour * self._rate(begin) * hours
        level, law = self._level(begin), self._law
        if faults:
            law = self._law_at(begin)
            for surge, strength in self._faults(Surge, begin):
                expected *= 1 + (surge.factor - 1) * strength
        rows = int(rng.poisson(expected))
        priors = list(self._faults(Prior, begin)) if faults else []
        numbers, words = population.drawn(rng, rows * (_EXTRA if priors else 1), level)
        if faults:
            for shift, strength in self._faults(Shift, begin):
                for name, by in shift.features.items():
                    place = NUMBERS.index(name)
                    wider = 1 + (shift.widen - 1) * strength
                    numbers[:, place] = (numbers[:, place] - level[place]) * wider + level[place] + by * strength
        odds = law.odds(numbers, words)
        true = rng.random(len(odds)) < population.share(odds)
        for prior, strength in priors:
            taken = _with_prior(rng, true, rows, prior.by * strength)
            numbers, words, odds, true = numbers[taken], words[taken], odds[taken], true[taken]
        requests = Requests(numbers, words, odds, true)
        features: dict[str, list[Any]] = {name: values.tolist() for name, values in population.shown(numbers).items()}
        features |= population.said(words)
        if faults:
            features = broken(features, rng, self.scenario.faults, begin - self.start)
        span = _micros(end) - _micros(begin)
        at = np.sort(rng.integers(0, span, len(true))) + _micros(begin)
        return _Stretch(at, requests, features, rng.random((len(true), 6)))

    def _load_at(self, at: datetime, *, faults: bool) -> Load:
        demand, stolen = self._rate(at), 0.0
        hours, per_hour = 0.0, 0.0
        weights = self.serving.weights if faults else {self.scenario.champion: 100}
        if faults:
            for surge, strength in self._faults(Surge, at):
                demand *= 1 + (surge.factor - 1) * strength
            for starve, strength in self._faults(Starve, at):
                stolen = 1 - (1 - stolen) * (1 - starve.share * strength)
            for leak, _ in self._faults(Leak, at):
                if leak.version is None or weights.get(leak.version):
                    hours, per_hour = (at - self.start - leak.at) / timedelta(hours=1), leak.per_hour
        demand *= sum(self._versions[name].slower * weight / 100 for name, weight in weights.items())
        workers = self.serving.workers if faults else self.scenario.serving.workers
        return load(self.scenario.serving, workers, demand, stolen, leaked(hours, per_hour))

    def _answer(self, stretch: _Stretch, part: slice, found: Load) -> None:
        at, chance = stretch.at[part], stretch.chance[part]
        rows = len(at)
        if not rows:
            return
        moment = _moment(int(at[0]))
        live = moment >= self.start
        weights = self.serving.weights if live else {self.scenario.champion: 100}
        versions = [name for name in sorted(weights) if weights[name]]
        bounds = np.cumsum([weights[name] for name in versions]) / 100
        who = np.minimum(np.searchsorted(bounds, chance[:, 0], side="right"), len(versions) - 1)
        features = {name: values[part] for name, values in stretch.features.items()}
        numbers, words = _understood(features), population.known(features)
        scores = np.zeros(rows)
        slower, failing = np.ones(rows), np.full(rows, _ORDINARY_ERRORS)
        for place, name in enumerate(versions):
            its = who == place
            scores[its] = population.share(self._laws[name].odds(numbers[its], words[its]))
            slower[its], failing[its] = self._versions[name].slower, failing[its] + self._versions[name].errors
        waits = 1.0
        failing = 1 - (1 - failing) * (1 - found.lost)
        if live:
            for upstream, strength in self._faults(Upstream, moment):
                failing = 1 - (1 - failing) * (1 - upstream.share * strength)
                waits *= 1 + (upstream.slower - 1) * strength
        milliseconds = (
            self.scenario.serving.latency_ms * slower * found.slower * waits * np.exp(_SPREAD * _normal(chance[:, 1:3]))
        )
        failed = chance[:, 3] < failing
        self._note(at, [versions[each] for each in who], features, scores, milliseconds, failed)
        self._label(at, stretch.requests.true[part], failed, scores, chance)

    def _note(
        self, at: Array, versions: list[str], features: dict[str, list[Any]], scores: Array, milliseconds: Array, failed: Array
    ) -> None:
        names, answers = list(features), np.where(scores >= 0.5, "yes", "no").tolist()
        for n, values in enumerate(zip(*features.values(), strict=True)):
            self._fresh.append(
                PredictionRecord(
                    id=f"r{self._number + n:x}",
                    model=self.model,
                    version=versions[n],
                    at=int(at[n]),
                    entity=f"e{(self._number + n) * 7919 % 50_021:x}",
                    latency_us=int(milliseconds[n] * 1000),
                    features=dict(zip(names, values, strict=True)),
                    prediction=None if failed[n] else answers[n],
                    score=None if failed[n] else float(scores[n]),
                    error="timeout" if failed[n] else None,
                )
            )
        if at[0] >= _micros(self.start):
            for moment, took, lost in zip(at.tolist(), milliseconds.tolist(), failed.tolist(), strict=True):
                self.memory.answered(Answer(_moment(moment), took, lost))

    def _label(self, at: Array, true: Array, failed: Array, scores: Array, chance: Array) -> None:
        traffic = self.scenario.traffic
        mean = traffic.label_delay / timedelta(microseconds=1)
        # At least a third of the mean, and then as chance will have it.
        arrives = at + (mean * (1 / 3 - 2 / 3 * np.log1p(-chance[:, 5]))).astype(np.int64)
        comes = (chance[:, 4] < traffic.labelled).tolist()
        for n, turned_out in enumerate(true.tolist()):
            number = self._number + n
            if comes[n]:
                answer = None if failed[n] else ("yes" if scores[n] >= 0.5 else "no")
                heapq.heappush(self._labels, (int(arrives[n]), number, answer, "yes" if turned_out else "no"))
        self._number += len(at)

    def _arrive(self) -> None:
        """Labels whose time has come, as they arrive, if they do."""
        limit = _micros(self.now)
        while self._labels and self._labels[0][0] <= limit:
            at, number, answer, label = heapq.heappop(self._labels)
            moment = _moment(at)
            told = self._told(label, number, moment) if moment >= self.start else label
            if told is None:
                continue
            self._fresh.append(LabelRecord(id=f"r{number:x}", model=self.model, at=at, label=told))
            if answer is None:
                continue
            if moment >= self.start:
                self.memory.turned_out(Outcome(moment, answer == told))
            else:
                self._known, self._right = self._known + 1, self._right + (answer == told)

    def _told(self, label: str, number: int, arrived: datetime) -> str | None:
        """What it says when it comes; None: it is lost."""
        faults = [*self._faults(_LABELS, arrived)]
        if not faults:
            return label
        rng = np.random.default_rng([*self._seed, 4, number])
        for fault, strength in faults:
            struck = rng.random()
            match fault:
                case LabelsStop(kept=kept) if struck < (1 - kept) * strength:
                    return None
                case LabelsShuffled(share=share) if struck < share * strength:
                    label = "yes" if rng.random() < 0.5 else "no"
                case LabelsOneClass(label=said) if struck < strength:
                    label = said
        return label


def _understood(features: dict[str, list[Any]]) -> Array:
    """What a model makes of its features: standardised as it has learnt to, and the middle where there is no value."""
    columns = []
    for name in NUMBERS:
        given = np.array([population.LEVELS[name] if value is None else value for value in features[name]], dtype=float)
        columns.append((given - population.LEVELS[name]) / population.SPREADS[name])
    return np.stack(columns, axis=1)


def _with_prior(rng: np.random.Generator, true: Array, rows: int, by: float) -> Array:
    """Of more than are wanted, so many that the share of positive ones is another by `by`; in random order."""
    positive, negative = np.flatnonzero(true), np.flatnonzero(~true)
    share = len(positive) / max(1, len(true))
    wanted = round(min(0.97, max(0.03, share + by)) * rows)
    taken = np.concatenate([positive[:wanted], negative[: rows - wanted]])
    return rng.permutation(taken)[:rows]


def _normal(uniform: Array) -> Array:
    """Box and Muller: a normal number of two uniform ones."""
    found: Array = np.sqrt(-2 * np.log1p(-uniform[:, 0])) * np.cos(2 * math.pi * uniform[:, 1])
    return found


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
