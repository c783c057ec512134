"""What a platform of twins has spent: usage by the hour, priced and booked as a meter does."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from agents.alerts import Alert
from agents.requests import REVIEW, Request, to_alert
from tests.graphs.platform import HOUR, MODEL, Platform, alert
from tools.costs.port import Component, Owner, Pricing, Usage
from tools.costs.prices import Price, PriceBook
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.jobs.port import MIB, JobSpec, JobState, Resources
from tools.values import Window

CPU_HOUR = 100
"""USD."""
_LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def core_hour(price: int, since: datetime = _LONG_AGO, pricing: Pricing = Pricing.STANDARD) -> Price:
    told = {"resource": "cpu", "unit": "core-hour", "price": str(price), "pricing": pricing, "from": since}
    return Price.model_validate(told)


BOOK = PriceBook(currency="USD", prices=(core_hour(CPU_HOUR),))


def cost_alert(at: datetime, **values: Any) -> Alert:
    labels = {"alertname": "CostUnusual", "monitor": "cost", "model": MODEL}
    return alert(at, name="CostUnusual", source="oppen", labels=labels, **values)


def review(at: datetime, by: str = "schedule:cost-review") -> Alert:
    return to_alert(Request(kind=REVIEW, model=MODEL, by=by, reason="it is time"), "rev", at)


async def spend(
    platform: Platform,
    owner: Owner,
    window: Window,
    core_seconds: float,
    book: PriceBook | None = None,
    pricing: Pricing = Pricing.STANDARD,
) -> None:
    usage = Usage(
        key=f"{owner.workload or owner.version}/{window.start.isoformat()}",
        resource=Resource.CPU,
        quantity=Decimal(repr(round(core_seconds, 6))),
        window=window,
        owner=owner,
        pricing=pricing,
    )
    await platform.costs.book([usage], priced(usage, book or BOOK))


async def serve(platform: Platform, version: str, time: timedelta, seconds: float, **traffic: Any) -> None:
    """Let `time` pass, with requests that `version` answers, each for so many core-seconds, more or less by the hour."""
    start = platform.clock.now()
    platform.traffic(version, time, **traffic)
    await book_serving(platform, version, start, time, seconds)


async def book_serving(platform: Platform, version: str, start: datetime, time: timedelta, seconds: float) -> None:
    for place in range(int(time / HOUR)):
        at = start + place * HOUR
        wobble = 1 + 0.02 * ((at.hour * 7) % 5 - 2) / 2
        owner = Owner(component=Component.SERVING, part="CPU serving", model=MODEL, version=version)
        await spend(platform, owner, Window(start=at, end=at + HOUR), 60 * seconds * wobble)


def training(
    days: int = 28,
    command: tuple[str, ...] = ("python", "-m", "train"),
    end: datetime | None = None,
    config: dict[str, str] | None = None,
) -> JobSpec:
    end = end or datetime(2026, 3, 1, tzinfo=UTC)
    return JobSpec(
        model=MODEL,
        team="growth",
        run_id="by-hand",
        command=command,
        environment={
            "OPPEN_WINDOW_START": (end - timedelta(days=days)).isoformat(),
            "OPPEN_WINDOW_END": end.isoformat(),
        },
        config=config or {},
        resources=Resources(cpu=1, memory_bytes=512 * MIB),
        deadline=timedelta(hours=6),
    )


async def train(platform: Platform, key: str, spec: JobSpec | None = None) -> JobState:
    return await platform.jobs.submit(key, spec or training())


async def book_job(platform: Platform, name: str, window: Window, cores: float = 1.0) -> None:
    owner = Owner(component=Component.TRAINING, part="CPU", model=MODEL, team="growth", workload=name)
    await spend(platform, owner, window, window.length.total_seconds() * cores)
