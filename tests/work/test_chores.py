"""Chores: whatever one fails of, it is done again, and what nobody foresaw is told; only cancelling ends it."""

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
