"""A wait is proposed where it pays within the promised latency, and nothing is said where that cannot be told."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cost.batching import WAITS_MS, Batched, BatchingRules, line, small
from agents.cost.inefficiency import Inefficiency, Rebatching
from tests.unit.agents.test_idle_workers import BOOK
from tools.costs.prices import PriceBook
from tools.serving.port import Batches
from tools.serving.port import Batching as Chosen
from tools.values import Window

NOW = datetime(2026, 11, 2, tzinfo=UTC)
WINDOW = Window(start=NOW - timedelta(hours=48), end=NOW)
RULES = BatchingRules()


def measured(
    fixed: float, row: float, *, sizes: tuple[int, ...] = (1, 1, 2, 3), count: int = 2_000, noise: float = 0.1
) -> Batches:
    """One request a row, a thousand a second; batches whose seconds scatter around a line."""
    chance = random.Random(7)
    rows = [chance.choice(sizes) for _ in range(count)]
    cpu = [(fixed + row * each) * chance.uniform(1 - noise, 1 + noise) for each in rows]
    return Batches(
        version="1",
        seconds=sum(rows) / 1000,
        count=count,
        requests=sum(rows),
        rows=sum(rows),
        rows_squared=sum(each * each for each in rows),
        cpu_s=sum(cpu),
        cpu_squared=sum(each * each for each in cpu),
        rows_cpu=sum(each * second for each, second in zip(rows, cpu, strict=True)),
    )


def batched(own: Batches | None = None, **how: Any) -> Batched:
    """A thousand rows a second."""
    facts: dict[str, Any] = {
        "model": "flights",
        "batching": Chosen(generation=3, rows=64, wait_ms=0, most_rows=512, longest_wait_ms=100),
        "batches": (own or measured(0.002, 0.0001),),
        "window": WINDOW,
        "hourly_rows": (3_600_000,) * 48,
        "p99_ms": 10.0,
        "slo_p99_ms": 250.0,
    }
    return Batched(**(facts | how))


def found(facts: Batched, rules: BatchingRules = RULES, book: PriceBook = BOOK) -> Inefficiency | None:
    return small(facts, rules, book, NOW)


def remedy(inefficiency: Inefficiency | None) -> Rebatching:
    assert inefficiency is not None
    assert isinstance(inefficiency.remedy, Rebatching)
    return inefficiency.remedy


@given(fixed=st.floats(1e-5, 1e-2), row=st.floats(0, 1e-3))
def test_the_fixed_part_and_the_part_per_row_are_told_apart(fixed: float, row: float) -> None:
    drawn = line(measured(fixed, row, noise=0.0), 0.95)
    assert drawn is not None
    assert drawn.fixed == pytest.approx(fixed, rel=1e-3)
    assert drawn.row == pytest.approx(row, rel=1e-3, abs=fixed * 1e-3)
    assert drawn.low <= drawn.fixed <= drawn.high


def test_the_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    held = 0
    for seed in range(200):
        chance = random.Random(seed)
        rows = [chance.randint(1, 8) for _ in range(300)]
        cpu = [0.001 + 0.0002 * each + chance.gauss(0, 0.0003) for each in rows]
        sums = Batches(
            version="1",
            seconds=60,
            count=300,
            requests=300,
            rows=sum(rows),
            rows_squared=sum(each**2 for each in rows),
            cpu_s=sum(cpu),
            cpu_squared=sum(each**2 for each in cpu),
            rows_cpu=sum(each * second for each, second in zip(rows, cpu, strict=True)),
        )
        drawn = line(sums, 0.95)
        assert drawn is not None
        held += drawn.low <= 0.001 <= drawn.high
    assert held >= 180


def test_a_costly_start_is_shared_by_more_rows() -> None:
    inefficiency = found(batched())
    wish = remedy(inefficiency)
    assert (wish.from_rows, wish.from_wait_ms, wish.from_generation) == (64, 0, 3)
    # The shortest wait that brings most of it: longer ones make everybody wait for little.
    assert 3 <= wish.wait_ms < RULES.longest_wait_ms
    assert wish.rows >= 64
    assert inefficiency is not None
    # 3.6 million rows an hour in batches of 1.75, 2 ms each: 1.1 core-hours an hour, of which nearly all is saved.
    whole = Decimal("0.04") * 24 * Decimal(3_600_000) / Decimal("1.75") * Decimal("0.002") / 3600
    assert whole * Decimal("0.5") < inefficiency.expected.low < inefficiency.expected.high < whole * Decimal("1.05")


def test_the_promise_ends_the_wait() -> None:
    # 80 % of 25 ms are 20; 10 are used, and a batch and the one before it take some more.
    wish = remedy(found(batched(slo_p99_ms=25.0)))
    assert 0 < wish.wait_ms <= 5
    assert found(batched(slo_p99_ms=12.0)) is None


@pytest.mark.parametrize(
    "how",
    [
        {"p99_ms": None},
        {"slo_p99_ms": None},
        {"batches": ()},
        {"batches": (measured(0.002, 0.0001, count=100),)},
        {"batches": (measured(0.002, 0.0001, sizes=(2,)),)},
        {"batches": (measured(0.0, 0.001, noise=0.5),)},
        {"hourly_rows": (10,) * 48},
        {"hourly_rows": (0,) * 48},
        {"window": Window(start=NOW - timedelta(hours=12), end=NOW), "hourly_rows": (3_600_000,) * 12},
        {"batching": Chosen(generation=3, rows=64, wait_ms=20, most_rows=512, longest_wait_ms=100)},
        {"batching": Chosen(generation=3, rows=64, wait_ms=0, most_rows=512, longest_wait_ms=0)},
    ],
)
def test_nothing_is_said_where_it_cannot_be_told_or_would_not_pay(how: dict[str, Any]) -> None:
    assert found(batched(**how)) is None


def test_nothing_is_said_without_a_price_or_with_most_of_the_traffic_unknown() -> None:
    assert found(batched(), book=PriceBook(currency="USD", prices=())) is None
    other = measured(0.002, 0.0001, sizes=(2,)).model_copy(update={"version": "2"})
    assert found(batched(batches=(measured(0.002, 0.0001), other))) is None


@given(
    fixed=st.floats(0, 5e-3),
    row=st.floats(0, 1e-3),
    hourly=st.lists(st.integers(0, 20_000_000), min_size=48, max_size=48),
    p99=st.floats(0.1, 300),
    slo=st.floats(1, 500),
    wait=st.sampled_from((0.0, *WAITS_MS)),
)
def test_what_is_proposed_stays_within_the_promise_and_saves(
    fixed: float, row: float, hourly: list[int], p99: float, slo: float, wait: float
) -> None:
    now = Chosen(generation=0, rows=64, wait_ms=wait, most_rows=512, longest_wait_ms=100)
    facts = batched(measured(fixed, row, count=600), batching=now, hourly_rows=tuple(hourly), p99_ms=p99, slo_p99_ms=slo)
    inefficiency = found(facts)
    if inefficiency is None:
        return
    wish = remedy(inefficiency)
    assert wait < wish.wait_ms <= RULES.longest_wait_ms
    assert p99 + wish.wait_ms <= (1 - RULES.headroom) * slo
    assert 64 <= wish.rows <= 512
    assert 0 < inefficiency.expected.low <= inefficiency.expected.high
