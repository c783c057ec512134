"""Reads what tells whether a model holds, waits for, buys or keeps more than it needs, and asks each detector.

A source that does not answer costs its detector, and is named; none stops a review.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agents.cost import batching, retention, scaling, spot
from agents.cost.inefficiency import Inefficiency
from agents.cost.optimization_rules import Optimizations
from agents.cost.prices import Held
from agents.examination import is_evaluation
from agents.policies import Policies
from agents.quantization_job import is_quantization
from graphs.context import Ledger
from graphs.gathering import Sources
from graphs.keeping import kept_of
from tools.costs.prices import PriceBook
from tools.jobs.port import JobsReader, JobState, Phase
from tools.predictions.port import Tally
from tools.toolbox import Readers
from tools.values import Window

_HOUR = timedelta(hours=1)
_A_WORKER = Held(cores=1)
"""Of the gateway: it computes one batch at a time, on one core, which is what is metered and billed for it."""


async def surplus(
    model: str,
    jobs: Sequence[JobState],
    window: Window,
    readers: Readers,
    ledger: Ledger,
    policies: Policies,
    book: PriceBook,
    sources: Sources,
    now: datetime,
) -> tuple[Inefficiency, ...]:
    rules = policies.optimizations_of(model)
    found: list[Inefficiency | None] = []
    nothing: tuple[Tally, ...] = ()
    hours = _hours(window)
    tallies = await sources.ask("predictions", readers.predictions.tallies(model, hours, _HOUR), nothing)
    if tallies:
        # A model that is younger than the window was not idle before it was there.
        lived = Window(start=tallies[0].start, end=hours.end)
        found.append(await sources.ask("serving", _idle(model, tallies, lived, readers, rules, book, now), None))
        # What is computed elsewhere, such as a language model, has no batches of ours.
        found.append(await Sources().ask("serving", _small(model, tallies, lived, readers, policies, book, now), None))
    found.append(await sources.ask("jobs", _spot(model, jobs, window, readers.jobs, policies, book, now), None))
    found.append(await sources.ask("registry", _expired(model, jobs, readers, ledger, rules, book, now), None))
    return tuple(each for each in found if each is not None)


def _hours(window: Window) -> Window:
    start, end = (each.replace(minute=0, second=0, microsecond=0) for each in (window.start, window.end))
    return Window(start=start, end=end) if end > start else window


async def _idle(
    model: str,
    tallies: Sequence[Tally],
    hours: Window,
    readers: Readers,
    rules: Optimizations,
    book: PriceBook,
    now: datetime,
) -> Inefficiency | None:
    capacity = await readers.serving.capacity(model)
    serving = scaling.Serving(
        model=model,
        workers=capacity.workers,
        worker=_A_WORKER,
        window=hours,
        busy=scaling.busy_by_tallies(tallies, hours),
        source="predictions",
        query=f"tallies({model}) by the hour",
    )
    return scaling.idle(serving, rules.scale_down, book, now)


async def _small(
    model: str,
    tallies: Sequence[Tally],
    hours: Window,
    readers: Readers,
    policies: Policies,
    book: PriceBook,
    now: datetime,
) -> Inefficiency | None:
    counts = [0] * round(hours.length / _HOUR)
    for each in tallies:
        place = (each.start - hours.start) // _HOUR
        if 0 <= place < len(counts):
            counts[place] += each.count
    busiest = hours.start + max(range(len(counts)), key=counts.__getitem__) * _HOUR
    served = await readers.predictions.versions(model, Window(start=busiest, end=busiest + _HOUR))
    slowest = max((each.latency_p99_ms for each in served if each.latency_p99_ms is not None), default=None)
    batched = batching.Batched(
        model=model,
        batching=await readers.serving.batching(model),
        batches=await readers.serving.batches(model),
        window=hours,
        hourly_rows=tuple(counts),
        p99_ms=slowest,
        slo_p99_ms=policies.slo_of(model).max_latency_p99_ms,
    )
    return batching.small(batched, policies.optimizations_of(model).batching, book, now)


async def _spot(
    model: str,
    jobs: Sequence[JobState],
    window: Window,
    reader: JobsReader,
    policies: Policies,
    book: PriceBook,
    now: datetime,
) -> Inefficiency | None:
    trained = []
    for job in jobs:
        if is_evaluation(job.name) or is_quantization(job.name) or job.phase is not Phase.SUCCEEDED:
            continue
        if job.ended_at is None or job.ended_at < window.start:
            continue
        usage = await reader.usage(job.name)
        if (own := usage.reserved) is None:
            continue
        trained.append(
            spot.Trained(
                job=job.name,
                held=Held(cores=own.cpu, memory_bytes=own.memory_bytes, gpus=own.gpus),
                seconds=usage.wall_seconds,
                pricing=job.pricing,
                interruptions=job.interruptions,
            )
        )
    trainings = spot.Trainings(
        model=model,
        resumes=policies.training_of(model).resumes,
        buying=await reader.buying(model),
        window=window,
        trained=tuple(trained),
    )
    return spot.movable(trainings, policies.optimizations_of(model).spot, book, now)


async def _expired(
    model: str,
    jobs: Sequence[JobState],
    readers: Readers,
    ledger: Ledger,
    rules: Optimizations,
    book: PriceBook,
    now: datetime,
) -> Inefficiency | None:
    return retention.expired(await kept_of(model, jobs, readers, ledger), rules.keeping, book, now)
