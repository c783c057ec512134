"""What is proposed to go is old, and needed by nobody: whatever the history of a model's aliases was."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import Risk
from agents.cost.inefficiency import Expiry, Inefficiency
from agents.cost.retention import MOST, Keeping, Kept, expired, needed
from tools.costs.prices import PriceBook
from tools.leftovers import Leftover
from tools.registry.port import Alias, AliasChange

NOW = datetime(2026, 11, 2, tzinfo=UTC)
GIB = 1024**3
BOOK = PriceBook.model_validate(
    {
        "currency": "USD",
        "prices": [{"resource": "storage", "unit": "GiB-month", "price": "0.73", "from": "2026-01-01T00:00:00Z"}],
    }
)
KEEPING = Keeping()
Kind = Literal["version", "checkpoints", "logs"]


def left(name: str, kind: Kind = "version", days: float = 100, size: int = GIB, model: str = "flights") -> Leftover:
    return Leftover(kind=kind, model=model, name=name, size_bytes=size, since=NOW - timedelta(days=days), seen="x")


def moved(alias: Alias, before: str | None, after: str | None, days: float = 90) -> AliasChange:
    return AliasChange(
        model="flights",
        alias=alias,
        before=before,
        after=after,
        at=NOW - timedelta(days=days),
        actor="ann",
        reason="",
        key=f"{alias}/{before}/{after}/{days}",
        origin="oppen",
    )


def kept(*leftovers: Leftover, **how: Any) -> Kept:
    facts: dict[str, Any] = {
        "model": "flights",
        "leftovers": leftovers,
        "history": (),
        "versions": tuple(str(n) for n in range(20, 0, -1)),
    }
    return Kept(**(facts | how))


def found(facts: Kept, keeping: Keeping = KEEPING) -> Inefficiency | None:
    return expired(facts, keeping, BOOK, NOW)


def gone(inefficiency: Inefficiency | None) -> set[tuple[str, str]]:
    if inefficiency is None:
        return set()
    assert isinstance(inefficiency.remedy, Expiry)
    return {(item.kind, item.name) for item in inefficiency.remedy.items}


def test_old_versions_checkpoints_and_logs_are_listed_with_what_they_cost() -> None:
    inefficiency = found(kept(left("3"), left("4"), left("oppen-a", "checkpoints", 4), left("oppen-a", "logs", 15)))
    assert gone(inefficiency) == {("version", "3"), ("version", "4"), ("checkpoints", "oppen-a"), ("logs", "oppen-a")}
    assert inefficiency is not None
    assert inefficiency.expected.low == inefficiency.expected.high == Decimal("0.096")  # four times 0.73 / 730 h, for a day
    assert inefficiency.risk is Risk.MEDIUM
    assert "4.00 GiB" in inefficiency.what


@pytest.mark.parametrize(
    "item",
    [
        left("3", days=59),
        left("20"),
        left("16"),
        left("oppen-a", "checkpoints", 2),
        left("oppen-a", "logs", 13),
        left("3", size=1024),
        left("3", model="another"),
    ],
)
def test_what_is_young_new_small_or_anothers_stays(item: Leftover) -> None:
    assert found(kept(item)) is None


def test_champions_challengers_and_those_before_stay_however_old() -> None:
    history = (
        moved(Alias.CHAMPION, None, "1", 300),
        moved(Alias.CHAMPION, "1", "2", 250),
        moved(Alias.CHAMPION, "2", "3", 240),
        moved(Alias.CHAMPION, "3", "4", 230),
        moved(Alias.CHALLENGER, None, "5", 220),
    )
    facts = kept(*(left(str(n), days=400) for n in range(1, 8)), history=history, named=frozenset({"6"}))
    assert needed(facts, KEEPING) >= {"2", "3", "4", "5", "6"}
    assert gone(found(facts)) == {("version", "1"), ("version", "7")}


def test_a_version_is_as_old_as_its_last_alias() -> None:
    history = (moved(Alias.CHALLENGER, None, "3", 200), moved(Alias.CHALLENGER, "3", None, 30))
    assert found(kept(left("3", days=400), history=history)) is None
    assert found(kept(left("3", days=400))) is not None


def test_what_an_open_run_names_stays_and_without_a_price_nothing_is_said() -> None:
    assert found(kept(left("oppen-a", "logs"), jobs=frozenset({"oppen-a"}))) is None
    assert expired(kept(left("3")), KEEPING, PriceBook(currency="USD", prices=()), NOW) is None


def test_a_long_list_is_cut_at_the_small_end() -> None:
    many = [left(f"job-{n}", "logs", size=GIB + n) for n in range(MOST + 20)]
    listed = gone(found(kept(*many)))
    assert len(listed) == MOST
    assert ("logs", "job-0") not in listed


versions = st.integers(1, 12).map(str)
moves = st.lists(st.tuples(st.sampled_from(Alias), st.one_of(st.none(), versions), st.floats(0, 400)), max_size=12)


@given(
    moves=moves,
    leftovers=st.lists(
        st.builds(left, versions, st.sampled_from(("version", "checkpoints", "logs")), st.floats(0, 500)), max_size=20
    ),
    named=st.frozensets(versions, max_size=3),
    newest=st.integers(1, 6),
    former=st.integers(1, 3),
)
def test_nothing_that_is_needed_ever_goes(
    moves: list[tuple[Alias, str | None, float]],
    leftovers: list[Leftover],
    named: frozenset[str],
    newest: int,
    former: int,
) -> None:
    on: dict[Alias, str | None] = {}
    history = []
    for alias, version, days in sorted(moves, key=lambda move: -move[2]):
        history.append(moved(alias, on.get(alias), version, days))
        on[alias] = version
    everything = tuple(str(n) for n in range(12, 0, -1))
    facts = kept(*leftovers, history=tuple(history), named=named, versions=everything)
    keeping = Keeping(newest_versions=newest, former_champions=former, least_bytes=0)
    inefficiency = found(facts, keeping)
    if inefficiency is None:
        return
    assert isinstance(inefficiency.remedy, Expiry)
    champions: list[str | None] = [change.before for change in history if change.alias is Alias.CHAMPION]
    before = [each for each in reversed(champions) if each is not None and each != on.get(Alias.CHAMPION)]
    for item in inefficiency.remedy.items:
        assert item in leftovers
        age = {"version": keeping.versions, "checkpoints": keeping.checkpoints, "logs": keeping.logs}[item.kind]
        assert item.since + age <= NOW
        if item.kind == "version":
            assert item.name not in on.values()
            assert item.name not in named
            assert item.name not in everything[:newest]
            assert not before or item.name != before[0], "the champion before is what a rollback goes back to"
            assert all(change.at + keeping.versions <= NOW for change in history if change.before == item.name)
