"""The rules of moving an alias, over a registry and a record in memory."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twins.clock import SteppedClock
from tests.twins.registry import MemoryAliases, MemoryHistory
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.registry.moves import Moves
from tools.registry.port import Alias, AliasChange, ModelVersion

MODEL = "flights"
CHAMPION = Alias.CHAMPION


class Desk:
    """Moves, and what is around them."""

    def __init__(self, versions: int = 3) -> None:
        self.clock = SteppedClock()
        self.aliases = MemoryAliases()
        self.history = MemoryHistory()
        self.moves = Moves(self.aliases, self.history, self.clock)
        self.aliases.versions[MODEL] = {
            str(n): ModelVersion(
                model=MODEL,
                version=str(n),
                created_at=self.clock.now(),
                run_id=None,
                status="READY",
                format="pt2",
                tags={},
            )
            for n in range(1, versions + 1)
        }

    async def move(self, to: str, *, expected: str | None, key: str, alias: Alias = CHAMPION) -> AliasChange:
        return await self.moves.move(MODEL, alias, to, expected=expected, key=key, actor="ann", reason="it is better")

    def tick(self) -> None:
        self.clock.pass_(timedelta(minutes=1))


@pytest.fixture
def desk() -> Desk:
    return Desk()


class Interrupted(BaseException):
    """Stands for the process's end, at an instant of the test's choosing."""


class DyingAliases(MemoryAliases):
    def __init__(self, *, wrote: bool) -> None:
        super().__init__()
        self._wrote = wrote

    async def put(self, model: str, alias: Alias, version: str, *, expected: str | None) -> str | None:
        if self._wrote:
            await super().put(model, alias, version, expected=expected)
        raise Interrupted


class RivalledAliases(MemoryAliases):
    """Somebody else writes right after us."""

    async def put(self, model: str, alias: Alias, version: str, *, expected: str | None) -> str | None:
        await super().put(model, alias, version, expected=expected)
        self.on[model, alias] = "3"
        return "3"


async def test_a_move_says_who_when_why_from_and_to(desk: Desk) -> None:
    change = await desk.move("1", expected=None, key="k")
    assert (change.before, change.after, change.actor, change.reason) == (None, "1", "ann", "it is better")
    assert (change.at, change.origin) == (desk.clock.now(), "oppen")
    assert await desk.moves.changes(MODEL) == (change,)


async def test_a_key_moves_once_and_returns_the_first_change(desk: Desk) -> None:
    first = await desk.move("1", expected=None, key="k")
    desk.tick()
    await desk.move("2", expected="1", key="other")
    assert await desk.move("1", expected=None, key="k") == first
    assert desk.aliases.on[MODEL, CHAMPION] == "2"


async def test_a_key_used_for_something_else_is_refused(desk: Desk) -> None:
    await desk.move("1", expected=None, key="k")
    with pytest.raises(PermanentError, match="k was used"):
        await desk.move("2", expected="1", key="k")


async def test_a_move_from_where_the_alias_is_not_conflicts_and_leaves_no_trace(desk: Desk) -> None:
    await desk.move("1", expected=None, key="k")
    with pytest.raises(Conflict, match="is on 1, not on 2"):
        await desk.move("3", expected="2", key="l")
    assert [change.key for change in await desk.moves.changes(MODEL)] == ["k"]


async def test_a_version_that_does_not_exist_leaves_no_trace_and_its_key_may_be_used_again(desk: Desk) -> None:
    with pytest.raises(PermanentError):
        await desk.move("9", expected=None, key="k")
    assert await desk.moves.changes(MODEL) == ()
    assert (await desk.move("1", expected=None, key="k")).after == "1"


@pytest.mark.parametrize("wrote", [False, True])
async def test_a_move_that_was_interrupted_is_finished_by_its_repetition(desk: Desk, wrote: bool) -> None:
    dying = DyingAliases(wrote=wrote)
    dying.versions, dying.on = desk.aliases.versions, desk.aliases.on
    began = desk.clock.now()
    with pytest.raises(Interrupted):
        await Moves(dying, desk.history, desk.clock).move(
            MODEL, CHAMPION, "1", expected=None, key="k", actor="ann", reason="it is better"
        )
    desk.tick()
    change = await desk.move("1", expected=None, key="k")
    assert change.at == (began if wrote else desk.clock.now()), "the time is that of the write"
    assert await desk.moves.changes(MODEL) == (change,)
    assert desk.aliases.on[MODEL, CHAMPION] == "1"


async def test_an_interrupted_move_does_not_stand_in_the_way_of_another(desk: Desk) -> None:
    dying = DyingAliases(wrote=False)
    dying.versions, dying.on = desk.aliases.versions, desk.aliases.on
    with pytest.raises(Interrupted):
        await Moves(dying, desk.history, desk.clock).move(
            MODEL, CHAMPION, "1", expected=None, key="k", actor="ann", reason="it is better"
        )
    await desk.move("2", expected=None, key="other")
    with pytest.raises(Conflict):
        await desk.move("1", expected=None, key="k")
    assert [change.key for change in await desk.moves.changes(MODEL)] == ["other"]


async def test_a_registry_that_is_down_changes_nothing_and_says_so(desk: Desk) -> None:
    desk.aliases.down = True
    with pytest.raises(TemporaryError):
        await desk.move("1", expected=None, key="k")
    desk.aliases.down = False
    assert await desk.moves.changes(MODEL) == ()


async def test_a_move_by_others_is_noticed_and_recorded_once(desk: Desk) -> None:
    await desk.move("1", expected=None, key="k")
    desk.tick()
    desk.aliases.on[MODEL, CHAMPION] = "2"
    noticed = (await desk.moves.changes(MODEL))[-1]
    assert (noticed.before, noticed.after, noticed.origin, noticed.at) == ("1", "2", "external", desk.clock.now())
    desk.tick()
    assert (await desk.moves.changes(MODEL))[-1] == noticed


async def test_a_removal_by_others_is_noticed(desk: Desk) -> None:
    await desk.move("1", expected=None, key="k")
    del desk.aliases.on[MODEL, CHAMPION]
    assert (await desk.moves.changes(MODEL))[-1].after is None


async def test_a_move_compares_with_where_others_have_put_the_alias(desk: Desk) -> None:
    await desk.move("1", expected=None, key="k")
    desk.aliases.on[MODEL, CHAMPION] = "2"
    with pytest.raises(Conflict):
        await desk.move("3", expected="1", key="l")
    await desk.move("3", expected="2", key="l")
    assert [change.after for change in await desk.moves.changes(MODEL)] == ["1", "2", "3"]


async def test_a_write_by_others_in_the_same_moment_is_a_conflict_and_both_are_on_record(desk: Desk) -> None:
    rivalled = RivalledAliases()
    rivalled.versions = desk.aliases.versions
    moves = Moves(rivalled, desk.history, desk.clock)
    with pytest.raises(Conflict, match="same moment"):
        await moves.move(MODEL, CHAMPION, "1", expected=None, key="k", actor="ann", reason="it is better")
    assert [(c.after, c.origin) for c in await moves.changes(MODEL)] == [("1", "oppen"), ("3", "external")]


async def test_of_many_moves_at_once_from_the_same_version_one_wins(desk: Desk) -> None:
    await desk.move("1", expected=None, key="k")
    tried = await asyncio.gather(*(desk.move("2", expected="1", key=f"rival {n}") for n in range(8)), return_exceptions=True)
    assert sum(isinstance(result, AliasChange) for result in tried) == 1
    assert sum(isinstance(result, Conflict) for result in tried) == 7


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["move", "external", "die before", "die after", "look"]),
        st.sampled_from(list(Alias)),
        st.sampled_from(["1", "2", "3"]),
    ),
    max_size=25,
)


@given(STEPS)
async def test_whatever_happens_the_record_agrees_with_the_registry_and_with_every_time_it_was_seen_at(
    steps: list[tuple[str, Alias, str]],
) -> None:
    desk = Desk()
    seen = []
    for number, (kind, alias, version) in enumerate(steps):
        desk.tick()
        expected = desk.aliases.on.get((MODEL, alias))
        match kind:
            case "move":
                await desk.move(version, expected=expected, key=str(number), alias=alias)
            case "external":
                desk.aliases.on[MODEL, alias] = version
            case "die before" | "die after":
                dying = DyingAliases(wrote=kind == "die after")
                dying.versions, dying.on = desk.aliases.versions, desk.aliases.on
                with pytest.raises(Interrupted):
                    await Moves(dying, desk.history, desk.clock).move(
                        MODEL, alias, version, expected=expected, key=str(number), actor="ann", reason=""
                    )
            case _:
                pass
        changes = await desk.moves.changes(MODEL)
        carried = {a: next((c.after for c in reversed(changes) if c.alias is a), None) for a in Alias}
        assert {a: v for a, v in carried.items() if v is not None} == await desk.aliases.carried(MODEL)
        assert len({change.key for change in changes}) == len(changes)
        seen.append((desk.clock.now(), dict(carried)))
    for moment, carried in seen:
        for alias in Alias:
            assert await desk.moves.at(MODEL, alias, moment) == carried[alias]
