"""Features: values about entities, each from a moment on; the same for training (as of a moment) and for serving (the latest).

A view is a table of them with one key. It has versions, made from its definition and its code, and rows of two versions are
never mixed: a new one is computed beside the old, and becomes current when it is there as a whole. A feature is called
`view:feature`, or `view@version:feature` by who must have the one that a model was trained on.

A row says what is so from its event time on, until the next row of its key or until `ttl` is over. Of two rows with one key
and one event time the one that was created later is right. Nothing is told of a moment before the event time: that is the
whole of being correct in time, and why a definition's event time is when a fact was known, not when it was so.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, Self, runtime_checkable

from pydantic import Field, model_validator

from tools.errors import PermanentError
from tools.values import Frozen, Instant

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["text", "integer", "number", "boolean"]
Value = str | int | float | bool | None
Key = Mapping[str, str | int]
"""Of an entity: `{"origin": "JFK", "dest": "LAX"}`. Names that a view has not among its entities are not its business."""

EVENT_TIME, CREATED, EVENT_US = "event_timestamp", "created", "event_us"
"""Columns of ours in a view's rows. The last repeats the first as a number: online stores round times, each in its own way, and
one of them reads them in the zone of the machine."""
SKEW = timedelta(seconds=5)
"""What the clocks of two machines may differ by: what begins later than that has not begun."""
RESERVED = frozenset({EVENT_TIME, CREATED, EVENT_US, "batch"})

_NAME = r"^[a-z][a-z0-9_]{0,59}$"
_REFERENCE = re.compile(r"(?P<view>[a-z][a-z0-9_]{0,59})(@(?P<version>[0-9a-f]{12}))?(:(?P<feature>[a-z][a-z0-9_]{0,59}))?")


class Unanswerable(PermanentError):
    """It was asked for in a way that has no answer: a feature that is not there, a key that lacks an entity."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(field, detail)
        self.field, self.detail = field, detail

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"


def refuse_ahead(until: datetime, now: datetime) -> None:
    """Online has one row a key: with one that has not begun there would be nothing of that key until then."""
    if until > now + SKEW:
        raise PermanentError(
            f"until: {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} is ahead of now: online is what is so now;"
            " name now, or a moment before it"
        )


MAX_KEYS, MAX_FEATURES = 1_000, 500
"""Of one lookup."""

Name = Annotated[str, Field(pattern=_NAME)]


class View(Frozen):
    """A version of a view, as the store knows it: what is in its rows, not how they are made."""

    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    entities: dict[Name, Literal["text", "integer"]] = Field(min_length=1, max_length=10)
    features: dict[Name, Kind] = Field(min_length=1, max_length=MAX_FEATURES)
    ttl: timedelta
    """How long a row is right when no other comes."""
    owner: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2_000)
    source: str
    """Table of raw rows in the lake."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in (*self.entities, *self.features):
            if name in RESERVED:
                raise ValueError(f"{name}: a column of ours is called so; give it another name")
        if both := self.entities.keys() & self.features.keys():
            raise ValueError(f"{', '.join(sorted(both))}: is either an entity or a feature")
        if self.ttl <= timedelta(0):
            raise ValueError("ttl: has to be longer than nothing")
        return self

    @property
    def id(self) -> str:
        """Of its table, and of what the backends have for it."""
        return f"{self.name}_{self.version}"


class ViewState(Frozen):
    """How far a version has come."""

    view: View
    current: bool
    """Whether its name alone means this version."""
    rows: int
    """Offline, corrections included."""
    newest: Instant | None
    """When the latest of the facts became known that are in its rows; null: there is none."""
    computed_at: Instant | None
    """When rows were last added."""
    materialized_until: Instant | None
    """Online is what was so at that moment; null: nothing is."""


class Found(Frozen):
    """Of one key. A feature is null where its value is, where the key is not known, and where its row is older than its ttl."""

    values: dict[str, Value]
    """By the name that it was asked for under."""
    as_of: dict[str, Instant]
    """View to the event time of its row; without those that know nothing of the key, or nothing fresh."""


class Materialized(Frozen):
    view: str
    version: str
    keys: int
    """Written online."""
    since: Instant | None
    """Event times from then on were looked at; null: there was nothing new."""
    until: Instant


class Reference(Frozen):
    """`view`, `view:feature`, `view@version` or `view@version:feature`."""

    view: str
    version: str | None
    feature: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Unanswerable."""
        if (form := _REFERENCE.fullmatch(text)) is None:
            raise Unanswerable("features", f"{text[:200]!r} is no feature: write view:feature or view@version:feature")
        return cls(view=form["view"], version=form["version"], feature=form["feature"])


@runtime_checkable
class FeatureReader(Protocol):
    """Blocking: for programs, jobs and child processes. Raises Unanswerable for what is not there."""

    def states(self) -> tuple[ViewState, ...]:
        """Of every version, by name, the current one first."""
        ...

    def lookup(self, keys: Sequence[Key], features: Sequence[str], now: datetime) -> tuple[Found, ...]:
        """What is online, for each of the keys. Raises Unanswerable when a key lacks an entity of a view."""
        ...

    def training_set(self, rows: "pa.Table", features: Sequence[str], *, time: str = EVENT_TIME) -> "pa.Table":
        """`rows` with a column for each feature, called as it was asked for, as of the moment in the column `time` of each row.

        A view without a feature stands for all of its own. Rows keep their order, and all their columns; `rows` must have the
        entities of the views.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class FeatureStore(FeatureReader, Protocol):
    """The write half, of one process at a time."""

    def register(self, views: Sequence[View]) -> None:
        """Have a place for their rows. Repeating it is a no-op."""
        ...

    def published(self, view: View) -> bool:
        """Whether it is current."""
        ...

    def publish(self, view: View) -> None:
        """From now on its name alone means this version."""
        ...

    def materialize(self, view: View, until: datetime, now: datetime) -> Materialized:
        """Have online what is so at `until`: for each key the latest row, where rows were added or times have come since the
        last time. A moment before the last one is a no-op, unless that one is itself ahead of `now` (a clock was wrong): then
        online is what has not begun, and every key is written anew. Raises PermanentError for a moment ahead of `now`."""
        ...


@runtime_checkable
class Features(Protocol):
    """The reading half for an event loop."""

    async def ping(self) -> None: ...

    async def states(self) -> tuple[ViewState, ...]: ...

    async def lookup(self, keys: Sequence[Key], features: Sequence[str]) -> tuple[Found, ...]:
        """As of now. Raises Unanswerable."""
        ...

    async def close(self) -> None: ...
