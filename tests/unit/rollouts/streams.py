"""Rollouts as they would be measured, minute by minute, from two rates."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from agents.rollout_facts import Counts, Period
from agents.sequential.shares import Shares
from tools.values import Window

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def drawn(
    rng: np.random.Generator, rollouts: int, minutes: int, canary: float, control: float, per_minute: int = 1_000
) -> Shares:
    sent = rng.binomial(per_minute, 0.1, (rollouts, minutes))
    others = per_minute - sent
    return Shares.of(sent, rng.binomial(sent, canary), others, rng.binomial(others, control))


def one(shares: Shares, place: int) -> Shares:
    return Shares(*(each[place] for each in vars(shares).values()))


def periods(shares: Shares, begin: datetime = START, made_of: Callable[[int, int], Counts] | None = None) -> tuple[Period, ...]:
    """Of one rollout; what is bad are wrong answers, unless `made_of` (all, bad) says otherwise."""

    def wrong(count: int, bad: int) -> Counts:
        return Counts(predictions=count, labelled=count, wrong=bad)

    counted = made_of or wrong
    columns = [[int(value) for value in each] for each in vars(shares).values()]
    return tuple(
        Period(
            window=Window(start=begin + place * MINUTE, end=begin + (place + 1) * MINUTE),
            canary=counted(ours, bad),
            control=counted(theirs, other_bad),
        )
        for place, (ours, bad, theirs, other_bad) in enumerate(zip(*columns, strict=True))
    )
