"""Who asks, and what becomes of them: the features of requests, and the law by which they turn out `yes` or `no`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBERS = ("amount", "income", "tenure", "distance", "recency", "load")
WORDS = ("channel", "region")
_VALUES = {"channel": ("web", "app", "shop", "phone"), "region": ("north", "south", "east", "west")}
_SHARES = {"channel": (0.45, 0.3, 0.15, 0.1), "region": (0.4, 0.3, 0.2, 0.1)}
LEVELS = {"amount": 120.0, "income": 3200.0, "tenure": 48.0, "distance": 14.0, "recency": 9.0, "load": 0.6}
"""Of the middle request, in each feature's own unit."""
SPREADS = {"amount": 35.0, "income": 800.0, "tenure": 14.0, "distance": 4.0, "recency": 2.5, "load": 0.15}
_CLARITY = 4.5
"""Standard deviation of the log odds: with it nine of ten can be told."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Requests:
    """Standardised numbers (mean 0, deviation 1) and indices of words, one row a request, and what it turns out to be."""

    numbers: Array
    words: Array
    odds: Array
    true: Array


@dataclass(frozen=True)
class Law:
    """The log odds: weights of the standardised numbers, and of each word."""

    numbers: Array
    words: tuple[Array, ...]
    intercept: float

    def odds(self, numbers: Array, words: Array) -> Array:
        found: Array = numbers @ self.numbers + self.intercept
        for place, weights in enumerate(self.words):
            # Behind the last one: a word that nobody has learnt says nothing.
            found = found + np.append(weights, 0.0)[words[:, place]]
        return found


def true_law(rng: np.random.Generator, difficulty: float) -> Law:
    """The last number says nothing."""
    weights = rng.uniform(0.5, 1.0, len(NUMBERS)) * rng.choice([-1.0, 1.0], len(NUMBERS))
    weights[-1] = 0.0
    weights *= _CLARITY / difficulty / float(np.linalg.norm(weights))
    words = tuple(rng.uniform(-0.4, 0.4, len(_VALUES[name])) for name in WORDS)
    return Law(weights, words, float(rng.uniform(-0.4, 0.4)))


def learnt(law: Law, weakness: float, rng: np.random.Generator) -> Law:
    """What a version makes of it: near, and the further away the weaker it is."""
    size = float(np.linalg.norm(law.numbers))
    noise = rng.normal(0.0, 1.0, len(NUMBERS))
    noise *= size / float(np.linalg.norm(noise))
    near = law.numbers * rng.uniform(0.9, 1.1, len(NUMBERS))
    return Law((1 - weakness) * near + weakness * noise, law.words, law.intercept)


def turned(law: Law, factors: Mapping[str, float], strength: float) -> Law:
    """With the weights of these features by so much other ones."""
    weights = law.numbers.copy()
    for name, factor in factors.items():
        place = NUMBERS.index(name)
        weights[place] *= 1 + (factor - 1) * strength
    return Law(weights, law.words, law.intercept)


def drawn(rng: np.random.Generator, rows: int, level: Array) -> tuple[Array, Array]:
    """`level`: how far the middle of each number lies from its usual one at this hour, in deviations."""
    numbers = rng.normal(0.0, 1.0, (rows, len(NUMBERS))) + level
    words = np.stack([rng.choice(len(_VALUES[name]), rows, p=_SHARES[name]) for name in WORDS], axis=1)
    return numbers, words


def share(odds: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-odds))
    return found


def shown(numbers: Array) -> dict[str, Array]:
    """In each feature's own unit, as a request carries it."""
    return {name: np.round(LEVELS[name] + SPREADS[name] * numbers[:, place], 4) for place, name in enumerate(NUMBERS)}


def said(words: Array) -> dict[str, list[str]]:
    return {name: [_VALUES[name][each] for each in words[:, place]] for place, name in enumerate(WORDS)}


def known(features: Mapping[str, list[Any]]) -> Array:
    """Indices of words, as `said` spells them; one behind the last for any other."""
    places = {name: {word: place for place, word in enumerate(words)} for name, words in _VALUES.items()}
    return np.array([[places[name].get(each, len(places[name])) for each in features[name]] for name in WORDS]).T
