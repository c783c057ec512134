"""The price book: what a resource costs, from when on, and how it was bought. Data, in YAML:

    currency: USD
    prices:
      - {resource: cpu, unit: core-hour, price: "0.0316", from: 2026-01-01T00:00:00Z}
      - {resource: cpu, pricing: spot, unit: core-hour, price: "0.0110", from: 2026-01-01T00:00:00Z}
      - {resource: gpu, sku: h100, unit: gpu-hour, price: "2.98", from: 2026-01-01T00:00:00Z}

A price holds until the next of its resource, sku and pricing. What has no price of its own sku has that of its resource; what
is not to be had spot or committed costs what is standard. What has no price at all cannot be booked: a bill with holes is none.
"""

from bisect import bisect_right
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from tools.costs.port import Currency, Pricing, Word
from tools.costs.units import Resource, multiple
from tools.errors import PermanentError
from tools.faults import faults
from tools.values import Frozen, Instant, Window


class Price(Frozen):
    resource: Resource
    sku: Word = ""
    pricing: Pricing = Pricing.STANDARD
    unit: str
    price: Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=12)]
    """Of one `unit`, in the book's currency."""
    since: Annotated[Instant, Field(alias="from")]

    @model_validator(mode="after")
    def _measured(self) -> Self:
        multiple(self.resource, self.unit)
        return self


class NoPrice(PermanentError):
    """The book does not say what this costs."""


class PriceBook(Frozen):
    currency: Currency
    prices: tuple[Price, ...]

    @model_validator(mode="after")
    def _once(self) -> Self:
        for found in self._by_kind.values():
            starts = [each.since for each in found]
            if len(set(starts)) < len(starts):
                raise ValueError(
                    f"prices: two of {found[0].resource} {found[0].sku} ({found[0].pricing}) begin at the same time"
                )
        return self

    @cached_property
    def _by_kind(self) -> dict[tuple[Resource, str, Pricing], list[Price]]:
        kinds: dict[tuple[Resource, str, Pricing], list[Price]] = defaultdict(list)
        for each in sorted(self.prices, key=lambda price: price.since):
            kinds[each.resource, each.sku, each.pricing].append(each)
        return dict(kinds)

    def at(self, resource: Resource, sku: str, pricing: Pricing, moment: datetime) -> Price:
        """Raises NoPrice."""
        for kind in self._kinds(resource, sku, pricing):
            found = self._by_kind.get(kind, [])
            if place := bisect_right(found, moment, key=lambda price: price.since):
                return found[place - 1]
        what = f"{resource} {sku}".strip()
        raise NoPrice(f"the price book has no price of {what} at {moment.isoformat()}: add one with `resource: {resource}`")

    def changes(self, resource: Resource, sku: str, pricing: Pricing, window: Window) -> tuple[datetime, ...]:
        """Moments within the window at which another price may begin, in order."""
        found = {
            each.since
            for kind in self._kinds(resource, sku, pricing)
            for each in self._by_kind.get(kind, [])
            if window.start < each.since < window.end
        }
        return tuple(sorted(found))

    @staticmethod
    def _kinds(resource: Resource, sku: str, pricing: Pricing) -> tuple[tuple[Resource, str, Pricing], ...]:
        """Whose price counts, the nearest first."""
        kinds = ((resource, sku, pricing), (resource, "", pricing), (resource, sku, Pricing.STANDARD))
        return (*kinds, (resource, "", Pricing.STANDARD))


def read_prices(path: Path) -> PriceBook:
    """Raises PermanentError, with the field, for a book that cannot be used."""
    from tools import plain_yaml

    try:
        said = plain_yaml.read(path.read_text())
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PermanentError(f"{path} is no text in UTF-8") from error
    except plain_yaml.NotPlain as error:
        raise PermanentError(f"{path}: {error}") from error
    try:
        return PriceBook.model_validate(said)
    except ValidationError as error:
        told = "; ".join(f"{field}: {what}" for field, what in faults(error, unknown="there is no such field"))
        raise PermanentError(f"{path}: {told}") from error
