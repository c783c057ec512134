"""What of a budget is used up, how fast, and whether it will do."""

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from agents.cost.forecasts import Forecast
from agents.cost.rules import Budget
from agents.wording import moment, money, share
from tools.values import Frozen, Instant

Standing = Literal["spent", "will not do", "may not do", "will do", "unknown"]


class Burn(Frozen):
    budget: Budget
    forecast: Forecast
    standing: Standing
    used: float
    """Share of the budget."""
    rate: float | None
    """Of the budget's share that is used, over the share of the time that has passed: above 1 it will not do if it goes on
    evenly. None at the very start."""
    exhausted_at: Instant | None
    """When it is used up if it goes on as usual; None where it is not, or was already."""
    summary: str

    @property
    def left(self) -> Decimal:
        """Below zero where more was spent."""
        return self.budget.amount - self.forecast.spent


def burn(budget: Budget, forecast: Forecast) -> Burn:
    """Raises ValueError for a forecast in another currency."""
    if forecast.currency != budget.currency:
        raise ValueError(f"forecast: in {budget.currency}, as the budget")
    window = forecast.window
    used, passed = float(forecast.spent / budget.amount), (forecast.until - window.start) / window.length
    standing, at = _standing(budget, forecast), _exhausted(budget, forecast)
    return Burn(
        budget=budget,
        forecast=forecast,
        standing=standing,
        used=used,
        rate=used / passed if passed > 0 else None,
        exhausted_at=at,
        summary=_summary(budget, forecast, standing, used, at),
    )


def called(budget: Budget) -> str:
    whose = "everything" if budget.of == "whole" else f"{budget.of} {budget.name}"
    return f"{money(budget.amount, budget.currency)} a {budget.every} for {whose}"


def _standing(budget: Budget, forecast: Forecast) -> Standing:
    if forecast.spent >= budget.amount:
        return "spent"
    if (expected := forecast.expected) is None:
        return "unknown"
    if expected > budget.amount:
        return "will not do"
    return "may not do" if forecast.high is None or forecast.high > budget.amount else "will do"


def _exhausted(budget: Budget, forecast: Forecast) -> datetime | None:
    left = budget.amount - forecast.spent
    if left <= 0:
        return None
    for stretch in forecast.to_come:
        if stretch.cost and left <= stretch.cost:
            return stretch.start + (stretch.end - stretch.start) * float(left / stretch.cost)
        left -= stretch.cost
    return None


def _summary(budget: Budget, forecast: Forecast, standing: Standing, used: float, at: datetime | None) -> str:
    told = f"Of {called(budget)}, {share(used)} is spent ({money(_rounded(forecast.spent), budget.currency)})"
    if standing == "spent" or forecast.expected is None:
        return f"{told}; {'nothing is left' if standing == 'spent' else forecast.reason}."
    until = f"{money(_rounded(forecast.expected), budget.currency)} are to be expected by the end"
    if forecast.low is not None and forecast.high is not None:
        low, high = money(_rounded(forecast.low), budget.currency), money(_rounded(forecast.high), budget.currency)
        until = f"{until} ({low} to {high} at {forecast.interval:.0%})"
    when = f"; it is used up at {moment(at)}" if at is not None else ""
    return f"{told}; {until}{when}."


def _rounded(cost: Decimal) -> Decimal:
    return cost.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
