"""Tables of the lake are looked at once a window, and what gets worse enters as any alert does."""

import threading
from datetime import timedelta

import pytest

from agents.policies import Dataset, Policies
from api.store import incidents, monitors
from api.store.alerts import page as alerts_page
from api.store.database import Database
from api.work.datasets import DatasetWatch
from api.work.intake import Intake
from tests.twins.clock import SteppedClock
from tests.twins.columns_read import watching
from tests.twins.datasets import TwinHistories
from tests.unit.agents.tables import Table
from tools.errors import TemporaryError

HOUR = timedelta(hours=1)


class Watched:
    """A table with twelve good days behind it."""

    def __init__(self, database: Database, policies: Policies | None = None) -> None:
        self.database, self.clock, self.histories = database, SteppedClock(), TwinHistories()
        self.policies = policies or Policies()
        self.intake = Intake(database, lambda: self.policies, self.clock)
        self.watch = self.another()
        self.table = Table().come(12)
        self.told()

    def another(self) -> DatasetWatch:
        return DatasetWatch(self.database, self.intake, self.histories, lambda: self.policies, self.clock)

    def told(self) -> None:
        """The newest batch came just now."""
        moved = self.clock.now() - self.table.batches[-1].at
        self.histories.of["trips"] = [each.model_copy(update={"at": each.at + moved}) for each in self.table.batches]

    async def later(self, time: timedelta = HOUR) -> int:
        self.clock.pass_(time)
        return await self.watch.once()

    async def alerts(self) -> list[tuple[str, str, str]]:
        async with self.database.read() as session:
            page = await alerts_page(session, limit=50)
        return sorted((each.name, each.status, each.annotations["summary"]) for each in page.items)

    async def incidents(self) -> list[str]:
        async with self.database.read() as session:
            return [each.subject for each in (await incidents.page(session, limit=50)).items]

    async def standing(self, monitor: str) -> tuple[bool | None, int]:
        async with self.database.read() as session:
            record = (await monitors.of_subject(session, "data:trips"))[monitor]
        return record.bad, record.streak


@pytest.fixture
async def watched(database: Database) -> Watched:
    found = Watched(database)
    await found.watch.once()
    return found


async def test_a_table_is_first_looked_at_when_its_next_window_ends(watched: Watched) -> None:
    assert await watched.watch.once() == 0
    assert await watched.later() == 1
    assert await watched.watch.once() == 0
    assert await watched.standing("dataset_quality") == (False, -1)
    assert await watched.standing("dataset_freshness") == (False, -1)


async def test_batches_that_get_worse_open_an_incident_of_the_table_and_good_ones_take_it_back(watched: Watched) -> None:
    watched.table.come(2, nulls=0.3)
    watched.told()
    await watched.later()
    ((name, status, summary),) = await watched.alerts()
    assert (name, status) == ("DatasetQuality", "firing")
    assert "far has no value in" in summary
    assert await watched.incidents() == ["component:data:trips"]
    await watched.later()
    assert len(await watched.alerts()) == 1
    watched.table.come(2)
    watched.told()
    await watched.later()
    assert [(name, status) for name, status, _ in await watched.alerts()] == [("DatasetQuality", "resolved")]


async def test_tables_are_judged_beside_the_event_loop(watched: Watched) -> None:
    watched.histories.of["trips"], columns = watching(watched.histories.of["trips"])
    assert await watched.later() == 1
    judging = {name for each in columns for name in each.threads}
    assert judging
    assert threading.current_thread().name not in judging


async def test_one_bad_batch_that_is_looked_at_often_stays_one_bad_batch(watched: Watched) -> None:
    watched.table.come(1, nulls=0.3)
    watched.told()
    for _ in range(5):
        await watched.later()
    assert await watched.alerts() == []


async def test_a_table_that_stops_coming_is_raised_once_after_a_night_without_the_service(watched: Watched) -> None:
    assert await watched.later(timedelta(days=6)) == 1
    assert await watched.standing("dataset_freshness") == (True, 1)
    ((name, status, summary),) = await watched.alerts()
    assert (name, status) == ("DatasetStale", "firing")
    assert "its rhythm allows 4 days" in summary
    await watched.another().once()
    assert len(await watched.alerts()) == 1


async def test_a_table_that_feeds_a_model_makes_incidents_of_the_model(database: Database) -> None:
    watched = Watched(database, Policies(datasets={"trips": Dataset(model="eta")}))
    await watched.watch.once()
    watched.table.refused(2)
    watched.told()
    await watched.later()
    assert await watched.incidents() == ["model:eta"]


async def test_a_lake_that_is_away_is_no_news(watched: Watched) -> None:
    watched.histories.away = True
    with pytest.raises(TemporaryError):
        await watched.later()
    watched.histories.away = False
    assert await watched.watch.once() == 1
    assert await watched.alerts() == []


async def test_a_table_that_cannot_be_read_in_time_keeps_no_other_waiting_and_is_asked_less_often(watched: Watched) -> None:
    watched.histories.of["lines"] = watched.histories.of["trips"]
    watched.histories.too_slow = {"lines"}
    await watched.later()
    watched.clock.pass_(HOUR)
    for _ in range(40):
        with pytest.raises(TemporaryError, match="lines"):
            await watched.watch.once()
        watched.clock.pass_(timedelta(seconds=30))
    assert await watched.standing("dataset_quality") == (False, -2)
    assert watched.histories.asked["lines"] <= 5, "in twenty minutes"
    watched.histories.too_slow.clear()
    assert await watched.later(timedelta(minutes=16)) == 1


async def test_policy_says_what_a_table_is_watched_for(database: Database) -> None:
    watched = Watched(database, Policies(dataset=Dataset(enabled=("dataset_freshness",))))
    await watched.watch.once()
    async with database.read() as session:
        assert set(await monitors.of_subject(session, "data:trips")) == {"dataset_freshness"}


async def test_between_two_windows_the_lake_is_left_alone(watched: Watched) -> None:
    await watched.later()
    watched.histories.away = True
    assert await watched.later(timedelta(minutes=30)) == 0
    with pytest.raises(TemporaryError):
        await watched.later(timedelta(minutes=31))
