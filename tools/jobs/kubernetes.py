"""Jobs as `batch/v1` Jobs of a Kubernetes cluster, each with its files in a ConfigMap that goes with it.

The Job's name is the key's, so the API server itself keeps a resubmission from being a second job. Its ConfigMap comes after
it, because it refers to it as its owner; a pod waits for the files that it mounts, so a crash between the two costs a
resubmission, and nothing else. A cancelled Job is not deleted but given a deadline in the past: its pods get SIGTERM and then
SIGKILL, and it stays on record for as long as any other.

Kubernetes keeps no count of cores or memory used by a job that has ended; `usage` has what the job itself wrote down
(`OPPEN_JOB_USAGE`), else None.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.jobs import manifests, progress, verdicts
from tools.jobs.buying import ClusterBuying, require_offered
from tools.jobs.manifests import CANCELLED, CONTAINER, FINGERPRINT, MANAGED, MANAGER, MODEL, Settings
from tools.jobs.port import Buying, JobSpec, JobState, Phase, Progress, Usage, job_name
from tools.kubernetes.cluster import Cluster, Object
from tools.kubernetes.errors import AlreadyExists, NotFound
from tools.kubernetes.kinds import CONFIG_MAP, EVENT, JOB, POD, Kind
from tools.kubernetes.watching import changes
from tools.leftovers import Discarded, Leftover

_JOB_OF_POD = "batch.kubernetes.io/job-name"
_PROGRESS_LINES = 50
"""Of the end of the log, that are looked through for progress."""
_LOG_BYTES = 16 * 1024 * 1024
_LOG_QUIET_S = 300.0
"""A training may say nothing for long; after this the stream is opened anew, behind its last line."""
_TRIES = 5
"""At a change that others get in between of."""
_PAUSE_S = 0.5
_PATIENCE_S = 60.0

T = TypeVar("T")


class KubernetesJobs:
    """`Jobs`. The cluster is closed by whoever connected it."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._buying = ClusterBuying(cluster, settings)

    async def ping(self) -> None:
        await self._cluster.list(JOB, labels=f"{MANAGED}={MANAGER}", limit=1, most=1)

    async def submit(self, key: str, spec: JobSpec) -> JobState:
        try:
            name = job_name(key)
        except ValueError as error:
            raise PermanentError(str(error)) from error
        if spec.secrets and self._settings.secret is None:
            raise PermanentError(f"secrets: no Secret is set up for jobs, so {', '.join(sorted(spec.secrets))} cannot be had")
        if not self._settings.spot_node_selector:
            require_offered(spec.pricing, (Pricing.STANDARD,))
        try:
            job = await self._cluster.create(JOB, manifests.job(name, key, spec, self._settings))
        except AlreadyExists:
            job = await self._same(name, key, spec)
        if spec.config and not verdicts.final(job):
            await self._give_files(job, spec)
        return await self._state(job)

    async def state(self, name: str) -> JobState:
        return await self._state(await self._job(name))

    async def jobs(self, *, model: str | None = None) -> tuple[JobState, ...]:
        ours = f"{MANAGED}={MANAGER}" + (f",{MODEL}={manifests.label(model)}" if model is not None else "")
        found, _ = await self._cluster.list(JOB, labels=ours)
        pods, _ = await self._cluster.list(POD, labels=ours)
        of: dict[str, list[Object]] = {}
        for pod in pods:
            of.setdefault(pod["metadata"]["labels"].get(_JOB_OF_POD, ""), []).append(pod)
        states = [verdicts.state(job, of.get(job["metadata"]["name"], ())) for job in found]
        return tuple(sorted(states, key=lambda state: state.submitted_at, reverse=True))

    async def watch(self, name: str) -> AsyncGenerator[JobState]:
        before = await self.state(name)
        yield before
        if before.final:
            return
        moved = asyncio.Event()
        watches = [
            asyncio.create_task(self._notice(JOB, moved, fields=f"metadata.name={name}"), name=f"watch {name}"),
            asyncio.create_task(self._notice(POD, moved, labels=f"{_JOB_OF_POD}={name}"), name=f"watch pods of {name}"),
        ]
        try:
            while not before.final:
                await _first_of(moved.wait(), *watches)
                moved.clear()
                state = await self._patient(self.state, name)
                if state != before:
                    before = state
                    yield state
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def logs(self, name: str, *, tail: int | None = None, follow: bool = False) -> AsyncGenerator[str]:
        job = await self._job(name)
        read: _Read | None = None
        while True:
            over = verdicts.final(job)
            pod = verdicts.latest(await (self._patient(self._pods, name) if follow else self._pods(name)))
            if pod is not None:
                if read is None or read.pod != pod["metadata"]["name"]:
                    read = _Read(pod["metadata"]["name"], tail if read is None else None)
                try:
                    async with aclosing(self._lines(read, follow and not over)) as lines:
                        async for line in lines:
                            yield line
                except NotFound:
                    read = None  # it was taken away meanwhile, after a deadline
                except TemporaryError:
                    if not follow:
                        raise
            if over or not follow:
                return
            await asyncio.sleep(_PAUSE_S)
            job = await self._patient(self._job, name)

    async def usage(self, name: str) -> Usage:
        return verdicts.usage(await self._job(name), await self._pods(name), datetime.now(UTC))

    async def leftovers(self, model: str) -> tuple[Leftover, ...]:  # noqa: ARG002
        """None: logs go with their pods, and what lies on a claim the API server does not know."""
        return ()

    async def discard(self, item: Leftover) -> Discarded:
        raise PermanentError(f"{item.name}: {item.kind} of jobs in a cluster are left to their volume's owner")

    async def restore(self, item: Leftover) -> None:
        raise PermanentError(f"{item.name}: nothing of a job in a cluster is put aside")

    async def buying(self, model: str) -> Buying:
        return await self._buying.now(model)

    async def set_buying(self, model: str, pricing: Pricing, *, expected: Pricing, key: str) -> Buying:
        return await self._buying.change(model, pricing, expected=expected, key=key)

    async def cancel(self, name: str, *, reason: str) -> JobState:
        for attempt in range(_TRIES):
            job = await self._job(name)
            metadata = job["metadata"]
            if verdicts.final(job) or CANCELLED in (metadata.get("annotations") or {}):
                break
            change = {
                "metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": {CANCELLED: reason[:500]}},
                "spec": {"activeDeadlineSeconds": 1},
            }
            try:
                job = await self._cluster.patch(JOB, name, change)
            except Conflict:  # its status has moved, which says nothing against it
                if attempt == _TRIES - 1:
                    raise
            else:
                break
        return await self._state(job)

    async def _patient(self, call: Callable[[str], Awaitable[T]], name: str) -> T:
        """For who watches or follows: a server that is away for less than a minute is waited for."""
        clock = asyncio.get_running_loop().time
        limit = clock() + _PATIENCE_S
        while True:
            try:
                return await call(name)
            except TemporaryError as error:
                if clock() > limit:
                    raise
                await asyncio.sleep(min(error.retry_after.total_seconds(), _PAUSE_S))

    async def _same(self, name: str, key: str, spec: JobSpec) -> Object:
        """The Job of this name, if it is this one."""
        job = await self._cluster.get(JOB, name)
        metadata = job["metadata"]
        if "deletionTimestamp" in metadata:
            raise TemporaryError(f"the earlier job {name} is being removed")
        if (metadata.get("annotations") or {}).get(FINGERPRINT) != spec.fingerprint:
            raise Conflict(f"key: {key!r} is the job {name}, with another spec; another job needs another key")
        return job

    async def _give_files(self, job: Object, spec: JobSpec) -> None:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        try:
            await self._cluster.create(CONFIG_MAP, manifests.config_map(name, uid, spec))
        except AlreadyExists as error:
            there = await self._cluster.get(CONFIG_MAP, name)
            if uid not in {owner["uid"] for owner in there["metadata"].get("ownerReferences") or ()}:
                raise TemporaryError(f"the ConfigMap {name} of an earlier job is not removed yet") from error

    async def _job(self, name: str) -> Object:
        try:
            job = await self._cluster.get(JOB, name)
        except NotFound as error:
            raise PermanentError(f"no job {name!r} is known here") from error
        if (job["metadata"].get("labels") or {}).get(MANAGED) != MANAGER:
            raise PermanentError(f"no job {name!r} is known here: the Job of that name is somebody else's")
        return job

    async def _pods(self, name: str) -> tuple[Object, ...]:
        return (await self._cluster.list(POD, labels=f"{_JOB_OF_POD}={name}"))[0]

    async def _state(self, job: Object) -> JobState:
        name = job["metadata"]["name"]
        pods = await self._pods(name)
        state = verdicts.state(job, pods)
        ran = verdicts.latest(pods)
        if (state.phase is Phase.FAILED and ran is None) or (state.phase is Phase.PENDING and not pods):
            state = verdicts.state(job, pods, await self._events(job))
        if state.phase is Phase.PENDING or ran is None:
            return state
        return state.model_copy(update={"progress": await self._progress(ran["metadata"]["name"])})

    async def _events(self, job: Object) -> tuple[Object, ...]:
        """About the Job and its pods, also those that are gone: events outlive what they are about, by an hour."""
        name = job["metadata"]["name"]
        found, _ = await self._cluster.list(EVENT)
        pod = re.compile(rf"{re.escape(name)}-[a-z0-9]{{5}}")
        return tuple(
            event
            for event in found
            if (about := event.get("involvedObject") or {}).get("uid") == job["metadata"]["uid"]
            or (about.get("kind") == "Pod" and pod.fullmatch(about.get("name", "")))
        )

    async def _progress(self, pod: str) -> Progress | None:
        """What it said last; none where its log cannot be had, which is no reason to know nothing else about it."""
        try:
            read = _Read(pod, _PROGRESS_LINES)
            async with aclosing(self._lines(read, follow=False)) as lines:
                said = [found async for line in lines if (found := progress.parse(line)) is not None]
            return Progress(**said[-1]) if said else None
        except (TemporaryError, PermanentError, ValidationError):
            return None

    async def _lines(self, read: "_Read", follow: bool) -> AsyncGenerator[str]:
        """From where `read` is on; with `follow` until the container ends or the connection does."""
        query = {
            "container": CONTAINER,
            "timestamps": "true",
            "follow": "true" if follow else None,
            "tailLines": read.tail if read.last is None else None,
            "sinceTime": read.last,
            "limitBytes": None if follow else _LOG_BYTES,
        }
        async with aclosing(
            self._cluster.stream(POD.path(self._cluster.namespace, read.pod, "log"), query, quiet_s=_LOG_QUIET_S)
        ) as lines:
            async for line in lines:
                if (text := read.take(line)) is not None:
                    yield text

    async def _notice(self, kind: Kind, moved: asyncio.Event, *, fields: str | None = None, labels: str | None = None) -> None:
        async with aclosing(changes(self._cluster, kind, fields=fields, labels=labels)) as found:
            async for _ in found:
                moved.set()


class _Read:
    """How far the log of one pod has been read: a stream that broke off goes on behind its last line."""

    def __init__(self, pod: str, tail: int | None) -> None:
        self.pod = pod
        self.tail = tail
        self.last: str | None = None
        self._seen: deque[bytes] = deque(maxlen=64)

    def take(self, line: bytes) -> str | None:
        """Its text; None when it was read before."""
        stamp, _, text = line.partition(b" ")
        if self.last is not None and _moment(stamp.decode(errors="replace")) < _moment(self.last):
            return None
        if line in self._seen:
            return None
        self._seen.append(line)
        self.last = stamp.decode(errors="replace")
        return text.decode(errors="replace").removesuffix("\r")


def _moment(stamp: str) -> tuple[str, str]:
    """To be compared: the fraction comes with as many digits as it needs."""
    seconds, _, fraction = stamp.rstrip("Z").partition(".")
    return seconds, fraction.ljust(9, "0")


async def _first_of(waiting: object, *watches: "asyncio.Task[None]") -> None:
    """Until it has come, or raises what a watch ended with."""
    ready = asyncio.ensure_future(waiting)  # type: ignore[call-overload]
    try:
        await asyncio.wait({ready, *watches}, return_when=asyncio.FIRST_COMPLETED)
        for watch in watches:
            if watch.done():
                watch.result()
    finally:
        ready.cancel()
