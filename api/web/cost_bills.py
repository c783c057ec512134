"""The bills that are shown, made of what the ledger says: all computing, so it is done in a thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from pydantic import field_serializer

from agents.cost.attribution import attributed
from agents.cost.bills import Entry, bill, over_time
from agents.cost.sharing import Cell, Rule
from api.web.views import View
from tools.costs.apportioning import EXACT
from tools.costs.port import Amount, Dimension, Step

MOST_CELLS = 40_000
"""Fewer than the ledger would answer: making bills of so many takes a second of a core, and several MB to say them."""
_THOUSAND = Decimal(1_000)
_SMALLEST = Decimal("1e-9")


class EntryView(View):
    name: str
    """Empty: what is nobody's in particular."""
    cost: Decimal
    """Rounded to cents so that at every level the parts are the whole."""
    exact: Decimal
    per_thousand: Decimal | None
    """Predictions of its model and version, as far as it is of one; null where none were asked for, or none were made."""
    parts: "list[EntryView]"
    """The dearest first."""

    @field_serializer("cost", "exact", "per_thousand")
    def _plain(self, value: Decimal | None) -> str | None:
        return format(value, "f") if value is not None else None


class StepView(View):
    start: datetime
    cost: Decimal
    """In cents; the steps of a bill add up to it."""
    exact: Decimal
    parts: list[EntryView]
    """By the outermost dimension."""

    @field_serializer("cost", "exact")
    def _plain(self, value: Decimal) -> str:
        return format(value, "f")


class BillView(View):
    currency: str
    """ISO 4217."""
    total: EntryView
    steps: list[StepView]
    """Oldest first; empty without a `step`. Those without any charge are left out."""


class CostsView(View):
    start: datetime
    end: datetime
    by: list[Dimension]
    step: Step | None
    share: Rule
    predictions: int | None
    """In the window, of the models and versions that were asked for; null unless costs are asked per thousand."""
    prices: str
    """Where they are from."""
    metered_until: datetime | None
    """Until when all that can be read is booked; null: not since the service was started. What came later is on no bill yet."""
    unread: list[str]
    """What could not be read at the latest try, and is missing since: `jobs`, `serving`, `storage`, `standing`, or one job."""
    unpriced: list[str]
    """What is metered and has no price in the book: it is missing here."""
    bills: list[BillView]
    """One for each currency: two are never added. Empty when nothing was booked."""


@dataclass(frozen=True)
class Making:
    """How bills are to be made."""

    by: tuple[Dimension, ...]
    step: Step | None
    share: Rule
    counts: Mapping[tuple[str, str], int] | None
    """Predictions by model and version; None: not asked for."""
    _made: dict[tuple[str, str], int] = field(default_factory=dict, init=False)

    def per_thousand(self, cost: Decimal, at: Mapping[Dimension, str]) -> Decimal | None:
        if self.counts is None:
            return None
        model, version = key = at.get(Dimension.MODEL, ""), at.get(Dimension.VERSION, "")
        if key not in self._made:
            counts = self.counts.items()
            self._made[key] = sum(count for own, count in counts if model in ("", own[0]) and version in ("", own[1]))
        made = self._made[key]
        if not made:
            return None
        return EXACT.divide(EXACT.multiply(cost, _THOUSAND), Decimal(made)).quantize(_SMALLEST, ROUND_HALF_EVEN, EXACT)


def bills(amounts: Sequence[Amount], made: Making) -> list[BillView]:
    """One for each currency. Raises TooMany for more than `MOST_CELLS`, as they are or shared out."""
    by_currency: dict[str, list[Cell]] = {}
    for cell in attributed(amounts, made.by, made.share, most=MOST_CELLS):
        by_currency.setdefault(cell.currency, []).append(cell)
    return [_bill(currency, by_currency[currency], made) for currency in sorted(by_currency)]


def _bill(currency: str, cells: list[Cell], made: Making) -> BillView:
    steps = over_time(cells, made.by[:1]) if made.step is not None else ()
    return BillView(
        currency=currency,
        total=_entry(bill(cells, made.by), made.by, made, {}),
        steps=[
            StepView(start=start, cost=each.cost, exact=each.exact, parts=list(map(_leaf, each.parts))) for start, each in steps
        ],
    )


def _entry(entry: Entry, by: tuple[Dimension, ...], made: Making, at: dict[Dimension, str]) -> EntryView:
    own, rest = (by[0], by[1:]) if by else (None, ())
    return EntryView(
        name=entry.name,
        cost=entry.cost,
        exact=entry.exact,
        per_thousand=made.per_thousand(entry.exact, at),
        parts=[_entry(part, rest, made, {**at, own: part.name} if own else at) for part in entry.parts],
    )


def _leaf(entry: Entry) -> EntryView:
    return EntryView(name=entry.name, cost=entry.cost, exact=entry.exact, per_thousand=None, parts=[])
