"""Trainings that are the same twice: one model, one command, one stretch of data, at one time."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from agents.actions import Risk
from agents.cost.inefficiency import Consolidation, Inefficiency, Saving
from agents.cost.optimization_rules import Optimizations
from agents.evidence import Evidence
from agents.wording import between, counted, money, share
from tools.jobs.port import JobState, Phase
from tools.values import Window

_DAY_H = 24.0
_PLACES = Decimal("0.000001")


def duplicate_trainings(
    model: str, jobs: Sequence[JobState], by_job: dict[str, Decimal], currency: str, rules: Optimizations, now: datetime
) -> Inefficiency | None:
    """The largest set of them; None where each is another. `by_job`: what each has cost so far. A job of which nobody knows
    what it does on which data is never a duplicate."""
    running = [each for each in jobs if not each.final and each.work and each.data is not None]
    kept, others = max((_same_as(each, running, rules.overlap) for each in running), key=_rank, default=(None, ()))
    if kept is None or not others:
        return None
    costs = [_rate(each, by_job, now) for each in others]
    if any(each is None for each in costs):
        return None  # what is on no record yet is looked at again
    hourly = sum((each for each in costs if each is not None), Decimal(0))
    least, most = _left(kept, jobs, now)
    expected = Saving(low=_money(hourly, least), high=_money(hourly, most), currency=currency)
    shared = min(_overlap(kept, each) for each in others)
    names, each_hour = ", ".join(each.name for each in others), f"{money(hourly, currency)} an hour"
    what = (
        f"{counted(len(others) + 1, 'training')} of {model} run the same command on the same data ({share(shared)} of the "
        f"longer stretch is shared at least): {names} cost {each_hour} together and make what {kept.name} makes"
    )
    evidence = tuple(_evidence(each, by_job, currency, keeps=each is kept) for each in (kept, *others))
    total = Evidence(
        id="duplicates.hourly",
        statement=f"Together the others cost {money(hourly, currency)} an hour; "
        f"{between(expected.low, expected.high, currency)} until they end.",
        source="costs",
        query="breakdown(by workload)",
        value=float(hourly),
        unit=f"{currency}/h",
        sample_size=len(others),
    )
    return Inefficiency(
        kind="consolidate_training",
        subject=model,
        evidence=(*evidence, total),
        expected=expected,
        risk=Risk.LOW,
        what=what[:500],
        remedy=Consolidation(model=model, kept=kept.name, cancelled=tuple(each.name for each in others)),
    )


def _same_as(job: JobState, running: Sequence[JobState], least: float) -> tuple[JobState, tuple[JobState, ...]]:
    """The job, and those that make nothing that it does not make: none whose data reaches beyond its own, and none that runs
    already where it does not."""
    likes = [each for each in running if each.work == job.work and _overlap(job, each) >= least and _first(each) < _first(job)]
    return job, tuple(sorted((each for each in likes if _runs(each) <= _runs(job)), key=lambda each: each.name))[:50]


def _rank(found: tuple[JobState, tuple[JobState, ...]]) -> tuple[int, tuple[datetime, bool, float, float, str]]:
    return len(found[1]), _first(found[0])


def _runs(job: JobState) -> bool:
    return job.phase is Phase.RUNNING


def _first(job: JobState) -> tuple[datetime, bool, float, float, str]:
    """How late its data ends; whether it runs at all; how far it says to be; for how long it has run."""
    assert job.data is not None
    begun = -(job.started_at or job.submitted_at).timestamp()
    return job.data.end, _runs(job), job.progress.fraction if job.progress is not None else 0.0, begun, job.name


def _overlap(one: JobState, other: JobState) -> float:
    """Share of the longer stretch."""
    a, b = one.data, other.data
    assert a is not None
    assert b is not None
    start, end = max(a.start, b.start), min(a.end, b.end)
    return (end - start) / max(a.length, b.length) if end > start else 0.0


def _rate(job: JobState, by_job: dict[str, Decimal], now: datetime) -> Decimal | None:
    """Per hour so far; None while nothing of it is booked."""
    if job.started_at is None:
        return Decimal(0)
    cost, hours = by_job.get(job.name), (now - job.started_at).total_seconds() / 3600
    return None if cost is None or hours <= 0 else cost / Decimal(repr(hours))


def _left(kept: JobState, jobs: Sequence[JobState], now: datetime) -> tuple[float, float]:
    """Hours that they would go on for: between what the quickest and the slowest training of that command took. Without any, or
    where this one takes longer than any did, it is not known: up to a day."""
    took = [
        (each.ended_at - each.started_at).total_seconds() / 3600
        for each in jobs
        if each.phase is Phase.SUCCEEDED
        and each.work == kept.work
        and each.started_at is not None
        and each.ended_at is not None
    ]
    run = (now - kept.started_at).total_seconds() / 3600 if kept.started_at is not None else 0.0
    if not took or (slow := max(took)) <= run:
        return 0.0, _DAY_H
    quick = min(took)
    return min(max(quick - run, 0.0), _DAY_H), min(max(slow - run, 0.0), _DAY_H)


def _evidence(job: JobState, by_job: dict[str, Decimal], currency: str, *, keeps: bool) -> Evidence:
    data: Window | None = job.data
    assert data is not None
    far = f", at {job.progress.fraction:.0%}" if job.progress is not None else ""
    cost = by_job.get(job.name)
    paid = f", {money(cost, currency)} so far" if cost is not None else ""
    return Evidence(
        id=f"job.{job.name}",
        statement=f"{job.name} ({'is kept' if keeps else 'the same again'}) learns from {data.start:%Y-%m-%d %H:%M} to "
        f"{data.end:%Y-%m-%d %H:%M} UTC{far}{paid}.",
        source="jobs",
        query=f"jobs({job.model})",
        value=float(cost) if cost is not None else None,
        unit=currency,
        window=data,
    )


def _money(hourly: Decimal, hours: float) -> Decimal:
    return (hourly * Decimal(repr(hours))).quantize(_PLACES)
