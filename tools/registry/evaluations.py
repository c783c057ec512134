"""What an evaluation measured of a candidate and a champion on the same rows: written by the job that measures, kept with the
candidate, read by whoever decides. What the job of a training writes is a claim; what decides is signed (`signing.py`)."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tools.values import Frozen, Instant, Window

KEY = "OPPEN_EVALUATION_KEY"
"""The variable that an evaluation job finds the key in which it signs with. No policy can name it for a training."""

Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

FOLDER = "evaluations"
_SIGNED = re.compile(rf"{FOLDER}/signed-beside-(?P<champion>[0-9]{{1,9}})\.json")
_LEAST_RESAMPLES = 200
"""Below it the tail of a bootstrap at 5 % rests on fewer than ten values."""


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


class Limited(Frozen):
    """A measure of both that is held against a factor: milliseconds at one batch size, or bytes. Lower is better."""

    name: Name
    """`latency_p50_ms`, `latency_p99_ms`, with the batch size where there are several (`latency_p99_ms@32`); `size_bytes`."""
    candidate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    champion: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Fairness(Frozen):
    """Largest difference between groups of enough rows, as fairlearn computes it; between all where fewer than two have so
    many."""

    name: Name
    """`demographic_parity_difference:sex`, `equalized_odds_difference:age_band`."""
    candidate: Annotated[float, Field(ge=0, le=1)]
    champion: Annotated[float, Field(ge=0, le=1)]
    smallest_group: Count
    """Rows of the smallest that was compared; where it is small the gap is not judged."""
    left_out: tuple[Annotated[str, Field(max_length=60)], ...] = ()
    """Groups with too few rows, the largest first: they are in neither figure. A few of them by name, `left_out_groups` counts
    all."""
    left_out_groups: Count = 0
    left_out_rows: Count = 0


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


CheckName = Literal["security", "schema", "smoke", "load"]
CHECKS: tuple[CheckName, ...] = ("security", "schema", "smoke", "load")


class StagingCheck(Frozen):
    """Whether the files of a candidate may be served at all, whatever its figures.

    `security`: nothing in them can run code; `schema`: it takes what the champion takes, and answers the same question;
    `smoke`: it answers real rows, and unknown values; `load`: it answers the same when it is asked from several sides at once.
    """

    name: CheckName
    ok: bool
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    """What was looked at, or what is wrong."""


class Evaluation(Frozen):
    """Of `version` beside `champion`."""

    model: Name
    version: Name
    champion: Name
    held_out: Window | None
    recent: Window | None
    facts: Facts
    staging: tuple[StagingCheck, ...] = ()
    """In the order in which they were made: what comes after one that failed was not tried."""
    seen_until: Instant | None = None
    """Until when, where the candidate has learnt from data that reaches into these rows, by its own tag `data.to`. Its figures
    are then too good."""
    unread_end: Annotated[str, Field(max_length=200)] = ""
    """That tag, where it is no time: then nobody knows whether it has learnt from these rows."""
    measured_at: Instant
    asked_at: Instant | None = None
    """By the platform's clock, which is what its rows go by; None for a claim, and for what was left by an earlier build."""
    job: Annotated[str, Field(max_length=100)] = ""
    """The platform's job that measured it; empty for a claim."""
    artefact: Annotated[str, Field(max_length=64)] = ""
    """SHA-256 of the candidate's files as they were measured (`tools.registry.signing.digest`)."""
    champion_artefact: Annotated[str, Field(max_length=64)] = ""
    """The same of the champion's: what was beaten."""

    @property
    def of(self) -> datetime:
        """The moment whose rows it speaks of."""
        return self.asked_at or self.measured_at


def artifact(champion: str) -> str:
    """Where a training may leave its claim, among the artifacts of the run that made the candidate."""
    return f"{FOLDER}/beside-{champion}.json"


def signed_artifact(champion: str) -> str:
    """Where the platform's own job leaves its evaluation there. Whoever may train may write to it too: hence the signature."""
    return f"{FOLDER}/signed-beside-{champion}.json"


def champion_of(path: str) -> str | None:
    """Beside which champion that is; None for another file."""
    found = _SIGNED.fullmatch(path)
    return found.group("champion") if found is not None else None
