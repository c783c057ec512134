"""An optimisation on its way, from what was found to what the ledger shows: one in a run, and all that is known of it."""

from decimal import Decimal

from agents.cost.inefficiency import Inefficiency
from agents.cost.savings import Claim, Return, Saved, returned
from agents.quantization_job import Ordered
from tools.costs.port import Currency
from tools.values import Frozen, Instant


class Figure(Frozen):
    """One thing that an experiment has measured."""

    name: str
    before: float | None = None
    after: float | None = None
    unit: str = ""


class Trial(Frozen):
    """An experiment, and what came of it."""

    job: str
    pays: bool
    reason: str
    """In one paragraph, for people."""
    low: float
    """What is saved at least of what a prediction costs, as a share of it: the interval that was measured."""
    high: float
    figures: tuple[Figure, ...] = ()
    cost: Decimal | None = None
    """Of the experiment itself; None: on no record."""
    currency: Currency | None = None


class Optimization(Frozen):
    inefficiency: Inefficiency
    found_at: Instant
    ordered: Ordered | None = None
    """The job of an experiment under way, or of what it is followed by."""
    trial: Trial | None = None
    """None: there was no experiment, or it is not over."""
    version: str | None = None
    """That the experiment has made."""
    began_at: Instant | None = None
    """When the first of it was in force: hours before are hours without it."""
    applied_at: Instant | None = None
    """When all of it was."""
    saved: Saved | None = None
    """By the latest look; where `held`, of what versions use. None before there is one that says anything."""
    bill: Saved | None = None
    """Where `held`: the same of all that serving costs, with what is idle."""
    held: bool = False
    """Workers are billed while they are held: `saved` is processor time that was freed, and money is what `bill` says."""

    @property
    def money(self) -> Saved | None:
        return self.bill if self.held else self.saved

    @property
    def freed(self) -> Saved | None:
        """Processor time, at its price, which is no money yet."""
        return self.saved if self.held else None

    @property
    def roi(self) -> Return | None:
        """Of the experiment against the money that the ledger shows to be saved; None while either is not known."""
        trial, saved = self.trial, self.money
        if saved is None or saved.claim is not Claim.HOLDS:
            return None
        if trial is None or trial.cost is None or trial.currency != saved.currency:
            return None
        return returned(trial.cost, saved.value, saved.currency)
