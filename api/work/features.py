"""Features are computed and brought online on schedule, in a process that ends with the run and gives back what it took."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog

from agents.policies import FeatureStore as Rules
from tools.clock import Clock
from tools.errors import PermanentError, TemporaryError
from tools.features.port import SKEW
from tools.offload import ChildProcess

if TYPE_CHECKING:
    from pipelines.feature_jobs import Job
    from pipelines.feature_runs import Computed, Run

log = structlog.get_logger()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOSE_S = 1.0
"""A run that is told to end gets so long; then it is killed, which costs what it was at and nothing that it had committed."""


class Work(Protocol):
    async def run(self) -> "Run":
        """Raises PermanentError or TemporaryError when there was none."""
        ...

    async def done_until(self) -> datetime | None:
        """Until when everything is there that is defined now, as the last run left it; None: it is not."""
        ...


class Materializing:
    """Once for each tick that has passed, and once for many: what was missed while the service was away is one run.

    A run that fails is not repeated before `retry`; until then the failure stands, and is told again.
    """

    def __init__(self, work: Work, rules: Callable[[], Rules], clock: Clock) -> None:
        self._work = work
        self._rules = rules
        self._clock = clock
        self._done: datetime | None = None
        self._failed: tuple[datetime, PermanentError | TemporaryError] | None = None
        self._looked = False

    async def once(self) -> bool:
        """Whether there was a run. Raises PermanentError or TemporaryError when a view could not be done."""
        now, rules = self._clock.now(), self._rules()
        if self._failed is not None and now - self._failed[0] < rules.retry:
            raise self._failed[1]
        try:
            if not self._looked:
                self._done, self._looked = await self._work.done_until(), True
            # One that is ahead of now was told by a clock that was wrong: it would hold up every run until then.
            if self._done is not None and now - (now - _EPOCH) % rules.every <= self._done <= now + SKEW:
                self._failed = None
                return False
            _check((await self._work.run()).views)
        except (PermanentError, TemporaryError) as error:
            self._failed = now, error
            raise
        self._done, self._failed = now, None
        return True


class JobProcess:
    """`Work`: a process for each run."""

    def __init__(self, job: "Job") -> None:
        self._job = job

    async def run(self) -> "Run":
        child = ChildProcess("materialize", _nothing, close_s=_CLOSE_S)
        try:
            return await child.call(_run, self._job)
        finally:
            await child.close()

    async def done_until(self) -> datetime | None:
        child = ChildProcess("last materialization", _nothing, close_s=_CLOSE_S)
        try:
            return await child.call(_done_until, self._job)
        finally:
            await child.close()


def _check(views: "tuple[Computed, ...]") -> None:
    for each in views:
        told = {"view": each.view, "version": each.version, "rows": each.rows_written, "seconds": each.seconds}
        if each.error is None:
            log.info("features.materialized", **told, keys=each.online.keys if each.online else 0)
        else:
            log.warning("features.failed", **told, reason=each.error)
    failed = [each for each in views if each.error is not None]
    if failed:
        reason = "; ".join(f"{each.view}: {each.error}" for each in failed)
        # One that is broken for good is not hidden behind others that may do better next time.
        raise TemporaryError(reason) if all(each.temporary for each in failed) else PermanentError(reason)


def _nothing() -> None:
    """What the child holds: the run opens what it needs."""


def _run(_held: None, job: "Job") -> "Run":
    from pipelines.feature_jobs import run

    return run(job)


def _done_until(_held: None, job: "Job") -> datetime | None:
    from pipelines.feature_jobs import last_run
    from pipelines.features import definitions

    last = last_run(job.place.folder)
    if last is None or not last.ok:
        return None
    done = {(each.view, each.version) for each in last.views}
    return last.until if done == {(each.name, each.version) for each in definitions(job.definitions)} else None
