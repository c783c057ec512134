"""Worlds whose data moves for a known reason: a classifier, its traffic in some windows, and labels that come for part of it.

Four numbers and a category make a customer's odds, the others are idle; the model has learnt these odds as they were in the
reference, none too well. `draw` gives the traffic of one window with one cause at work in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from tools.predictions.records import LabelRecord, PredictionRecord
from tools.values import Window

CAUSES = ("none", "covariate_drift", "label_shift", "concept_drift", "data_quality", "seasonality")
NUMBERS = tuple(f"number{place}" for place in range(6))
WORDS = ("region", "channel")
_REGIONS = ("north", "south", "east", "west")
_CHANNELS = ("web", "app", "shop", "phone", "post")

Columns = dict[str, np.ndarray[Any, Any]]
Change = Callable[[Columns], Columns]


@dataclass(frozen=True)
class Law:
    """How customers are drawn and what becomes of them."""

    weights: np.ndarray[Any, Any]
    """Of each number in the log odds."""
    region_weights: np.ndarray[Any, Any]
    intercept: float

    def odds(self, columns: Columns) -> np.ndarray[Any, Any]:
        numbers = np.stack([columns[name] for name in NUMBERS], axis=1)
        regions = np.array([_REGIONS.index(each) for each in columns["region"]])
        found: np.ndarray[Any, Any] = numbers @ self.weights + self.region_weights[regions] + self.intercept
        return found


class World:
    """One model and what happens to it, all drawn from `seed`."""

    def __init__(self, seed: int, cause: str) -> None:
        self.rng = np.random.default_rng([seed, CAUSES.index(cause)])
        self.cause = cause
        rng = self.rng
        weights = rng.uniform(0.5, 1.3, len(NUMBERS)) * rng.choice([-1, 1], len(NUMBERS))
        weights[4:] = 0.0
        self.law = Law(weights, rng.uniform(-0.6, 0.6, len(_REGIONS)), float(rng.uniform(-0.5, 0.5)))
        self.learnt = Law(
            weights * rng.uniform(0.7, 1.3, len(NUMBERS)), self.law.region_weights * 0.8, self.law.intercept + 0.1
        )
        self.changed = self.law
        self.change: Change = _unchanged
        self.prior: float | None = None
        """By how much the share of the positive ones moves."""
        self.broken: Callable[[str, np.ndarray[Any, Any]], list[Any]] | None = None
        self.detail = ""
        getattr(self, f"_{cause}")()

    def _none(self) -> None:
        self.detail = "nothing changes"

    def _covariate_drift(self) -> None:
        names = self.rng.choice(NUMBERS, int(self.rng.integers(1, 4)), replace=False)
        by = {str(name): float(self.rng.uniform(0.2, 0.9) * self.rng.choice([-1, 1])) for name in names}
        wider = float(self.rng.choice([1.0, 1.0, 1.5]))
        self.detail = f"moved, in standard deviations: {by}, {wider:g} times as wide"
        self.change = lambda columns: {
            **columns,
            **{name: (columns[name] - 1.0) * wider + 1.0 + shift for name, shift in by.items()},
        }

    def _seasonality(self) -> None:
        self._covariate_drift()
        self.detail = f"in these hours of every week {self.detail}"

    def _label_shift(self) -> None:
        self.prior = float(self.rng.uniform(0.12, 0.35) * self.rng.choice([-1, 1]))
        self.detail = f"the share of the positive ones moves by {self.prior:+.0%}"

    def _concept_drift(self) -> None:
        weights = self.law.weights.copy()
        strongest = np.argsort(-np.abs(weights))[: int(self.rng.integers(1, 3))]
        weights[strongest] *= -float(self.rng.uniform(0.5, 1.0))
        self.changed = Law(weights, self.law.region_weights, self.law.intercept)
        self.detail = f"the effect of {', '.join(NUMBERS[place] for place in strongest)} turns round"

    def _data_quality(self) -> None:
        kind = str(self.rng.choice(["null", "unit", "stuck", "category"]))
        name = str(self.rng.choice(NUMBERS if kind != "category" else WORDS))
        share = float(self.rng.uniform(0.1 if kind in ("null", "category") else 0.25, 0.9))
        factor = float(self.rng.choice([12.0, 25.4, 100.0, 1_000.0]))
        self.detail = f"{name}: {kind}, {share:.0%} of the rows" if kind != "unit" else f"{name}: {factor:g} times as much"

        def broken(column: str, values: np.ndarray[Any, Any]) -> list[Any]:
            if column != name:
                return list(values.tolist())
            if kind == "unit":
                return list((values * factor).tolist())
            hit = self.rng.random(len(values)) < share
            put = {"null": None, "stuck": float(values[0]) if kind == "stuck" else 0.0, "category": "unheard of"}[kind]
            return [put if struck else value for value, struck in zip(values.tolist(), hit, strict=True)]

        self.broken = broken

    def draw(self, window: Window, rows: int, labelled: float, *, hit: bool) -> Iterator[PredictionRecord | LabelRecord]:
        """`rows` predictions of a window; `labelled`: the share whose label comes; `hit`: whether the cause is at work."""
        # Of many more, where those with one label are picked from them.
        columns = self._columns(rows if self.prior is None or not hit else 20 * rows)
        if hit:
            columns = self.change(columns)
        law = self.changed if hit else self.law
        true = self.rng.random(len(columns["region"])) < _share(law.odds(columns))
        if hit and self.prior is not None:
            taken = self._with_prior(true, rows)
            columns, true = {name: values[taken] for name, values in columns.items()}, true[taken]
        scores = _share(self.learnt.odds(columns))
        came = self.rng.random(rows) < labelled
        shown = {name: self._shown(name, values, hit=hit) for name, values in columns.items()}
        begin, step = _micros(window.start), (window.length // rows) // timedelta(microseconds=1)
        for n in range(rows):
            id, at = f"{self.cause}-{begin + n * step:x}", begin + n * step
            features = {name: values[n] for name, values in shown.items()}
            answer = "yes" if scores[n] >= 0.5 else "no"
            yield PredictionRecord(id, self.model, "1", at, "customer", 2_000, features, answer, float(scores[n]))
            if came[n]:
                yield LabelRecord(id, self.model, at + 3_600_000_000, "yes" if true[n] else "no")

    model: str = "model"

    def _shown(self, name: str, values: np.ndarray[Any, Any], *, hit: bool) -> list[Any]:
        return self.broken(name, values) if hit and self.broken is not None else list(values.tolist())

    def _columns(self, rows: int) -> Columns:
        numbers = {name: self.rng.normal(1.0, 1.0, rows) for name in NUMBERS}
        return {
            **numbers,
            "region": self.rng.choice(_REGIONS, rows, p=[0.4, 0.3, 0.2, 0.1]),
            "channel": self.rng.choice(_CHANNELS, rows, p=[0.4, 0.25, 0.2, 0.1, 0.05]),
        }

    def _with_prior(self, true: np.ndarray[Any, Any], rows: int) -> np.ndarray[Any, Any]:
        """Of more than are wanted, so many that the share of positive ones moves by `prior`; in random order."""
        assert self.prior is not None
        positive, negative = np.flatnonzero(true), np.flatnonzero(~true)
        share = len(positive) / len(true)
        # Where there is no room on one side, it moves to the other.
        moved = share + self.prior if 0.05 <= share + self.prior <= 0.95 else share - self.prior
        wanted = round(moved * rows)
        taken = np.concatenate([positive[:wanted], negative[: rows - wanted]])
        return self.rng.permutation(taken)


def _share(odds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = 1 / (1 + np.exp(-odds))
    return found


def _unchanged(columns: Columns) -> Columns:
    return columns


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
