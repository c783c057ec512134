"""What is known of a model's cost when somebody looks for what it need not be."""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from agents.alerts import Alert
from agents.cost.causes import Origin
from agents.cost.changes import Change
from agents.cost.inefficiency import Inefficiency
from agents.cost.optimization import Optimization
from agents.evidence import Missing
from agents.requests import Request
from tools.jobs.port import JobState
from tools.registry.quantizations import Quantization
from tools.values import Frozen, Window


class Serving(Frozen):
    """What the champion has cost since it serves, within the window."""

    version: str
    cost: Decimal
    hours: int
    """That have a cost of it on record."""
    predictions: int

    @property
    def per_day(self) -> Decimal:
        return self.cost * 24 / self.hours if self.hours else Decimal(0)


class CostCase(Frozen):
    alerts: tuple[Alert, ...]
    model: str | None
    """None: nothing names a model."""
    window: Window
    """Of the ledger."""
    request: Request | None = None
    currency: str | None = None
    """That most of it is in; None where nothing is on record."""
    spent: Decimal = Decimal(0)
    """Of the model, in the window."""
    change: Change | None = None
    """Of the last day beside the days before it; None where either is on no record."""
    rise: Origin | None = None
    """Where what the monitor of costs calls unusual comes from, while it is; of everything where no model is named."""
    jobs: tuple[JobState, ...] = ()
    """Of the model, newest first; those that run with their progress."""
    by_job: dict[str, Decimal] = Field(default_factory=dict)
    """Name -> what it has cost in the window."""
    champion: str | None = None
    quantized: bool = False
    """The champion is the product of a quantisation itself."""
    measured: Quantization | None = None
    """What INT8 of the champion was measured to be worth, as its files are now."""
    serving: Serving | None = None
    answers: Literal["classes", "numbers"] = "classes"
    """What the champion gives, by its `serving.json`."""
    others: tuple[Inefficiency, ...] = ()
    """Found where they were read."""
    earlier: Optimization | None = None
    """What this run has come to already: an experiment whose version is to be rolled out."""
    missing: tuple[Missing, ...] = ()
