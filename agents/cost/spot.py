"""Whether trainings that come again and again could run on capacity that may be taken away, and costs less for that.

Only trainings that go on from their checkpoints are looked at (`training.resumes`): any other begins anew each time. What an
interruption costs is the work since the last checkpoint, and how often it comes is read off the trainings that were bought as
spot before; where there were none, up to `assumed` of them are reckoned to be interrupted.
"""

import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from agents.actions import Name, Risk
from agents.cost.inefficiency import Inefficiency, Move, Saving
from agents.cost.prices import DAY_S, Held, per_day
from agents.evidence import Evidence
from agents.wording import share
from tools.costs.port import Pricing
from tools.costs.prices import NoPrice, PriceBook
from tools.jobs.port import Buying
from tools.values import Frozen, Share, Window


class SpotRules(Frozen):
    least_trainings: int = Field(default=4, ge=2)
    """Within the window, that ran on standard capacity: fewer are no habit."""
    assumed: Share = 0.3
    """Trainings that are interrupted, at the worst, before any was tried: clouds tell of 5 to 20 % a month."""
    rework: Share = 0.25
    """Of a training, that one interruption costs at the worst: what was done since the last checkpoint, and starting again."""
    most_interrupted: Share = 0.5
    """Of those on spot so far; above it trainings no longer come to an end in time."""
    least_share: Share = 0.1
    """Of what the trainings cost, that has to be saved at the least."""


class Trained(Frozen):
    """One training that has ended well."""

    job: Name
    held: Held
    seconds: Annotated[float, Field(ge=0)]
    """While it ran, over all attempts."""
    pricing: Pricing
    interruptions: int = Field(default=0, ge=0)


class Trainings(Frozen):
    model: Name
    resumes: bool
    """As policy says."""
    buying: Buying
    window: Window
    trained: tuple[Trained, ...]


def movable(trainings: Trainings, rules: SpotRules, book: PriceBook, at: datetime) -> Inefficiency | None:
    """None where they may not be moved, are moved already, or where it would not pay for certain."""
    buying = trainings.buying
    if not trainings.resumes or buying.pricing is not Pricing.STANDARD or Pricing.SPOT not in buying.offered:
        return None
    own = [each for each in trainings.trained if each.pricing is Pricing.STANDARD]
    tried = [each for each in trainings.trained if each.pricing is Pricing.SPOT]
    hit = sum(1 for each in tried if each.interruptions)
    if len(own) < rules.least_trainings or (tried and hit > rules.most_interrupted * len(tried)):
        return None
    try:
        usual = sum((_cost(each, book, at, Pricing.STANDARD) for each in own), Decimal(0))
        spot = sum((_cost(each, book, at, Pricing.SPOT) for each in own), Decimal(0))
    except NoPrice:
        return None
    worst = _upper(hit, len(tried)) if tried else rules.assumed
    low, high = usual - spot * (1 + _decimal(worst * rules.rework)), usual - spot
    if low <= 0 or low < usual * _decimal(rules.least_share):
        return None
    days = _decimal(trainings.window.length / timedelta(days=1))
    # As many as there were, give or take what chance does to a number of them.
    fewer, more = (_decimal(1 + sign / math.sqrt(len(own))) for sign in (-1, 1))
    return Inefficiency(
        kind="move_to_spot",
        subject=trainings.model,
        evidence=_evidence(trainings, own, tried, hit, usual, spot, book),
        expected=Saving(low=_money(low * fewer / days), high=_money(high * more / days), currency=book.currency),
        risk=Risk.LOW,
        what=f"{len(own)} trainings of {trainings.model} in {trainings.window.length.days} days cost {_money(usual):f} "
        f"{book.currency} on standard capacity and go on from their checkpoints; on spot they would cost "
        f"{share(float(low / usual))} to {share(float(high / usual))} less",
        remedy=Move(model=trainings.model),
    )


def _cost(training: Trained, book: PriceBook, at: datetime, pricing: Pricing) -> Decimal:
    return per_day(training.held, book, at, pricing) * _decimal(training.seconds) / DAY_S


def _upper(hit: int, tried: int) -> float:
    """The end of Wilson's interval of a share, at 95 % (Wilson, JASA 22, 1927)."""
    z = 1.96
    share_ = hit / tried
    middle = share_ + z * z / (2 * tried)
    spread = z * math.sqrt(share_ * (1 - share_) / tried + z * z / (4 * tried * tried))
    return min(1.0, (middle + spread) / (1 + z * z / tried))


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def _money(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"))


def _evidence(
    trainings: Trainings,
    own: list[Trained],
    tried: list[Trained],
    hit: int,
    usual: Decimal,
    spot: Decimal,
    book: PriceBook,
) -> tuple[Evidence, ...]:
    interrupted = f"{hit} of {len(tried)} trainings on spot were interrupted" if tried else "no training has run on spot yet"
    return (
        Evidence(
            id="trainings.standard",
            statement=f"{len(own)} trainings of {trainings.model} ran on standard capacity",
            source="jobs",
            query=f"Jobs.jobs({trainings.model})",
            value=float(len(own)),
            sample_size=len(own),
            window=trainings.window,
        ),
        Evidence(
            id="trainings.price",
            statement=f"at standard prices they cost {_money(usual):f} {book.currency}, at spot prices {_money(spot):f}",
            source="costs",
            query="price book",
            value=float(spot / usual),
            limit=1.0,
            window=trainings.window,
        ),
        Evidence(
            id="trainings.interrupted",
            statement=interrupted,
            source="jobs",
            query=f"Jobs.jobs({trainings.model})",
            value=hit / len(tried) if tried else None,
            sample_size=len(tried),
            window=trainings.window,
        ),
    )
