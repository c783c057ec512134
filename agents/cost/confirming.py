"""Whether a change that was made to save money stays: by what was promised of quality, and by what the ledger shows; pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import Field

from agents.cost.optimization_rules import Optimizations
from agents.cost.savings import LOOKS, Claim, Saved
from agents.measures import Measure
from agents.verification import Status, Verification
from agents.wording import counted, moment, money, span
from tools.jobs.port import JobState, Phase, Reason
from tools.leftovers import KEPT
from tools.values import Frozen, Instant

_PLACES = Decimal("0.000001")
_LEAST_OVERLAP = 0.01
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
    held: bool = False,
    lenient: bool = False,
) -> Verification:
    """`quality`: whether what was promised is kept, by the usual verification. `held`: workers are billed while they are held,
    so that `found` is processor time, and `bill` what has become of the money. `lenient`: what shows in the ledger only when it
    happens to be used stays where nothing is shown, and nothing is claimed; what costs more is taken back all the same."""
    measures = (*quality.measures, *_measures(found, "freed" if held else "saved"), *_measures(bill, "saved"))
    if quality.status is Status.FAILED:
        return quality.model_copy(update={"measures": measures})

    def said(status: Status, reason: str) -> Verification:
        return Verification(status=status, reason=reason, measures=measures, at=now)

    verb = "it frees, of processor time," if held else "it saves"
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
            return said(Status.FAILED, f"It costs more than before, not less: {verb} {found}.")
        case Claim.NOT_SHOWN if look.last:
            return said(Status.FAILED, f"No saving is shown within {span(rules.verify)}: {verb} {found}.")
        case Claim.NOT_SHOWN:
            return said(Status.WAITING, f"No saving is shown yet: {verb} {found}.")
        case Claim.HOLDS if quality.status is Status.WAITING:
            return said(Status.WAITING, f"{quality.reason} {_of(found, bill, held)}")
        case Claim.HOLDS if held and bill is None and not look.last:
            return said(Status.WAITING, f"{_of(found, bill, held)} {quality.reason}")
        case Claim.HOLDS:
            return said(Status.HOLDS, f"{_of(found, bill, held)} {quality.reason}")


def _of(found: Saved, bill: Saved | None, held: bool) -> str:
    """What is freed is no money yet where it is held, and paid for, all the same."""
    if not held:
        return f"It saves {found}."
    if bill is not None and bill.claim is Claim.HOLDS:
        return f"It saves {bill}, and frees processor time worth {found}."
    seen = f"with what is held idle, serving saves {bill}" if bill is not None else "of the bill too little is on record yet"
    return f"It frees processor time worth {found}. No money is shown to be saved: {seen}. {ONLY_FEWER}"


ONLY_FEWER = "Where workers are billed while they are held, only fewer of them (scale_down) turn freed time into money."


def verification_of_expiry(quality: Verification, now: datetime) -> Verification:
    """Nothing is claimed: room that is put aside is paid for until it is emptied."""
    if quality.status is not Status.HOLDS:
        return quality
    told = f"No saving is claimed: what was put aside is paid for until it is emptied, after {span(KEPT)}."
    return quality.model_copy(update={"reason": f"{quality.reason} {told}", "at": now})


def _measures(found: Saved | None, name: str = "saved") -> tuple[Measure, ...]:
    if found is None:
        return ()
    unit = f"{found.currency}/day" if found.per == "day" else found.currency
    return (
        Measure(name=name, value=float(found.value), unit=unit, sample_size=found.hours_after, needed=False),
        Measure(
            name=f"{name}_at_least", value=float(found.low), limit=0.0, unit=unit, ok=found.claim is Claim.HOLDS, needed=False
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
    """Those that were to end, as far as they are known; what had ended by itself is among them."""
    since: Decimal | None
    """What they have cost since they ended; None: nothing is booked that late."""
    costs: dict[str, Decimal] = Field(default_factory=dict)
    """By name, of all that each has run."""
    took: tuple[float, ...] = ()
    """Hours of trainings that did the same and ended well."""
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
    told = "The jobs have ended, and the ledger has nothing of them since."
    ours = [each for each in found.cancelled if each.reason is Reason.CANCELLED]
    if not ours:
        return said(Status.HOLDS, f"{told} They had ended by themselves: no saving is claimed.")
    if found.kept is None or found.kept.started_at is None:
        return said(Status.HOLDS, f"{told} How long the kept one took is not known any more: no saving is claimed.")
    saved = _spared(found, found.kept, ours, applied_at, rules, now)
    took = "took" if found.kept.final else "has taken so far"
    told = f"{told} By how long {found.kept.name} {took}, {counted(len(ours), 'job')} would have cost {saved} more"
    if not found.kept.final and not late:
        return said(Status.WAITING, f"{told}; it goes on.", saved)
    return said(Status.HOLDS, f"{told}.", saved)


def _spared(
    found: Consolidated, kept: JobState, ours: Sequence[JobState], applied_at: datetime, rules: Optimizations, now: datetime
) -> Saved:
    """Each would have taken as long as the kept one, and cost by the hour what it had cost. At least and at most: as long as
    the quickest and the slowest that did the same, and shorter or longer than that as its data may be (`overlap`)."""
    took = _hours(kept, now)
    known = (*found.took, took) if kept.final else (took,)
    shares = [min(known) * rules.overlap, took, max(known) / max(rules.overlap, _LEAST_OVERLAP)]
    sums = [Decimal(0)] * len(shares)
    before = Decimal(0)
    for each in ours:
        ran = _hours(each)
        if ran <= 0:
            continue  # it had not begun: what it would have cost by the hour is on no record
        rate = found.costs.get(each.name, Decimal(0)) / Decimal(repr(ran))
        before += rate
        sums = [sum_ + rate * Decimal(repr(max(whole - ran, 0.0))) for sum_, whole in zip(sums, shares, strict=True)]
    low, value, high = (each.quantize(_PLACES) for each in sums)
    return Saved(
        claim=Claim.HOLDS if low > 0 else Claim.NOT_SHOWN,
        per="once",
        value=value,
        low=low,
        high=high,
        currency=found.currency,
        before=before.quantize(_PLACES),
        after=Decimal(0),
        unit="hour",
        hours_before=round(max(map(_hours, ours))),
        hours_after=max(round((now - applied_at) / timedelta(hours=1)), 0),
        paired=0,
        level=0,
    )


def _hours(job: JobState, now: datetime | None = None) -> float:
    end = job.ended_at or now
    return (end - job.started_at) / timedelta(hours=1) if job.started_at is not None and end is not None else 0.0
