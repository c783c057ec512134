"""Trainings are proposed for spot where they can stand it and where it pays, and nowhere else."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cost.inefficiency import Inefficiency, Move
from agents.cost.prices import Held
from agents.cost.spot import SpotRules, Trained, Trainings, movable
from tests.unit.agents.test_idle_workers import BOOK
from tools.costs.port import Pricing
from tools.costs.prices import PriceBook
from tools.jobs.port import Buying
from tools.values import Window

NOW = datetime(2026, 11, 2, tzinfo=UTC)
WINDOW = Window(start=NOW - timedelta(days=28), end=NOW)
EITHER = Buying(pricing=Pricing.STANDARD, offered=(Pricing.STANDARD, Pricing.SPOT))
RULES = SpotRules()


def trained(pricing: Pricing = Pricing.STANDARD, interruptions: int = 0, seconds: float = 3600) -> Trained:
    return Trained(job="oppen-x", held=Held(cores=4), seconds=seconds, pricing=pricing, interruptions=interruptions)


def trainings(**how: Any) -> Trainings:
    facts = {"model": "flights", "resumes": True, "buying": EITHER, "window": WINDOW, "trained": (trained(),) * 16}
    return Trainings(**(facts | how))


def found(facts: Trainings, book: PriceBook = BOOK) -> Inefficiency | None:
    return movable(facts, RULES, book, NOW)


def test_trainings_that_go_on_from_checkpoints_are_moved_where_spot_is_cheaper() -> None:
    inefficiency = found(trainings())
    assert inefficiency is not None
    assert inefficiency.remedy == Move(model="flights")
    # 16 times four core-hours, at 4 and at 1 cent, in 28 days; up to 7.5 % of it done twice, and a quarter more or fewer.
    usual, spot = Decimal("2.56") / 28, Decimal("0.64") / 28
    assert inefficiency.expected.high == pytest.approx((usual - spot) * Decimal("1.25"), abs=Decimal("0.00001"))
    assert inefficiency.expected.low == pytest.approx(
        (usual - spot * Decimal("1.075")) * Decimal("0.75"), abs=Decimal("0.00001")
    )


@pytest.mark.parametrize(
    "how",
    [
        {"resumes": False},
        {"buying": Buying(pricing=Pricing.STANDARD, offered=(Pricing.STANDARD,))},
        {"buying": Buying(pricing=Pricing.SPOT, offered=(Pricing.STANDARD, Pricing.SPOT))},
        {"trained": (trained(),) * 3},
        {"trained": (trained(Pricing.SPOT),) * 9},
        {"trained": (*((trained(),) * 9), *((trained(Pricing.SPOT, interruptions=2),) * 3))},
        {"trained": (trained(seconds=0),) * 9},
    ],
)
def test_others_stay_where_they_are(how: dict[str, Any]) -> None:
    assert found(trainings(**how)) is None


def test_without_a_price_of_its_own_spot_saves_nothing() -> None:
    dear = PriceBook(currency="USD", prices=tuple(each for each in BOOK.prices if each.pricing is Pricing.STANDARD))
    assert found(trainings(), dear) is None
    assert found(trainings(), PriceBook(currency="USD", prices=())) is None


def test_interruptions_that_were_seen_narrow_the_saving() -> None:
    calm = found(trainings(trained=(*((trained(),) * 16), *((trained(Pricing.SPOT),) * 40))))
    rough = found(
        trainings(trained=(*((trained(),) * 16), *((trained(Pricing.SPOT, 1),) * 19), *((trained(Pricing.SPOT),) * 21)))
    )
    unknown = found(trainings())
    assert calm is not None
    assert rough is not None
    assert unknown is not None
    assert rough.expected.low < unknown.expected.low < calm.expected.low


@given(
    count=st.integers(0, 40),
    seconds=st.floats(0, 86_400),
    tried=st.integers(0, 20),
    hit=st.integers(0, 20),
    resumes=st.booleans(),
)
def test_no_training_that_begins_anew_is_moved_and_every_saving_is_one(
    count: int, seconds: float, tried: int, hit: int, resumes: bool
) -> None:
    spot = [trained(Pricing.SPOT, int(number < hit)) for number in range(tried)]
    inefficiency = found(trainings(resumes=resumes, trained=(*((trained(seconds=seconds),) * count), *spot)))
    if inefficiency is not None:
        assert resumes
        assert count >= RULES.least_trainings
        assert 0 <= inefficiency.expected.low <= inefficiency.expected.high
