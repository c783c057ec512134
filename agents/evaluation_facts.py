"""What was measured of a candidate and of the champion, side by side."""

import math
from statistics import NormalDist, stdev
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.statistics import mcnemar
from tools.values import Frozen

Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_LEAST_RESAMPLES = 200
"""Below it the tail of a bootstrap at 5 % rests on fewer than ten values."""
_RESOLVED = 10
"""So many resamples in the tail give its chance within a third."""


class Discordance(Frozen):
    """Rows that only one of the two got right: all that McNemar's test needs."""

    only_candidate_right: Count
    only_champion_right: Count


class Compared(Frozen):
    """One measure of both on the same rows."""

    name: Name
    """`accuracy`, `auc`, `calibration_error`; of a part of the rows `slice:country=NL` or `group:sex=f`."""
    window: Literal["held_out", "recent"]
    """Held out of both trainings, or the latest labelled traffic."""
    candidate: Finite
    champion: Finite
    better: Literal["higher", "lower"] = "higher"
    rows: Count
    discordance: Discordance | None = None
    resamples: tuple[Finite, ...] = ()
    """Candidate less champion on rows drawn with replacement, the same for both (paired bootstrap)."""

    @model_validator(mode="after")
    def _testable(self) -> Self:
        if self.resamples and len(self.resamples) < _LEAST_RESAMPLES:
            raise ValueError(f"resamples: {len(self.resamples)} are too few, at least {_LEAST_RESAMPLES} are needed")
        if self.discordance is not None:
            apart = self.discordance.only_candidate_right + self.discordance.only_champion_right
            if apart > self.rows:
                raise ValueError("discordance: there cannot be more rows that differ than there are")
        return self

    @property
    def gain(self) -> float:
        """Relative to the champion, positive where the candidate is better. Infinite where the champion has 0."""
        apart = self.candidate - self.champion if self.better == "higher" else self.champion - self.candidate
        if apart == 0:
            return 0.0
        return apart / abs(self.champion) if self.champion else math.copysign(math.inf, apart)

    def p_value(self, side: Literal["better", "worse"]) -> float | None:
        """One-sided: the chance of so much in favour of `side` without any difference. None where nothing was given to test
        by."""
        if self.discordance is not None:
            right, wrong = self.discordance.only_candidate_right, self.discordance.only_champion_right
            return mcnemar(right, wrong) if side == "better" else mcnemar(wrong, right)
        if not self.resamples:
            return None
        spread = stdev(self.resamples)
        if not spread:
            return 1.0
        sign = (1 if self.better == "higher" else -1) * (1 if side == "better" else -1)
        against = sum(1 for each in self.resamples if sign * each <= 0)
        if against >= _RESOLVED:
            return against / len(self.resamples)
        # Further out than the resamples reach: the tail of the normal distribution that they have the spread of.
        return 1 - NormalDist().cdf(sign * (self.candidate - self.champion) / spread)


class Limited(Frozen):
    """A measure of both that is held against a factor: milliseconds at one batch size, or bytes. Lower is better."""

    name: Name
    """`latency_p50_ms`, `latency_p99_ms`, with the batch size where there are several (`latency_p99_ms@32`); `size_bytes`."""
    candidate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    champion: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Fairness(Frozen):
    """Largest difference between groups, as fairlearn computes it."""

    name: Name
    """`demographic_parity_difference:sex`, `equalized_odds_difference:age_band`."""
    candidate: Annotated[float, Field(ge=0, le=1)]
    champion: Annotated[float, Field(ge=0, le=1)]
    smallest_group: Count
    """Rows of it; below `min_rows` the gap is not judged."""


class Facts(Frozen):
    compared: tuple[Compared, ...]
    limited: tuple[Limited, ...] = ()
    fairness: tuple[Fairness, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [f"{each.name} ({each.window})" for each in self.compared]
        names += [each.name for each in self.limited] + [each.name for each in self.fairness]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))}: given twice")
        return self
