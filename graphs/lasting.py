"""Whether drift is still there by fresh evidence, or one odd hour is looked at again and again.

Windows that end an hour apart share almost all of their hours: one that is odd enough moves a whole day's window, and that for
a day. What moved therefore has to have moved in stretches at the window's end as well, one after the other, that share
nothing. An odd hour lies in one of them, or in two where it crosses their border, and never in three.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta

from agents.drift.causes import DriftFinding, DriftObservations, explain, pairs
from agents.drift.verdicts import Comparison, compare
from agents.policies import Drift
from graphs.gathering import Sources
from tools.predictions.port import PredictionReader
from tools.tables.port import Distributions
from tools.values import LeftOut, Window

_APART = 3
"""Stretches that share nothing: more of them are not asked for, however many windows policy wants in a row."""


async def lasts(
    model: str,
    seen: DriftObservations,
    found: DriftFinding,
    predictions: PredictionReader,
    rules: Drift,
    every: timedelta,
    without: Sequence[LeftOut] = (),
) -> bool:
    """Whether what moved has moved by fresh evidence, beyond what the same hours of earlier seasons were like. `every`: how far
    apart windows end. Asked of inputs alone: labels come late, and one hour in a day is within what policy lets labels and
    accuracy move.

    Raises TemporaryError or PermanentError when the window's end cannot be read.
    """
    if found.cause != "covariate_drift":
        return True

    async def moved(stretch: Window) -> frozenset[str]:
        now = await predictions.distributions(model, stretch, version=seen.current.version, like=seen.reference)
        if now.rows < rules.rules.min_rows:
            return frozenset()
        sources, earlier = Sources(), []
        for place in range(rules.seasons):
            before = stretch.shifted(-rules.season * (place + 1))
            question = predictions.distributions(model, before, like=seen.reference, without=without)
            earlier.append(await sources.ask("predictions", question, Distributions(window=before, rows=0)))
        part = DriftObservations(reference=seen.reference, current=now, earlier=tuple(each for each in earlier if each.rows))
        told = await asyncio.to_thread(explain, part, rules.rules)
        return frozenset() if told.cause == "seasonality" else _moved(told.features)

    return await _in_fresh_stretches(seen.current.window, every, rules.in_a_row, _moved(found.features), moved)


async def lasts_beside(
    model: str,
    learnt: Distributions,
    current: Distributions,
    found: Comparison,
    predictions: PredictionReader,
    rules: Drift,
    every: timedelta,
) -> bool:
    """The same of inputs that are unlike those of the training."""

    async def moved(stretch: Window) -> frozenset[str]:
        now = await predictions.distributions(model, stretch, version=current.version, like=learnt)
        if now.rows < rules.rules.min_rows:
            return frozenset()
        return _moved(await asyncio.to_thread(compare, pairs(learnt.features, now.features), rules.rules))

    return await _in_fresh_stretches(current.window, every, rules.in_a_row, _moved(found), moved)


async def _in_fresh_stretches(
    current: Window,
    every: timedelta,
    in_a_row: int,
    features: frozenset[str],
    moved: Callable[[Window], Awaitable[frozenset[str]]],
) -> bool:
    """Whether one of the features moved in each of the last stretches of some length: the shorter, the sooner a lasting drift
    is told; the longer, the smaller it may be."""
    if every >= current.length:
        return True  # No two windows share anything.
    for length in _lengths(every, current.length):
        left = features
        for place in range(min(in_a_row, _APART)):
            end = current.end - place * length
            left &= await moved(Window(start=end - length, end=end))
            if not left:
                break
        if left:
            return True
    return False


def _lengths(every: timedelta, whole: timedelta) -> Iterator[timedelta]:
    length = every
    while length < whole:
        yield length
        length *= 2
    yield whole


def _moved(found: Comparison) -> frozenset[str]:
    return frozenset(each.name for each in found.features if each.drifted)
