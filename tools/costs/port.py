"""What the platform asks of the cost ledger: usage goes in once, priced lines add up, and nothing is ever edited.

Money is decimal, with its currency beside it; two currencies are never added.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field, model_validator

from tools.costs.units import Resource
from tools.values import Frozen, Instant, Window

QUANTITY_PLACES = 9
MONEY_PLACES = 12
"""A single token of a cheap model costs about 1e-7; the sum of many must not lose what each of them is."""

MOST_CELLS = 100_000
"""More is no breakdown any more, but an export."""
MOST_AT_ONCE = 100_000
"""Usages of one booking: they count together or not at all, which takes one insert."""

Quantity = Annotated[Decimal, Field(ge=0, max_digits=38, decimal_places=QUANTITY_PLACES)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""
Word = Annotated[str, Field(max_length=200)]


class Component(StrEnum):
    TRAINING = "training"
    SERVING = "serving"
    MONITORING = "monitoring"


class Pricing(StrEnum):
    """How it was bought. FOCUS: PricingCategory Standard, Dynamic, Committed."""

    STANDARD = "standard"
    SPOT = "spot"
    COMMITTED = "committed"


class Dimension(StrEnum):
    COMPONENT = "component"
    PART = "part"
    MODEL = "model"
    VERSION = "version"
    TEAM = "team"
    EXPERIMENT = "experiment"
    RESOURCE = "resource"
    PRICING = "pricing"
    WORKLOAD = "workload"


class Step(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    """All in UTC."""


class Owner(Frozen):
    """Whose usage it is. Empty: nobody's in particular, so that it is shared out when people ask by that dimension."""

    component: Component
    part: Word = ""
    """Of the component, as people know it: GPU hours, storage, CPU serving, load balancer, inference logging ..."""
    model: Word = ""
    version: Word = ""
    team: Word = ""
    experiment: Word = ""
    """Empty: in none, and not shared out."""
    workload: Word = ""
    """What used it: a job's name, a process, a volume."""


class Usage(Frozen):
    """What one resource was used or held by one owner in one stretch of time, as a meter says it."""

    key: Annotated[str, Field(min_length=1, max_length=300)]
    """The source's own, and the same for the same fact however often it is told."""
    revision: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """A later one says the whole of it anew; the ledger books the difference."""
    resource: Resource
    sku: Word = ""
    """Which of its kind, where they have prices of their own, such as the name of a GPU or a language model."""
    quantity: Quantity
    """In the unit in which the resource is metered (`units.METERED`)."""
    window: Window
    pricing: Pricing = Pricing.STANDARD
    owner: Owner


class Line(Frozen):
    """One priced charge. `quantity` and `cost` may be negative: what is taken back of a line before."""

    key: str
    revision: int
    place: int
    """Which of the lines of this revision: usage is split by hours and by prices."""
    taken_back: bool = False
    """Of an earlier revision, because a later one has come. FOCUS: ChargeClass Correction."""
    resource: Resource
    sku: str = ""
    window: Window
    quantity: Decimal
    unit: str
    """In which `unit_price` is said; `quantity` is in the metered unit."""
    unit_price: Decimal
    pricing: Pricing
    cost: Decimal
    currency: Currency
    owner: Owner


class Booked(Frozen):
    lines: int
    """New ones."""
    known: int
    """Usages that had been booked before, as they are."""
    late: int
    """Usages older than the revision that is booked: left alone."""


class Told(Frozen):
    """What is booked of a key."""

    revision: int
    quantity: Decimal
    window: Window
    said: str
    """The digest of all that was told (`packing.said_of`)."""


class Amount(Frozen):
    """One cell of a breakdown."""

    start: Instant | None
    """Of its step; None where there is none."""
    at: dict[Dimension, str]
    cost: Decimal
    currency: Currency
    quantity: Decimal | None = None
    """In the metered unit; None where the breakdown is not by resource, because hours and bytes do not add up."""


class Question(Frozen):
    window: Window
    """Of the charges' starts."""
    by: tuple[Dimension, ...] = ()
    step: Step | None = None
    where: dict[Dimension, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.by)) < len(self.by):
            raise ValueError("by: each dimension once")
        return self


@runtime_checkable
class CostReader(Protocol):
    async def ping(self) -> None: ...

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        """Exact sums, in the order of step, currency, and the dimensions as they were asked for. What cancels out to nothing is
        a cell all the same. PermanentError for more than `MOST_CELLS`: ask for fewer dimensions, or longer steps."""
        ...

    async def lines(self, window: Window, *, after: str = "", most: int = 1_000) -> tuple[tuple[str, Line], ...]:
        """(its id, the line), in the order of ids, which is that of time: page on with the last id. PermanentError for an
        `after` that is none."""
        ...

    async def last(self) -> datetime | None:
        """The end of the latest charge; None when nothing is booked."""
        ...


@runtime_checkable
class CostLedger(CostReader, Protocol):
    async def book(self, usages: Sequence[Usage], lines: Sequence[Line]) -> Booked:
        """Each key once by revision; a later revision takes back what the one before had booked. Repeating it changes nothing,
        also after a crash in the middle, of which nothing is ever counted. Conflict where a revision that is booked is told
        otherwise, PermanentError where `lines` (as priced) do not add up to the usages or there are more than `MOST_AT_ONCE`;
        then nothing of the call is booked. One process writes at a time."""
        ...

    async def told(self, keys: Sequence[str]) -> Mapping[str, Told]:
        """The revision that is booked, of those keys that are: from it a meter goes on, whatever it was killed in. The next one
        is `revision + 1`: what of it was written before a crash was never counted."""
        ...
