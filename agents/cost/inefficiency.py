"""What costs more than it needs to: the finding of a detector, with what an action against it has to be told.

A detector is a pure function from measured values to one of these, or to nothing where it cannot tell. An expected saving is
an interval, and a forecast: what was saved is what the ledger shows afterwards.
"""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.actions import Name, Risk
from agents.evidence import Evidence
from tools.costs.port import Currency, Pricing
from tools.leftovers import Leftover
from tools.values import Frozen

Kind = Literal["quantize", "consolidate_training", "scale_down", "set_batching", "move_to_spot", "expire_artifacts"]

Money = Annotated[Decimal, Field(max_digits=38, decimal_places=12)]


class Saving(Frozen):
    """Expected, per day: between `low` and `high`. Negative: it may cost more than it saves."""

    low: Money
    high: Money
    currency: Currency

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError("high: not below low")
        return self


class Quantization(Frozen):
    """Serve `version` of `model` in INT8."""

    kind: Literal["quantize"] = "quantize"
    model: Name
    version: Name


class Consolidation(Frozen):
    """Of jobs that train the same on the same, let one go on and cancel the others."""

    kind: Literal["consolidate_training"] = "consolidate_training"
    model: Name
    kept: Name
    """A job's name, like the others."""
    cancelled: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]


class Shrinking(Frozen):
    """Serve `model` with `workers` in place of `from_workers`: what the action `Scale` does."""

    kind: Literal["scale_down"] = "scale_down"
    model: Name
    from_workers: int = Field(ge=1, le=1024)
    workers: int = Field(ge=1, le=1024)

    @model_validator(mode="after")
    def _fewer(self) -> Self:
        if self.workers >= self.from_workers:
            raise ValueError("workers: fewer than from_workers")
        return self


class Rebatching(Frozen):
    """Compute up to `rows` of `model` together, and let a batch wait up to `wait_ms` for more."""

    kind: Literal["set_batching"] = "set_batching"
    model: Name
    from_rows: int = Field(ge=1, le=4096)
    from_wait_ms: float = Field(ge=0, le=1000)
    from_generation: int = Field(ge=0)
    rows: int = Field(ge=1, le=4096)
    wait_ms: float = Field(ge=0, le=1000)


class Move(Frozen):
    """Buy the trainings of `model` as `pricing` from now on."""

    kind: Literal["move_to_spot"] = "move_to_spot"
    model: Name
    from_pricing: Pricing = Pricing.STANDARD
    pricing: Pricing = Pricing.SPOT


class Expiry(Frozen):
    """Discard exactly these: versions by `Registry.discard`, what jobs have left by `Jobs.discard`."""

    kind: Literal["expire_artifacts"] = "expire_artifacts"
    model: Name
    items: Annotated[tuple[Leftover, ...], Field(min_length=1, max_length=500)]


Remedy = Annotated[
    Quantization | Consolidation | Shrinking | Rebatching | Move | Expiry,
    Field(discriminator="kind"),
]


class Inefficiency(Frozen):
    kind: Kind
    subject: Name
    """Whose cost it is: a model, or a workload that belongs to none."""
    evidence: tuple[Evidence, ...]
    expected: Saving
    risk: Risk
    what: str = Field(min_length=1, max_length=500)
    """One sentence for people, with the numbers."""
    remedy: Remedy
    """What an action against it has to be told."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.remedy.kind != self.kind:
            raise ValueError("remedy: of the inefficiency's own kind")
        return self
