"""What faults do to the features of requests, as whoever sends them spoils them on their way."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from simulations.worlds.faults import Category, Fault, Nulls, Stale, Stuck, Unit
from simulations.worlds.population import LEVELS


def broken(
    features: dict[str, list[Any]], rng: np.random.Generator, faults: Sequence[Fault], since: timedelta
) -> dict[str, list[Any]]:
    """The features as they arrive at a moment, counted from the beginning of what is watched."""
    found = dict(features)
    for fault in faults:
        strength = fault.strength(since)
        if not strength:
            continue
        match fault:
            case Nulls(feature=name, share=share):
                found[name] = _put(found[name], None, share * strength, rng)
            case Unit(feature=name, factor=factor):
                by = 1 + (factor - 1) * strength
                found[name] = [None if value is None else round(value * by, 4) for value in found[name]]
            case Stuck(feature=name, share=share):
                found[name] = _put(found[name], round(LEVELS[name] * 1.05, 4), share * strength, rng)
            case Stale(features=names, share=share, default=default):
                # What has run out for an entity has for all of its features.
                gone = rng.random(len(found[names[0]])) < share * strength
                for name in names:
                    found[name] = [default if out else value for out, value in zip(gone, found[name], strict=True)]
            case Category(feature=name, value=value, share=share):
                found[name] = _put(found[name], value, share * strength, rng)
            case _:
                pass
    return found


def _put(values: list[Any], value: Any, share: float, rng: np.random.Generator) -> list[Any]:
    struck = rng.random(len(values)) < share
    return [value if hit else own for hit, own in zip(struck, values, strict=True)]
