"""What has come of a job on Kubernetes: read from its Job, its pods and their events, which each know a part. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from tools.costs.port import Pricing
from tools.jobs.manifests import CANCELLED, DATA, GPUS, MODEL, PRICING, RUN, TEAM, WORK
from tools.jobs.port import JobState, Phase, Reason, Resources, Usage
from tools.values import Window

Object = dict[str, Any]

_IMAGE = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
"""The kubelet's words for an image that does not come."""
_FORGOTTEN = {"NodeLost", "ContainerStatusUnknown", "NodeAffinity", "Terminated", "NodeShutdown", "Shutdown"}
"""Nobody knows how it ended: its node went away."""
_TAKEN_AWAY = (Reason.EVICTED, Reason.LOST)
_DETAIL = 1000


@dataclass(frozen=True)
class Cause:
    reason: Reason | None
    detail: str = ""
    exit_code: int | None = None


def state(job: Object, pods: Sequence[Object], events: Sequence[Object] = ()) -> JobState:
    """`pods`: that are still there; `events`: about them and the Job."""
    metadata, status = job["metadata"], job.get("status") or {}
    annotations = metadata.get("annotations") or {}
    ordered = sorted(pods, key=_order)
    phase, cause, ended = _judged(job, ordered, events)
    starts = [begun for pod in ordered if (begun := _started(pod)) is not None]
    over = int(status.get("failed") or 0) + int(status.get("succeeded") or 0)
    active = sum(1 for pod in ordered if _started(pod) is not None and _container(pod, "terminated") is None)
    # A pod that a deadline took away counts as failed, also if nothing of it ever ran.
    idle = phase is Phase.FAILED and cause.reason in {Reason.UNSCHEDULABLE, Reason.IMAGE_PULL} and not starts
    return JobState(
        name=metadata["name"],
        model=annotations.get(MODEL, "?"),
        team=annotations.get(TEAM, "?"),
        run_id=annotations.get(RUN, "?"),
        phase=phase,
        reason=cause.reason,
        detail=cause.detail[:_DETAIL],
        exit_code=cause.exit_code,
        attempts=0 if idle else max(over + active, len(starts)),
        submitted_at=_time(metadata["creationTimestamp"]),
        started_at=min(starts, default=None),
        ended_at=ended,
        work=annotations.get(WORK, ""),
        data=_window(annotations.get(DATA)),
        pricing=Pricing.SPOT if (metadata.get("labels") or {}).get(PRICING) == Pricing.SPOT else Pricing.STANDARD,
        interruptions=sum(_over(pod) and not _succeeded(pod) and _ending(pod).reason in _TAKEN_AWAY for pod in ordered),
    )


def _window(text: str | None) -> Window | None:
    """As it was annotated; None where it was not, or by somebody else."""
    try:
        return Window.model_validate_json(text) if text else None
    except ValidationError:
        return None


def usage(job: Object, pods: Sequence[Object], now: datetime) -> Usage:
    """Wall time from the pods, or from the Job where they are gone; cores and memory where the job itself left them."""
    spans = [max(((_ended(pod) or now) - begun).total_seconds(), 0.0) for pod in pods if (begun := _started(pod)) is not None]
    if not pods and (begun := (job.get("status") or {}).get("startTime")):
        _, _, ended = _judged(job, [], [])
        spans = [max(((ended or now) - _time(begun)).total_seconds(), 0.0)]
    left = [_left(pod) for pod in pods if _container(pod, "terminated") is not None]
    cpu = [said["cpu_seconds"] for said in left if "cpu_seconds" in said]
    memory = [said["peak_memory_bytes"] for said in left if "peak_memory_bytes" in said]
    gpus = int((job["metadata"].get("annotations") or {}).get(GPUS, 0))
    return Usage(
        wall_seconds=sum(spans),
        gpu_seconds=sum(spans) * gpus,
        cpu_seconds=sum(cpu) if cpu and len(cpu) == len(left) else None,
        peak_memory_bytes=int(max(memory)) if memory else None,
        reserved=_reserved(job, gpus),
    )


def _reserved(job: Object, gpus: int) -> Resources | None:
    """As `manifests` wrote it: thousandths of cores, and bytes. A policy of the cluster may have written it anew."""
    try:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        asked = container["resources"]["requests"]
        cpu = float(str(asked["cpu"]).removesuffix("m"))
        cores = cpu / 1000 if str(asked["cpu"]).endswith("m") else cpu
        return Resources(cpu=cores, memory_bytes=int(asked["memory"]), gpus=gpus)
    except (KeyError, ValueError, TypeError):
        return None


def final(job: Object) -> bool:
    return _condition(job, "Complete") is not None or _condition(job, "Failed") is not None


def has_started(pod: Object) -> bool:
    return _started(pod) is not None


def latest(pods: Sequence[Object]) -> Object | None:
    """The pod of the last attempt that ran."""
    return max((pod for pod in pods if has_started(pod)), key=_order, default=None)


def _judged(job: Object, pods: Sequence[Object], events: Sequence[Object]) -> tuple[Phase, Cause, datetime | None]:
    status = job.get("status") or {}
    if (complete := _condition(job, "Complete")) is not None:
        ended = status.get("completionTime") or complete.get("lastTransitionTime")
        return Phase.SUCCEEDED, Cause(None, exit_code=0), _time(ended) if ended else None
    if (failed := _condition(job, "Failed")) is not None:
        ended = failed.get("lastTransitionTime")
        return Phase.FAILED, _failure(job, failed, pods, events), _time(ended) if ended else None
    phase, cause = _unfinished(pods, events)
    if wish := _wish(job):
        cause = Cause(cause.reason, f"it was asked to end: {wish}")
    return phase, cause, None


def _failure(job: Object, failed: Object, pods: Sequence[Object], events: Sequence[Object]) -> Cause:
    why, message = failed.get("reason", ""), failed.get("message", "")
    if why == "DeadlineExceeded":
        if (wish := _wish(job)) is not None:
            return Cause(Reason.CANCELLED, wish)
        return _deadline(pods, events, message)
    ended = [pod for pod in pods if _over(pod)]
    if not ended:
        return Cause(Reason.LOST, f"its pods are gone: {why}: {message}")
    return _ending(ended[-1])


def _deadline(pods: Sequence[Object], events: Sequence[Object], message: str) -> Cause:
    """Its pods are taken away then, so whether any of them ever ran, only events may still tell."""
    happened = {event.get("reason") for event in events}
    if not any(has_started(pod) for pod in pods) and "Started" not in happened:
        held = _held(pods[-1]) if pods else Cause(None)
        if held.reason is None:
            held = _from_events(events)
        if held.reason is not None:
            return Cause(held.reason, f"within its deadline: {held.detail}")
    return Cause(Reason.DEADLINE, message)


def _unfinished(pods: Sequence[Object], events: Sequence[Object]) -> tuple[Phase, Cause]:
    if not pods:
        return Phase.PENDING, _from_events(events)
    last = pods[-1]
    if _over(last):  # the next one waits for the back-off
        return Phase.PENDING, _ending(last) if _succeeded(last) is False else Cause(None)
    if _container(last, "running") is not None:
        return Phase.RUNNING, Cause(None)
    return Phase.PENDING, _held(last)


def _held(pod: Object) -> Cause:
    """What keeps a pod from starting."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Cause(Reason.UNSCHEDULABLE, condition.get("message", ""))
    if (waiting := _container(pod, "waiting")) is not None and (why := waiting.get("reason")) not in (
        None,
        "ContainerCreating",
    ):
        said = ": ".join(filter(None, (why, waiting.get("message"))))
        return Cause(Reason.IMAGE_PULL if why in _IMAGE else None, said)
    return Cause(None)


def _from_events(events: Sequence[Object]) -> Cause:
    """The last that says something; a warning may have been overcome since."""
    for event in sorted(events, key=_happened, reverse=True):
        message = event.get("message", "")
        match event.get("reason"):
            case "Scheduled" | "Pulled" | "Started":
                return Cause(None)
            case "FailedScheduling" | "FailedCreate":  # the latter: a quota, or a service account that is not there
                return Cause(Reason.UNSCHEDULABLE, message)
            case "Failed" | "BackOff" | "InspectFailed" if "image" in message.lower():
                return Cause(Reason.IMAGE_PULL, message)
            case _:
                continue
    return Cause(None)


def _ending(pod: Object) -> Cause:
    status = pod.get("status") or {}
    why, message = status.get("reason", ""), status.get("message", "")
    disrupted = [c for c in status.get("conditions") or () if c["type"] == "DisruptionTarget" and c["status"] == "True"]
    terminated = _container(pod, "terminated") or {}
    code = terminated.get("exitCode")
    if why == "Evicted" or disrupted:
        said = message or (f"{disrupted[0].get('reason', '')}: {disrupted[0].get('message', '')}" if disrupted else why)
        return Cause(Reason.EVICTED, said, code)
    if terminated.get("reason") == "OOMKilled":
        return Cause(Reason.OUT_OF_MEMORY, "its container was killed for using more memory than its limit", code)
    if why.startswith("OutOf") or why == "UnexpectedAdmissionError":  # the node had less than the scheduler thought
        return Cause(Reason.UNSCHEDULABLE, f"{why}: {message}")
    if why in _FORGOTTEN or terminated.get("reason") in _FORGOTTEN or code is None:
        return Cause(Reason.LOST, f"{why or terminated.get('reason', 'its end is not on record')}: {message}".rstrip(": "))
    said = terminated.get("reason", "")
    return Cause(Reason.EXIT_CODE, "" if said in ("", "Error") else f"{said}: {terminated.get('message', '')}", code)


def _wish(job: Object) -> str | None:
    wish = (job["metadata"].get("annotations") or {}).get(CANCELLED)
    return None if wish is None else str(wish)


def _condition(job: Object, kind: str) -> Object | None:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] == kind and condition["status"] == "True":
            return dict(condition)
    return None


def _container(pod: Object, kind: str) -> Object | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if (found := (container.get("state") or {}).get(kind)) is not None:
            return dict(found)
    return None


def _started(pod: Object) -> datetime | None:
    found = _container(pod, "running") or _container(pod, "terminated") or {}
    return _time(found["startedAt"]) if found.get("startedAt") else None


def _ended(pod: Object) -> datetime | None:
    found = _container(pod, "terminated") or {}
    return _time(found["finishedAt"]) if found.get("finishedAt") else None


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _succeeded(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"


def _left(pod: Object) -> dict[str, float]:
    """What the job wrote down about itself: data, so only what has the form counts."""
    try:
        said = json.loads((_container(pod, "terminated") or {}).get("message") or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    numbers = {name: said.get(name) for name in ("cpu_seconds", "peak_memory_bytes")}
    return {
        name: float(value)
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18
    }


def _order(pod: Object) -> tuple[object, ...]:
    """Of attempts. Times are in whole seconds, so one that goes on, that succeeded, or that changed last is the later one."""
    metadata = pod["metadata"]
    ended = (_container(pod, "terminated") or {}).get("finishedAt") or ""
    changed = str(metadata.get("resourceVersion", ""))
    return not _over(pod), metadata["creationTimestamp"], ended, _succeeded(pod), int(changed) if changed.isdigit() else 0


def _happened(event: Object) -> str:
    series = event.get("series") or {}
    candidates = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    return str(next(filter(None, candidates), event["metadata"].get("creationTimestamp", "")))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
