"""Fewer workers are proposed where they would do, and never fewer than that."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.cost.inefficiency import Inefficiency, Shrinking
from agents.cost.prices import Held, per_day
from agents.cost.scaling import HOUR, ScaleDownRules, Serving, busy_by_series, busy_by_tallies, idle
from tools.costs.port import Pricing
from tools.costs.prices import PriceBook
from tools.predictions.port import Tally, Values
from tools.telemetry.port import Series
from tools.values import Window

NOW = datetime(2026, 11, 2, tzinfo=UTC)
BOOK = PriceBook.model_validate(
    {
        "currency": "USD",
        "prices": [
            {"resource": "cpu", "unit": "core-hour", "price": "0.04", "from": "2026-01-01T00:00:00Z"},
            {"resource": "cpu", "pricing": "spot", "unit": "core-hour", "price": "0.01", "from": "2026-01-01T00:00:00Z"},
        ],
    }
)
RULES = ScaleDownRules()
CORE = Held(cores=1)


def serving(busy: list[float | None], workers: int = 8, worker: Held = CORE) -> Serving:
    window = Window(start=NOW - len(busy) * HOUR, end=NOW)
    return Serving(
        model="flights", workers=workers, worker=worker, window=window, busy=tuple(busy), source="telemetry", query="busy"
    )


def found(busy: list[float | None], rules: ScaleDownRules = RULES, **how: int) -> Inefficiency | None:
    return idle(serving(busy, **how), rules, BOOK, NOW)


def workers(inefficiency: Inefficiency | None) -> int:
    assert inefficiency is not None
    assert isinstance(inefficiency.remedy, Shrinking)
    return inefficiency.remedy.workers


def test_idle_workers_are_proposed_away_with_what_they_cost() -> None:
    idleness = found([1.0] * 100)
    assert workers(idleness) == 2
    assert idleness is not None
    assert idleness.expected.high == Decimal("0.04") * 24 * 6
    assert idleness.expected.low == idleness.expected.high
    assert "8 workers" in idleness.what
    assert idleness.evidence[0].value == pytest.approx(1 / 8)


def test_a_peak_keeps_the_workers_that_it_needs() -> None:
    """A mean of 10 %, but at noon each day there is work for four."""
    day: list[float | None] = [0.3] * 21 + [4.0] * 3
    assert workers(found(day * 7)) == math.ceil(4.0 / RULES.target)


def test_one_rare_peak_is_met_with_less_room_and_the_saving_says_so() -> None:
    idleness = found([*([1.0] * 99), 3.9])
    assert workers(idleness) == math.ceil(3.9 / RULES.most)
    assert idleness is not None
    assert idleness.expected.low < idleness.expected.high


@pytest.mark.parametrize(
    "busy",
    [
        [1.0] * 71,
        [*([1.0] * 80), *([None] * 20)],
        [2.5] * 100,
        [0.0] * 24,
        [*([0.1] * 97), 7.5, 7.5, 7.5],
    ],
)
def test_nothing_is_said_where_it_cannot_be_told_or_all_are_needed(busy: list[float | None]) -> None:
    assert found(busy) is None


def test_nothing_is_said_of_the_last_worker_or_of_what_nobody_bills() -> None:
    assert found([0.0] * 100, workers=1) is None
    assert found([0.0] * 100, workers=2, rules=ScaleDownRules(least_workers=2)) is None
    assert idle(serving([0.0] * 100, worker=Held()), RULES, BOOK, NOW) is None
    assert idle(serving([0.0] * 100, worker=Held(gpus=1)), RULES, BOOK, NOW) is None, "a GPU has no price in this book"


hours = st.lists(st.floats(0, 8), min_size=72, max_size=200)


@given(busy=hours, have=st.integers(1, 12), least=st.integers(1, 4))
def test_what_is_proposed_is_the_least_that_holds_the_limits(busy: list[float], have: int, least: int) -> None:
    rules = ScaleDownRules(least_workers=least)
    proposed = idle(serving(list(busy), workers=have), rules, BOOK, NOW)

    def holds(count: int) -> bool:
        fitting = sum(hour <= count * rules.target + 1e-6 for hour in busy)
        return count >= least and fitting >= rules.share_of_hours * len(busy) and max(busy) <= count * rules.most + 1e-6

    if proposed is None:
        idle_enough = sum(busy) / len(busy) < rules.below * have
        assert not idle_enough or not any(holds(count) for count in range(1, have) if not holds_nearly(busy, count, rules))
        return
    count = workers(proposed)
    assert least <= count < have
    assert holds(count)
    assert count == 1 or not holds(count - 1) or holds_nearly(busy, count - 1, rules)
    assert 0 <= proposed.expected.low <= proposed.expected.high == per_day(CORE, BOOK, NOW) * (have - count)


def holds_nearly(busy: list[float], count: int, rules: ScaleDownRules) -> bool:
    """On the edge of a limit, where floats decide."""
    edges = [count * rules.target, count * rules.most]
    return any(abs(hour - edge) <= 2e-6 for hour in busy for edge in edges)


@given(busy=hours, more=st.floats(0, 4), place=st.integers(0, 71))
def test_more_work_never_takes_more_workers_away(busy: list[float], more: float, place: int) -> None:
    before = found(list(busy), workers=12)
    busier = [hour + more if at == place else hour for at, hour in enumerate(busy)]
    after = found(list(busier), workers=12)
    if after is not None:
        assert workers(before) <= workers(after)


def test_busy_workers_are_read_off_tallies() -> None:
    window = Window(start=NOW, end=NOW + 3 * HOUR)

    def tally(hour: int, version: str, seconds: float, known: int = 10) -> Tally:
        cost = Values(count=known, total=seconds, squares=0)
        return Tally(start=NOW + hour * HOUR, version=version, count=10, errors=0, slow=None, labelled=0, wrong=None, cost=cost)

    assert busy_by_tallies([tally(0, "1", 1800), tally(0, "2", 900)], window) == (0.75, 0.0, 0.0)
    assert busy_by_tallies([tally(1, "1", 1800), tally(1, "2", 1, known=9)], window) == (0.0, None, 0.0)
    unknown = tally(2, "1", 0).model_copy(update={"cost": None})
    assert busy_by_tallies([unknown, tally(2, "2", 3600)], window) == (0.0, 0.0, None)


def test_busy_workers_are_read_off_telemetry_hour_by_hour() -> None:
    window = Window(start=NOW, end=NOW + 3 * HOUR)
    points = ((NOW, 9.0), (NOW + HOUR, 1.0), (NOW + 3 * HOUR, 3.0), (NOW + timedelta(hours=9), 9.0))
    assert busy_by_series([Series(labels={}, points=points)], window, each=2.0) == (0.5, None, 1.5)


def test_spot_has_its_own_price_and_rules_are_in_order() -> None:
    assert per_day(Held(cores=2), BOOK, NOW, Pricing.SPOT) == Decimal("0.48")
    with pytest.raises(ValidationError, match="target"):
        ScaleDownRules(below=0.7, target=0.6)
