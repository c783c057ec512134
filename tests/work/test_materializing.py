"""Features on schedule: once a tick, missed ticks once, failures told and not repeated at once; a chore like others."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from agents.policies import FeatureStore as Rules
from api.work.chores import Chore
from api.work.features import Materializing
from pipelines.feature_runs import Computed, Run
from tests.twins.clock import SteppedClock
from tools.errors import PermanentError, TemporaryError

MINUTE = timedelta(minutes=1)


class TwinWork:
    """Does as it is told, one after the other, then all goes well."""

    def __init__(self, clock: SteppedClock, *outcomes: Computed | Exception, until: datetime | None = None) -> None:
        self.runs = 0
        self._clock, self._outcomes, self._until = clock, list(outcomes), until

    async def run(self) -> Run:
        self.runs += 1
        outcome = self._outcomes.pop(0) if self._outcomes else _view()
        if isinstance(outcome, Exception):
            raise outcome
        return Run(views=(_view("fine"), outcome), until=self._clock.now(), seconds=0.1)

    async def done_until(self) -> datetime | None:
        return self._until


def _view(name: str = "delays", error: str | None = None, temporary: bool = False) -> Computed:
    return Computed(view=name, version="00000000000a", error=error, temporary=temporary)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(datetime(2026, 3, 2, 9, 10, tzinfo=UTC))


def _materializing(work: TwinWork, clock: SteppedClock) -> Materializing:
    return Materializing(work, Rules, clock)


async def test_a_last_run_that_is_ahead_of_now_holds_up_none(clock: SteppedClock) -> None:
    work = TwinWork(clock, until=clock.now() + timedelta(days=365))
    materializing = _materializing(work, clock)
    assert await materializing.once()
    assert not await materializing.once()


async def test_the_first_time_and_then_once_for_each_hour_that_begins(clock: SteppedClock) -> None:
    work = TwinWork(clock)
    materializing = _materializing(work, clock)
    done = []
    for _ in range(13):
        done.append(await materializing.once())
        clock.pass_(10 * MINUTE)
    assert [place for place, each in enumerate(done) if each] == [0, 5, 11]
    assert work.runs == 3


async def test_what_was_missed_is_done_once(clock: SteppedClock) -> None:
    work = TwinWork(clock, until=clock.now() - timedelta(days=3))
    materializing = _materializing(work, clock)
    assert [await materializing.once() for _ in range(3)] == [True, False, False]
    clock.pass_(timedelta(hours=30))
    assert [await materializing.once() for _ in range(3)] == [True, False, False]


async def test_a_service_that_starts_again_within_the_hour_has_nothing_to_do(clock: SteppedClock) -> None:
    work = TwinWork(clock, until=clock.now() - 5 * MINUTE)
    assert not await _materializing(work, clock).once()
    assert work.runs == 0


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (_view(error="the transformation failed"), PermanentError),
        (_view(error="the online store is away", temporary=True), TemporaryError),
        (TemporaryError("another process materializes"), TemporaryError),
        (PermanentError("definitions: there is no module"), PermanentError),
    ],
)
async def test_a_run_that_fails_is_told_and_tried_again_after_a_while(
    clock: SteppedClock, outcome: Computed | Exception, kind: type[Exception]
) -> None:
    work = TwinWork(clock, outcome)
    materializing = _materializing(work, clock)
    for _ in range(3):
        with pytest.raises(kind):
            await materializing.once()
        clock.pass_(MINUTE)
    assert work.runs == 1
    clock.pass_(2 * MINUTE)
    assert await materializing.once()
    assert work.runs == 2


async def test_a_failure_is_logged_counted_and_shown_until_it_is_over(clock: SteppedClock) -> None:
    work = TwinWork(clock, _view(error="the transformation failed"))
    chore = Chore("materialize", _materializing(work, clock).once, timedelta(milliseconds=1))
    with capture_logs() as logs:
        task = asyncio.create_task(chore.until_done())
        async with asyncio.timeout(5):
            while not chore.failures:
                await asyncio.sleep(0)
        assert chore.state == "broken"
        clock.pass_(5 * MINUTE)
        async with asyncio.timeout(5):
            await task
    assert chore.state == "ok"
    assert chore.failures["unexpected"] >= 1
    events = [each["event"] for each in logs]
    assert events[:3] == ["features.materialized", "features.failed", "chore.broken"]
    assert [each["reason"] for each in logs if each["event"] == "features.failed"] == ["the transformation failed"]
