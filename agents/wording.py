"""How numbers are written for people, so that a share reads the same in evidence, reasons and reports."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal


def share(value: float) -> str:
    return f"{value:.1%}"


def points(difference: float) -> str:
    """A difference of two shares, in percentage points, without its sign."""
    return f"{abs(difference) * 100:.1f} points"


def milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def span(length: timedelta) -> str:
    """The largest unit that says it in whole numbers or one decimal: `45 s`, `15 min`, `6 h`, `2 days`."""
    seconds = length.total_seconds()
    for size, unit, least in ((86_400, "days", 172_800), (3_600, "h", 3_600), (60, "min", 60), (1, "s", 0)):
        if seconds >= least:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} {'UTC' if not at.utcoffset() else f'{at:%z}'}"


def number(value: float) -> str:
    """A quantity of unknown unit, short."""
    return f"{value:,.0f}" if abs(value) >= 1_000 and float(value).is_integer() else f"{value:.4g}"


def money(amount: Decimal, currency: str) -> str:
    """To the cent from ten cents on, else two digits that count."""
    if not amount or abs(amount) >= Decimal("0.1"):
        return f"{currency} {amount.quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}"
    places = 1 - amount.adjusted()
    return f"{currency} {amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def between(low: Decimal, high: Decimal, currency: str) -> str:
    said = money(low, currency), money(high, currency)
    return said[0] if said[0] == said[1] else f"{said[0]} to {said[1].removeprefix(currency).strip()}"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
