"""Monitors look at every model once a window, and what they raise enters as any alert does."""

import threading
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from agents.drift.rules import DriftRules
from agents.policies import Drift, ModelPolicy, Monitors, Policies
from api.store import incidents, monitors
from api.store.alerts import page as alerts_page
from api.store.database import Database
from api.work.intake import Intake
from api.work.monitors import Watch
from simulations.drift_worlds import World
from tests.twins.clock import SteppedClock
from tests.twins.predictions import TwinPredictions
from tests.twins.quarantines import TwinQuarantines
from tests.twins.registry import TwinRegistry
from tools.errors import TemporaryError
from tools.registry.port import Alias
from tools.tables import stored
from tools.values import Window

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class CutOff:
    """An intake after which the process is gone: what it took in stays."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def accept(self, *alerts: Any, **told: Any) -> None:
        await self._intake.accept(*alerts, **told)
        raise TemporaryError("killed")


class Watched:
    """A model with four quiet weeks behind it."""

    def __init__(self, database: Database, policies: Policies | None = None) -> None:
        self.database, self.clock, self.predictions = database, SteppedClock(), TwinPredictions()
        self.registry, self.quarantines = TwinRegistry(self.clock), TwinQuarantines(self.clock)
        self.policies = policies or Policies(drift=Drift(in_a_row=2, seasons=0))
        self.intake = Intake(database, lambda: self.policies, self.clock)
        self.watch = self.another(self.intake)
        self.world = World(3, "covariate_drift")
        self.world.model = "loans"
        now = self.clock.now()
        self.predictions.add(self.world.draw(Window(start=now - 28 * DAY, end=now), 2_800, 0.5, hit=False))

    def another(self, intake: Any) -> Watch:
        return Watch(
            self.database, intake, self.predictions, self.registry, self.quarantines, lambda: self.policies, self.clock
        )

    def traffic(self, *, hit: bool, time: timedelta = DAY, rows: int = 400) -> None:
        now = self.clock.now()
        self.predictions.add(self.world.draw(Window(start=now, end=now + time), rows, 0.5, hit=hit))
        self.clock.pass_(time)

    async def alerts(self) -> list[tuple[str, str]]:
        async with self.database.read() as session:
            page = await alerts_page(session, limit=50)
        return sorted((each.labels["monitor"], each.status) for each in page.items)

    async def incidents(self) -> list[str]:
        async with self.database.read() as session:
            return [each.subject for each in (await incidents.page(session, limit=50)).items]

    async def standing(self, monitor: str) -> tuple[bool | None, int]:
        async with self.database.read() as session:
            record = (await monitors.of_subject(session, "model:loans"))[monitor]
        return record.bad, record.streak


@pytest.fixture
async def watched(database: Database) -> Watched:
    found = Watched(database)
    await found.watch.once()
    return found


async def test_a_model_is_first_looked_at_when_its_next_window_ends(watched: Watched) -> None:
    async with watched.database.read() as session:
        met = await monitors.of_subject(session, "model:loans")
    assert set(met) == {"drift", "data_quality", "skew", "performance", "freshness"}
    assert all(each.checked_at is None for each in met.values())
    assert await watched.watch.once() == 0
    watched.traffic(hit=False, time=HOUR, rows=100)
    assert await watched.watch.once() == 1
    assert await watched.watch.once() == 0
    assert await watched.standing("drift") == (False, -1)


async def test_drift_is_raised_after_its_windows_in_a_row_and_opens_an_incident(watched: Watched) -> None:
    watched.traffic(hit=True)
    await watched.watch.once()
    assert (await watched.standing("drift"), await watched.alerts()) == ((True, 1), [])
    watched.traffic(hit=True, time=HOUR, rows=20)
    await watched.watch.once()
    assert await watched.alerts() == [("drift", "firing")]
    assert await watched.incidents() == ["model:loans"]


def _far_off(world: World) -> None:
    """An input is four standard deviations off where the world is hit."""
    world.change = lambda columns: {**columns, "number0": columns["number0"] + 4.0}


async def _hours(watched: Watched, count: int, *, hit: bool) -> list[tuple[bool | None, int]]:
    """Where drift stands after each."""
    found = []
    for _ in range(count):
        watched.traffic(hit=hit, time=HOUR, rows=100)
        await watched.watch.once()
        found.append(await watched.standing("drift"))
    return found


@pytest.mark.parametrize("trained", [False, True])
async def test_one_odd_hour_raises_nothing_however_many_windows_have_it(watched: Watched, trained: bool) -> None:
    watched.policies = Policies(drift=Drift(seasons=0))
    _far_off(watched.world)
    before = Window(start=watched.clock.now() - 28 * DAY, end=watched.clock.now())
    if trained:
        learnt = await watched.predictions.distributions("loans", before)
        version = watched.registry.publish("loans", files={stored.FILE: stored.written(learnt).encode()})
        await watched.registry.set_alias("loans", Alias.CHAMPION, version, expected=None, key="k", actor="ada", reason="new")
    found = await _hours(watched, 1, hit=True) + await _hours(watched, 5, hit=False)
    assert found == [(None, 0)] * 6, "the hour moves the whole window, and is no news"
    assert not trained or await watched.standing("skew") == (None, 0)
    assert await watched.alerts() == []


class SeenRules(DriftRules):
    """They know in which threads they were looked up."""

    threads: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name == "min_rows":
            SeenRules.threads.add(threading.current_thread().name)
        return super().__getattribute__(name)


async def test_windows_are_explained_beside_the_event_loop(watched: Watched) -> None:
    watched.policies = Policies(drift=Drift(seasons=0, rules=SeenRules()), monitors=Monitors(enabled=("drift", "skew")))
    SeenRules.threads.clear()
    watched.traffic(hit=False)
    assert await watched.watch.once() == 1
    assert SeenRules.threads
    assert threading.current_thread().name not in SeenRules.threads


@pytest.mark.parametrize("seasons", [0, 3])
async def test_drift_that_lasts_is_raised_within_hours(watched: Watched, seasons: int) -> None:
    watched.policies = Policies(drift=Drift(seasons=seasons))
    _far_off(watched.world)
    found = await _hours(watched, 5, hit=True)
    assert found[2:] == [(True, 1), (True, 2), (True, 3)]
    assert await watched.alerts() == [("drift", "firing")]


async def test_drift_too_weak_for_an_hour_is_told_by_longer_stretches(watched: Watched) -> None:
    watched.policies = Policies(drift=Drift(seasons=0))
    watched.world.change = lambda columns: {**columns, "number0": columns["number0"] + 0.3}
    watched.traffic(hit=True, rows=2_400)
    await _hours(watched, 3, hit=True)
    assert await watched.alerts() == [("drift", "firing")]


async def test_windows_that_were_missed_are_one_look(watched: Watched) -> None:
    watched.traffic(hit=True)
    assert await watched.watch.once() == 1
    assert await watched.watch.once() == 0
    assert await watched.standing("drift") == (True, 1)


async def test_two_replicas_raise_one_alert(watched: Watched) -> None:
    watched.traffic(hit=True)
    await watched.watch.once()
    watched.traffic(hit=True, time=HOUR, rows=20)
    await watched.watch.once()
    await watched.another(watched.intake).once()
    assert await watched.alerts() == [("drift", "firing")]
    assert await watched.standing("drift") == (True, 2)


async def test_a_look_that_was_cut_off_after_its_alert_raises_the_same_one(watched: Watched) -> None:
    watched.traffic(hit=True)
    await watched.watch.once()
    watched.traffic(hit=True, time=HOUR, rows=20)
    with pytest.raises(TemporaryError):
        await watched.another(CutOff(watched.intake)).once()
    assert await watched.alerts() == [("drift", "firing")]
    assert await watched.standing("drift") == (True, 1)
    await watched.watch.once()
    assert (await watched.alerts(), await watched.incidents()) == ([("drift", "firing")], ["model:loans"])


async def test_a_store_that_is_away_is_no_news(watched: Watched) -> None:
    watched.traffic(hit=True)
    watched.predictions.go_down()
    with pytest.raises(TemporaryError):
        await watched.watch.once()
    watched.predictions.come_back()
    assert await watched.watch.once() == 1


async def _with_another(watched: Watched, *, too_slow: bool) -> None:
    """`airfares`, which comes before `loans`: an hour of both."""
    other = World(5, "none")
    other.model = "airfares"
    now = watched.clock.now()
    watched.predictions.add(other.draw(Window(start=now - 28 * DAY, end=now + HOUR), 2_800, 0.0, hit=False))
    watched.predictions.too_slow = {"airfares"} if too_slow else set()
    watched.traffic(hit=False, time=HOUR, rows=50)


async def test_a_model_that_the_store_cannot_count_in_time_keeps_no_other_waiting(watched: Watched) -> None:
    await _with_another(watched, too_slow=True)
    await watched.watch.once()
    watched.traffic(hit=False, time=HOUR, rows=50)
    with pytest.raises(TemporaryError, match="airfares"):
        await watched.watch.once()
    assert (await watched.standing("drift"))[0] is False
    async with watched.database.read() as session:
        slow = await monitors.of_subject(session, "model:airfares")
    assert slow["freshness"].checked_at is not None, "what is counted otherwise is looked at"
    assert slow["drift"].checked_at is None


async def test_a_question_that_took_too_long_is_asked_less_and_less_often(watched: Watched) -> None:
    await _with_another(watched, too_slow=True)
    await watched.watch.once()
    watched.traffic(hit=False, time=HOUR, rows=50)
    for _ in range(40):
        with pytest.raises(TemporaryError, match="airfares"):
            await watched.watch.once()
        watched.clock.pass_(timedelta(seconds=30))
    assert watched.predictions.asked["airfares"] <= 5, "in twenty minutes"
    watched.predictions.too_slow.clear()
    watched.clock.pass_(timedelta(minutes=16))
    assert await watched.watch.once() == 1
    async with watched.database.read() as session:
        assert (await monitors.of_subject(session, "model:airfares"))["drift"].checked_at is not None


async def test_traffic_that_stops_is_raised_and_taken_back_when_it_comes_again(watched: Watched) -> None:
    watched.traffic(hit=False, time=HOUR, rows=50)
    for _ in range(8):
        watched.clock.pass_(HOUR)
        await watched.watch.once()
    assert ("freshness", "firing") in await watched.alerts()
    for _ in range(2):
        watched.traffic(hit=False, time=HOUR, rows=50)
        await watched.watch.once()
    assert ("freshness", "resolved") in await watched.alerts()


async def test_policy_says_which_monitors_a_model_has(database: Database) -> None:
    watched = Watched(database, Policies(models={"loans": ModelPolicy(monitors=Monitors(enabled=("freshness",)))}))
    await watched.watch.once()
    async with database.read() as session:
        assert set(await monitors.of_subject(session, "model:loans")) == {"freshness"}


async def test_inputs_unlike_those_of_training_are_raised_though_they_never_moved(watched: Watched) -> None:
    """The champion's training had seen something else from the first day on."""
    before = Window(start=watched.clock.now() - 28 * DAY, end=watched.clock.now())
    other = World(5, "covariate_drift")
    other.model = "elsewhere"
    watched.predictions.add(other.draw(before, 2_000, 0.0, hit=True))
    learnt = await watched.predictions.distributions("elsewhere", before)
    version = watched.registry.publish("loans", files={stored.FILE: stored.written(learnt).encode()})
    await watched.registry.set_alias("loans", Alias.CHAMPION, version, expected=None, key="k", actor="ada", reason="release")
    for _ in range(2):
        watched.traffic(hit=False)
        await watched.watch.once()
    assert await watched.alerts() == [("skew", "firing")]
    assert await watched.standing("drift") == (False, -2)


async def test_a_training_that_left_nothing_cannot_be_compared(watched: Watched) -> None:
    watched.registry.publish("loans")
    await watched.registry.set_alias("loans", Alias.CHAMPION, "1", expected=None, key="k", actor="ada", reason="release")
    watched.traffic(hit=False)
    await watched.watch.once()
    assert await watched.standing("skew") == (None, 0)


async def _whole_again_after_a_broken_week(watched: Watched, *, quarantined: bool) -> list[tuple[str, str]]:
    """Broken for six of the last days, whole since yesterday: what is said of data by then."""
    watched.world = World(1, "data_quality")
    watched.world.model = "loans"
    start = watched.clock.now()
    watched.traffic(hit=True, time=6 * DAY, rows=1_500)
    broken = Window(start=start, end=watched.clock.now())
    if quarantined:
        feature = watched.world.detail.split(":")[0].split()[0]
        await watched.quarantines.place("loans", broken, (feature,), expected=(), key="k", actor="ann", reason="broken")
    watched.traffic(hit=False)
    for _ in range(3):
        watched.traffic(hit=False, time=HOUR, rows=20)
        await watched.watch.once()
    return [each for each in await watched.alerts() if each[0] in ("drift", "data_quality")]


@pytest.mark.parametrize("quarantined", [True, False])
async def test_a_reference_that_was_broken_raises_no_second_alarm_where_it_is_quarantined(
    watched: Watched, quarantined: bool
) -> None:
    found = await _whole_again_after_a_broken_week(watched, quarantined=quarantined)
    assert (found == []) is quarantined


async def _closed(watched: Watched) -> None:
    """People close what is open."""
    async with watched.database.begin() as transaction:
        for record in (await incidents.lock_open(transaction, {"model:loans"})).values():
            await incidents.close(transaction, record.id, "escalated", at=watched.clock.now(), summary="We know.")


async def test_an_incident_that_people_closed_opens_again_a_day_later_while_it_is_still_bad(watched: Watched) -> None:
    for _ in range(2):
        watched.traffic(hit=True)
        await watched.watch.once()
    await _closed(watched)
    watched.traffic(hit=True, time=HOUR, rows=20)
    await watched.watch.once()
    assert await watched.incidents() == ["model:loans"]
    watched.traffic(hit=True)
    await watched.watch.once()
    assert await watched.incidents() == ["model:loans"] * 2
    assert [each for each in await watched.alerts() if each[0] == "drift"] == [("drift", "firing")]


async def test_an_open_incident_takes_in_what_is_said_again(watched: Watched) -> None:
    for _ in range(4):
        watched.traffic(hit=True)
        await watched.watch.once()
    assert await watched.incidents() == ["model:loans"]
