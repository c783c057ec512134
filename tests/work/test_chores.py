"""Chores: whatever one fails of, it is done again, and what nobody foresaw is told; cancelling ends it, between two pieces."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from api.work.chores import Chore
from tools.errors import PermanentError, TemporaryError

EVERY = timedelta(milliseconds=1)
LIMIT_S = 5.0


class Work:
    """Fails as it is told, once each, then succeeds; says when it has been done so many times."""

    def __init__(self, *failures: Exception, times: int = 1) -> None:
        self._failures = list(failures)
        self._left = times
        self.done = asyncio.Event()

    async def __call__(self) -> str:
        if self._failures:
            raise self._failures.pop(0)
        self._left -= 1
        if self._left == 0:
            self.done.set()
        return "done"


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("fail", "told", "kind"),
    [
        (lambda: TemporaryError("away"), "chore.delayed", "temporary"),
        (lambda: ZeroDivisionError("a bug"), "chore.broken", "unexpected"),
        (lambda: PermanentError("refused"), "chore.broken", "unexpected"),
    ],
)
async def test_a_chore_that_fails_is_done_again_less_and_less_often(
    fail: Callable[[], Exception], told: str, kind: str
) -> None:
    work = Work(fail(), fail(), times=2)
    chore = Chore("sweep", work, EVERY)
    with capture_logs() as logs:
        task = asyncio.create_task(chore.forever())
        await asyncio.wait_for(work.done.wait(), LIMIT_S)
    assert [(each["event"], each["chore"], each["pause_s"]) for each in logs] == [
        (told, "sweep", 0.002),
        (told, "sweep", 0.004),
    ]
    assert dict(chore.failures) == {kind: 2}
    assert chore.state == "ok"
    await _cancelled(task)


async def test_what_nobody_foresaw_is_logged_with_its_traceback() -> None:
    with capture_logs() as logs:
        assert await Chore("sweep", Work(ZeroDivisionError("a bug")), EVERY).until_done() == "done"
    assert [(each["event"], each["log_level"], each["exc_info"]) for each in logs] == [("chore.broken", "error", True)]


@pytest.mark.parametrize(("failure", "state"), [(TemporaryError("away"), "delayed"), (ZeroDivisionError(), "broken")])
async def test_a_chore_shows_how_its_last_try_went(failure: Exception, state: str) -> None:
    failed, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        if not failed.is_set():
            failed.set()
            raise failure
        go_on.set()
        await asyncio.Event().wait()

    chore = Chore("sweep", work, EVERY)
    with capture_logs():
        task = asyncio.create_task(chore.forever())
        await asyncio.wait_for(go_on.wait(), LIMIT_S)
    assert chore.state == state
    await _cancelled(task)


async def test_a_chore_ends_when_it_is_cancelled_also_while_it_pauses() -> None:
    work = Work()
    task = asyncio.create_task(Chore("sweep", work, timedelta(hours=1)).forever())
    await asyncio.wait_for(work.done.wait(), LIMIT_S)
    await _cancelled(task)


class Held:
    """Goes on when it is let, and says whether it came to its end."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.ended = False
        self._failure = failure

    async def __call__(self) -> None:
        self.begun.set()
        await self.go_on.wait()
        self.ended = True
        if self._failure is not None:
            raise self._failure


async def test_what_is_being_done_when_a_chore_is_cancelled_is_completed() -> None:
    work = Held()
    task = asyncio.create_task(Chore("sweep", work, EVERY).forever())
    await asyncio.wait_for(work.begun.wait(), LIMIT_S)
    asyncio.get_running_loop().call_soon(work.go_on.set)
    with capture_logs() as logs:
        await asyncio.wait_for(_cancelled(task), LIMIT_S)
    assert (work.ended, logs) == (True, [])


async def test_what_fails_after_its_chore_was_cancelled_is_told() -> None:
    work = Held(ZeroDivisionError("a bug"))
    task = asyncio.create_task(Chore("sweep", work, EVERY).forever())
    await asyncio.wait_for(work.begun.wait(), LIMIT_S)
    asyncio.get_running_loop().call_soon(work.go_on.set)
    with capture_logs() as logs:
        await asyncio.wait_for(_cancelled(task), LIMIT_S)
    assert [(each["event"], each["reason"]) for each in logs] == [("chore.failed_at_its_end", "ZeroDivisionError: a bug")]


async def test_what_takes_too_long_after_its_chore_was_cancelled_is_broken_off() -> None:
    work = Held()
    task = asyncio.create_task(Chore("sweep", work, EVERY, grace=EVERY).forever())
    await asyncio.wait_for(work.begun.wait(), LIMIT_S)
    with capture_logs() as logs:
        await asyncio.wait_for(_cancelled(task), LIMIT_S)
    assert (work.ended, [each["event"] for each in logs]) == (False, ["chore.broken_off"])
