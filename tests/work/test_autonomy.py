"""The autonomy mode: what was last set holds, everywhere, at once."""

import pytest

from agents.policies import Mode
from api.problems import Invalid
from api.store import audit
from api.store.database import Database
from api.work.autonomy import Autonomy
from tests.twins.clock import SteppedClock
from tests.work.cases import POLICIES


def _autonomy(database: Database) -> Autonomy:
    return Autonomy(database, lambda: POLICIES, SteppedClock())


async def test_nobody_has_set_it_and_the_policies_mode_holds(database: Database) -> None:
    autonomy = _autonomy(database)
    assert await autonomy.mode() is POLICIES.mode
    assert await autonomy.current() is None


async def test_the_switch_holds_in_every_replica_when_the_change_has_returned(database: Database, second: Database) -> None:
    here, there = _autonomy(database), _autonomy(second)
    assert await there.mode() is Mode.PROPOSE
    await here.change(Mode.OBSERVE, actor="alice", reason="something is wrong")
    assert await there.mode() is Mode.OBSERVE
    await there.change(Mode.ACT, actor="bob", reason="it is fine again")
    assert [(change.mode, change.actor) for change in await here.history()] == [("act", "bob"), ("observe", "alice")]


async def test_a_change_is_audited_with_its_reason(database: Database) -> None:
    await _autonomy(database).change(Mode.OBSERVE, actor="alice", reason="something is wrong")
    async with database.read() as session:
        (line,) = (await audit.page(session)).items
    assert (line.actor, line.action, line.data) == (
        "alice",
        "autonomy.changed",
        {"mode": "observe", "reason": "something is wrong"},
    )


@pytest.mark.parametrize("reason", ["", "  ", "a\0"])
async def test_a_change_says_why(database: Database, reason: str) -> None:
    autonomy = _autonomy(database)
    with pytest.raises(Invalid):
        await autonomy.change(Mode.ACT, actor="alice", reason=reason)
    assert await autonomy.mode() is Mode.PROPOSE
