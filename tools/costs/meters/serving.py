"""What answering took, from the prediction log: the gateway's processor time by version, and the tokens of language models."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from tools.costs.meters.hours import HOUR, key_of
from tools.costs.port import Component, Owner, Pricing, Usage, Word
from tools.costs.prices import PriceBook
from tools.costs.units import Resource
from tools.predictions.port import Work
from tools.values import Frozen, Instant, Window

CPU, TOKENS = "CPU serving", "LLM tokens"
GATEWAY, SHADOW = "gateway", "gateway (shadow)"
"""Workloads: what was served, and copies of it that nobody got."""


class Trial(Frozen):
    """An experiment of a model, as far as the bill is concerned."""

    id: Word
    versions: frozenset[str]
    """Of its arms, the control among them."""
    start: Instant
    end: Instant | None
    """None: it goes on."""

    def covers(self, hour: datetime) -> bool:
        return self.start < hour + HOUR and (self.end is None or self.end > hour)


def usages(
    model: str, works: Iterable[Work], team: str, until: datetime, book: PriceBook, trials: Sequence[Trial] = ()
) -> tuple[Usage, ...]:
    """Of steps of an hour, up to now, with revision 0. What the arms of an experiment have answered in the hours in which it
    runs is the experiment's; copies that nobody got are not."""
    return tuple(usage for work in works for usage in _usages(model, work, team, until, book, trials))


def _usages(model: str, work: Work, team: str, until: datetime, book: PriceBook, trials: Sequence[Trial]) -> Iterator[Usage]:
    window = Window(start=work.start, end=min(work.start + HOUR, until))
    owner = {"component": Component.SERVING, "model": model[:200], "version": work.version[:200], "team": team}
    of = [each for each in trials if not work.shadow and work.version in each.versions and each.covers(work.start)]
    if of:
        owner["experiment"] = max(of, key=lambda each: each.start).id
    workload = SHADOW if work.shadow else GATEWAY
    if work.cpu_seconds:
        yield Usage(
            key=key_of("serving", model, work.version, workload, "cpu", hour=work.start),
            resource=Resource.CPU,
            quantity=work.cpu_seconds,
            window=window,
            owner=Owner(part=CPU, workload=workload, **owner),
        )
    for resource, count in ((Resource.INPUT_TOKENS, work.prompt_tokens), (Resource.OUTPUT_TOKENS, work.completion_tokens)):
        if count:
            yield Usage(
                key=key_of("serving", model, work.version, resource.value, hour=work.start),
                resource=resource,
                sku=sku_of(model, work.version, book),
                quantity=count,
                window=window,
                owner=Owner(part=TOKENS, workload=workload, **owner),
            )


def sku_of(model: str, version: str, book: PriceBook) -> str:
    """`MODEL/VERSION` where the book has a price of its own for it (a server, an adapter), else the model."""
    own = f"{model}/{version}"
    known = any(price.sku == own for price in book.prices if price.pricing is Pricing.STANDARD)
    return (own if known else model)[:200]
