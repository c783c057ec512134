"""Whether a change that was made to save money stays: by what was promised of quality, and by what the ledger shows; pure."""

from datetime import datetime, timedelta
from decimal import Decimal

from agents.cost.optimization_rules import Optimizations
from agents.cost.savings import LOOKS, Claim, Saved
from agents.measures import Measure
from agents.verification import Status, Verification
from agents.wording import counted, moment, money, span
from tools.jobs.port import JobState, Phase
from tools.leftovers import KEPT
from tools.values import Frozen, Instant

_LATE = timedelta(hours=3)
"""How long after its hour usage may be booked: meters are read once an hour, and a job's when it has ended."""


class Look(Frozen):
    """One of the few that are taken at a change."""

    number: int
    """Of `LOOKS`, from 0."""
    until: Instant
    """Hours from then on are no part of it."""

    @property
    def last(self) -> bool:
        return self.number + 1 == len(LOOKS)


def look_at(applied_at: datetime, rules: Optimizations, now: datetime) -> Look | None:
    """The latest that is due; None before the first. The same look is the same hours, whenever it is repeated."""
    due = [number for number, part in enumerate(LOOKS) if applied_at + rules.verify * part <= now]
    return Look(number=due[-1], until=applied_at + rules.verify * LOOKS[due[-1]]) if due else None


def confirm(
    quality: Verification,
    look: Look | None,
    found: Saved | None,
    applied_at: datetime,
    rules: Optimizations,
    now: datetime,
    *,
    bill: Saved | None = None,
    lenient: bool = False,
) -> Verification:
    """`quality`: whether what was promised is kept, by the usual verification. `bill`: `found` with what is held idle.
    `lenient`: what shows in the ledger only when it
    happens to be used stays where nothing is shown, and nothing is claimed; what costs more is taken back all the same."""
    measures = (*quality.measures, *_measures(found))
    if quality.status is Status.FAILED:
        return quality.model_copy(update={"measures": measures})

    def said(status: Status, reason: str) -> Verification:
        return Verification(status=status, reason=reason, measures=measures, at=now)

    if look is None:
        first = applied_at + rules.verify * LOOKS[0]
        return said(Status.WAITING, f"{quality.reason} What it saves is looked at from {moment(first)} on.")
    if lenient and look.last and (found is None or found.claim is Claim.NOT_SHOWN):
        seen = f": it saves {found}" if found is not None else ", for nothing of it is on record yet"
        return said(Status.HOLDS, f"{quality.reason} No saving is claimed{seen}.")
    if found is None:
        if look.last and now >= look.until + _LATE:
            return said(
                Status.FAILED,
                f"No saving is shown: within {span(rules.verify)} fewer than {counted(rules.least_hours, 'hour')} before "
                "and after are in the ledger.",
            )
        return said(Status.WAITING, f"{quality.reason} Too few hours are in the ledger yet to say what it saves.")
    match found.claim:
        case Claim.WORSE:
            return said(Status.FAILED, f"It costs more than before, not less: it saves {found}.")
        case Claim.NOT_SHOWN if look.last:
            return said(Status.FAILED, f"No saving is shown within {span(rules.verify)}: it saves {found}.")
        case Claim.NOT_SHOWN:
            return said(Status.WAITING, f"No saving is shown yet: it saves {found}.")
        case Claim.HOLDS if quality.status is Status.WAITING:
            return said(Status.WAITING, f"{quality.reason} It saves {found}.")
        case Claim.HOLDS:
            return said(Status.HOLDS, f"It saves {found}.{_of_the_bill(bill)} {quality.reason}")


def _of_the_bill(bill: Saved | None) -> str:
    """What is freed is no money yet where it is held, and paid for, all the same."""
    if bill is None or bill.claim is Claim.HOLDS:
        return ""
    return f" With what is held idle, serving saves {bill}: what is freed is saved when fewer workers are held."


def verification_of_expiry(quality: Verification, now: datetime) -> Verification:
    """Nothing is claimed: room that is put aside is paid for until it is emptied."""
    if quality.status is not Status.HOLDS:
        return quality
    told = f"No saving is claimed: what was put aside is paid for until it is emptied, after {span(KEPT)}."
    return quality.model_copy(update={"reason": f"{quality.reason} {told}", "at": now})


def _measures(found: Saved | None) -> tuple[Measure, ...]:
    if found is None:
        return ()
    unit = f"{found.currency}/day"
    return (
        Measure(name="saved", value=float(found.value), unit=unit, sample_size=found.hours_after, needed=False),
        Measure(
            name="saved_at_least", value=float(found.low), limit=0.0, unit=unit, ok=found.claim is Claim.HOLDS, needed=False
        ),
        Measure(
            name=f"cost per {found.unit}",
            value=float(found.after),
            limit=float(found.before),
            unit=found.currency,
            needed=False,
        ),
    )


class Consolidated(Frozen):
    """What became of trainings that were the same twice."""

    kept: JobState | None
    """None: nobody knows it any more."""
    cancelled: tuple[JobState, ...]
    since: Decimal | None
    """What the cancelled ones have cost since they ended; None: nothing is booked that late."""
    before: Decimal = Decimal(0)
    """Per hour, together, while they ran."""
    kept_since: Decimal = Decimal(0)
    """What the kept one has cost since the others were cancelled."""
    currency: str = ""


def confirm_consolidated(
    found: Consolidated, applied_at: datetime, rules: Optimizations, now: datetime
) -> tuple[Verification, Saved | None]:
    """They have ended, and the ledger has no more of them. What they would have cost is told by the one that went on."""

    def said(status: Status, reason: str, saved: Saved | None = None) -> tuple[Verification, Saved | None]:
        return Verification(status=status, reason=reason, measures=_measures(saved), at=now), saved

    late = now - applied_at >= rules.verify
    if running := [each.name for each in found.cancelled if not each.final]:
        return said(
            Status.FAILED if late else Status.WAITING, f"{', '.join(running)} has been cancelled and has not ended yet."
        )
    if found.kept is not None and found.kept.phase is Phase.FAILED:
        return said(Status.FAILED, f"{found.kept.name}, which was to go on, has failed: ask for the training again.")
    if found.since is None:
        if late:
            return said(Status.FAILED, "The jobs have ended; the ledger shows nothing since, so no saving is claimed.")
        return said(Status.WAITING, "The jobs have ended; the ledger is not that far yet.")
    if found.since > 0:
        return said(
            Status.FAILED, f"The jobs have ended, and the ledger shows {money(found.since, found.currency)} of them since."
        )
    worth = found.kept_since * len(found.cancelled)
    ended = found.kept is None or found.kept.final
    saved = Saved(
        claim=Claim.HOLDS if worth > 0 else Claim.NOT_SHOWN,
        value=worth,
        low=worth,
        high=worth,
        currency=found.currency,
        before=found.before,
        after=Decimal(0),
        unit="hour",
        hours_before=0,
        hours_after=max(round((now - applied_at) / timedelta(hours=1)), 0),
        paired=0,
        level=rules.level,
    )
    told = (
        f"The jobs have ended, and the ledger has nothing of them since. {len(found.cancelled)} times what the kept one has "
        f"cost since is {money(worth, found.currency)}"
    )
    if not ended and not late:
        return said(Status.WAITING, f"{told} so far; it goes on.", saved)
    return said(Status.HOLDS, f"{told}.", saved)
