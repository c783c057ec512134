"""What a job holds, for as long as it runs: cores, memory and GPUs that nobody else can use meanwhile.

Metered is what was reserved, as a cloud bills it, and not the processor time that came of it; the two beside each other are a
job's utilisation, which the jobs' port tells. Where nobody knows any more what was reserved, it is what the job has used.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from tools.costs.meters.holding import amount
from tools.costs.meters.hours import by_hours, key_of
from tools.costs.port import Component, Owner, Pricing, Usage
from tools.costs.units import Resource
from tools.jobs.port import JobState
from tools.jobs.port import Usage as Used
from tools.values import Window

PARTS = {Resource.CPU: "CPU hours", Resource.MEMORY: "memory", Resource.GPU: "GPU hours"}
_MICROSECOND = timedelta(microseconds=1)


def usages(
    job: JobState, used: Used, begun: datetime, pricing: Pricing = Pricing.STANDARD, version: str = ""
) -> tuple[Usage, ...]:
    """So far, by the hour, with revision 0. `begun`: when it began to run, by the platform's clock; what it ran is real time,
    over all attempts, and laid behind that in one piece. `version`: that it has made, once that is registered."""
    length = timedelta(seconds=used.wall_seconds)
    if length < _MICROSECOND:
        return ()
    window = Window(start=begun, end=begun + length)
    owner = {"component": Component.TRAINING, "model": job.model, "team": job.team, "workload": job.name}
    return tuple(
        Usage(
            key=key_of("job", job.name, resource.value, hour=piece.start),
            resource=resource,
            quantity=amount(rate, piece.length),
            window=piece,
            pricing=pricing,
            owner=Owner(part=PARTS[resource], version=version[:200], **owner),
        )
        for resource, rate in _rates(used)
        for piece in by_hours(window)
    )


def _rates(used: Used) -> Iterator[tuple[Resource, Decimal]]:
    """Metered units a second."""
    held, wall = used.reserved, Decimal(repr(used.wall_seconds))
    cores = Decimal(repr(held.cpu)) if held is not None else Decimal(repr(used.cpu_seconds or 0.0)) / wall
    memory = held.memory_bytes if held is not None else used.peak_memory_bytes or 0
    gpus = Decimal(held.gpus) if held is not None else Decimal(repr(used.gpu_seconds)) / wall
    rates = {Resource.CPU: cores, Resource.MEMORY: Decimal(memory), Resource.GPU: gpus}
    return ((resource, rate) for resource, rate in rates.items() if rate)
