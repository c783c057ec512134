"""Faults of the kind that spoil a retraining in real life, made for drills and never on by default.

A fault damages what training sees. It leaves what the model is served untouched, and nothing in the registry tells of it:
whoever looks into the bad version has to find out from how it does.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pipelines.flights import CATEGORICAL, Flights

LOST_ARRIVALS = "lost-arrivals"


@dataclass(frozen=True)
class LostArrivals:
    """The arrival messages of some airports' flights never came, and the batch took silence for being on time.

    It spoils the labels of validation and training alike, so the version looks good on paper.
    """

    origins: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`lost-arrivals:JFK,LGA`; raises ValueError."""
        kind, _, origins = text.partition(":")
        if kind != LOST_ARRIVALS or not origins:
            raise ValueError(f"{text!r} is no fault: write {LOST_ARRIVALS}:ORIGIN[,ORIGIN...], e.g. {LOST_ARRIVALS}:JFK,LGA")
        return cls(tuple(origins.split(",")))

    def spoil(self, flights: Flights) -> Flights:
        names = flights.names[CATEGORICAL.index("origin")]
        unknown = set(self.origins) - set(names)
        if unknown:
            raise ValueError(f"no flight starts in {', '.join(sorted(unknown))}: use {', '.join(names)}")
        lost = np.isin(flights.codes[:, CATEGORICAL.index("origin")], [names.index(origin) for origin in self.origins])
        return replace(flights, late=flights.late & ~lost)
