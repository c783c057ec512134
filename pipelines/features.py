"""Feature definitions as code: what a view is called, whose values it has, and how raw rows become its rows.

A definition is a value and a pure function. Its version is a digest of both, and of every function and constant of ours that
the function reaches: change any of them and there is a new version, computed anew beside the old; change a comment and there
is none.

There are two kinds of view. One of facts has a row for each raw row ("the weather at JFK from 15:00 on"). One of aggregates has
what windows before a moment hold ("the share of UA's flights in the last 24 hours that landed late"): its transformation says
what happened when, and `aggregates` what is counted. Windows end at full hours (`every`) and hold what was known strictly
before.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import pyarrow as pa

from pipelines.code import digest_of
from tools.errors import PermanentError
from tools.features.columns import ARROW
from tools.features.port import Kind, View
from tools.lake.port import checked_name

Transform = Callable[[pa.Table], pa.Table]
How = Literal["count", "sum", "mean", "minimum", "maximum"]


@dataclass(frozen=True)
class Aggregate:
    how: How
    over: timedelta
    """A multiple of the view's `every`, which is the finest that is told apart."""
    of: str = ""
    """Column of numbers or booleans that the transformation returns; empty with `count`: rows."""

    @property
    def kind(self) -> Kind:
        return "integer" if self.how == "count" else "number"


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """Raises ValueError for what is none, naming the field."""

    name: str
    owner: str
    description: str
    source: str
    """Table of raw rows in the lake."""
    entities: Mapping[str, Literal["text", "integer"]]
    event_time: str
    """Column that the transformation returns: when each fact was known. A flight's lateness is known when it has landed."""
    ttl: timedelta
    transform: Transform
    """Raw rows to facts: any pieces of a table, one after the other, have to give the same as the whole. Rows without an entity
    or a time are to be left out."""
    features: Mapping[str, Kind] = field(default_factory=dict)
    """Of a view of facts: columns that the transformation returns."""
    aggregates: Mapping[str, Aggregate] = field(default_factory=dict)
    """Of a view of aggregates."""
    every: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if bool(self.features) == bool(self.aggregates):
            raise ValueError(f"{self.name}: give either features or aggregates")
        if not self.owner:
            raise ValueError(f"{self.name}: owner: who answers for it?")
        checked_name(self.source)
        for name, aggregate in self.aggregates.items():
            if self.every <= timedelta(0) or aggregate.over <= timedelta(0) or aggregate.over % self.every:
                raise ValueError(f"{self.name}: {name}: over: has to be a multiple of {self.every}")
            if not aggregate.of and aggregate.how != "count":
                raise ValueError(f"{self.name}: {name}: of: the {aggregate.how} of which column?")
        if self.aggregates and self.ttl < self.longest:
            # Between the last thing that happened and its leaving the longest window there may be no other row.
            raise ValueError(f"{self.name}: ttl: has to be at least the longest window, {self.longest}")
        self.view  # noqa: B018 - the rest is checked there

    @property
    def longest(self) -> timedelta:
        return max(each.over for each in self.aggregates.values())

    @property
    def view(self) -> View:
        kinds = dict(self.features) or {name: each.kind for name, each in self.aggregates.items()}
        return View(
            name=self.name,
            version=self.version,
            entities=dict(self.entities),
            features=kinds,
            ttl=self.ttl,
            owner=self.owner,
            description=self.description,
            source=self.source,
        )

    @property
    def version(self) -> str:
        """Owner and description say nothing about the rows, so they make no version."""
        said = {
            "name": self.name,
            "source": self.source,
            "entities": dict(self.entities),
            "event_time": self.event_time,
            "ttl_us": self.ttl // timedelta(microseconds=1),
            "every_us": self.every // timedelta(microseconds=1),
            "features": dict(self.features),
            "aggregates": {
                name: [each.how, each.of, each.over // timedelta(microseconds=1)] for name, each in self.aggregates.items()
            },
        }
        return digest_of(self.transform, said)[:12]

    def facts(self, raw: pa.Table) -> pa.Table:
        """The transformed rows. Raises PermanentError where the function fails or returns something else."""
        try:
            facts = self.transform(raw)
        except (pa.ArrowException, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
            raise PermanentError(f"{self.name}: the transformation failed: {type(error).__name__}: {error}") from error
        if not isinstance(facts, pa.Table):
            raise PermanentError(f"{self.name}: the transformation returned a {type(facts).__name__}, not a pyarrow.Table")
        needed = (*self.entities, self.event_time, *(each.of for each in self.aggregates.values() if each.of))
        if missing := [name for name in needed if name not in facts.column_names]:
            raise PermanentError(f"{self.name}: the transformation returns no column {', '.join(missing)}")
        moment = facts.schema.field(self.event_time).type
        if not pa.types.is_timestamp(moment) or moment.tz is None:
            raise PermanentError(f"{self.name}: {self.event_time} has to be a time with a zone, not {moment}")
        columns = {name: facts[name].cast(ARROW[kind]) for name, kind in self.entities.items()}
        return pa.table({**{name: facts[name] for name in facts.column_names}, **columns})


def definitions(module: str) -> tuple[FeatureView, ...]:
    """`VIEWS` of a module, such as `pipelines.flight_features`, which is imported: name only what you would run. Raises
    PermanentError."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module):
        raise PermanentError(f"definitions: {module[:200]!r} is no module: write it as package.module")
    try:
        found = getattr(importlib.import_module(module), "VIEWS", None)
    except ModuleNotFoundError as error:
        raise PermanentError(f"definitions: {module}: {error}; is it on PYTHONPATH?") from error
    except (ImportError, SyntaxError, ValueError, TypeError) as error:
        raise PermanentError(f"definitions: {module} cannot be imported: {error}") from error
    if not isinstance(found, Sequence) or not found or not all(isinstance(each, FeatureView) for each in found):
        raise PermanentError(f"definitions: {module} has to have VIEWS, a tuple of FeatureView")
    names = [each.name for each in found]
    if len({*names}) < len(names):
        raise PermanentError(f"definitions: {module} has two views of one name")
    return tuple(found)
