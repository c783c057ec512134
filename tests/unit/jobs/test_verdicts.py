"""What has come of a Job: read from what Kubernetes says about it, in the forms in which it says it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tools.costs.port import Pricing
from tools.jobs import verdicts
from tools.jobs.port import MIB, Phase, Reason, Resources

T0, T1, T2 = "2026-03-01T10:00:00Z", "2026-03-01T10:00:05Z", "2026-03-01T10:01:05Z"
Object = dict[str, Any]


def job(*conditions: Object, annotations: dict[str, str] | None = None, **status: Any) -> Object:
    metadata = {"name": "oppen-a", "creationTimestamp": T0, "annotations": {"oppen/model": "flights", **(annotations or {})}}
    return {"metadata": metadata, "spec": {}, "status": {"startTime": T0, "conditions": list(conditions), **status}}


def failed(reason: str = "BackoffLimitExceeded") -> Object:
    return {"type": "Failed", "status": "True", "reason": reason, "message": "so it is", "lastTransitionTime": T2}


COMPLETE = {"type": "Complete", "status": "True", "lastTransitionTime": T2}


def pod(phase: str, name: str = "oppen-a-abcde", *, at: str = T0, **status: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": at}, "status": {"phase": phase, **status}}


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "job", "state": state}]}


def terminated(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "startedAt": T1, "finishedAt": T2, "message": message}
    return container(terminated=ended)


DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "preempted"}]


@pytest.mark.parametrize(
    ("ended", "reason", "code"),
    [
        (pod("Failed", **terminated(1)), Reason.EXIT_CODE, 1),
        (pod("Failed", **terminated(137, "OOMKilled")), Reason.OUT_OF_MEMORY, 137),
        (pod("Failed", **terminated(137)), Reason.EXIT_CODE, 137),
        (pod("Failed", reason="Evicted", message="The node was low on resource: memory."), Reason.EVICTED, None),
        (pod("Failed", reason="Evicted", **terminated(137, "OOMKilled")), Reason.EVICTED, 137),
        (pod("Failed", conditions=DISRUPTED, **terminated(143)), Reason.EVICTED, 143),
        (pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"), Reason.UNSCHEDULABLE, None),
        (pod("Failed", reason="UnexpectedAdmissionError", message="no such device"), Reason.UNSCHEDULABLE, None),
        (pod("Failed", reason="NodeLost"), Reason.LOST, None),
        (pod("Failed", **terminated(137, "ContainerStatusUnknown")), Reason.LOST, None),
        (pod("Failed", **terminated(128, "StartError", "exec: not found")), Reason.EXIT_CODE, 128),
    ],
)
def test_a_failure_is_told_by_its_pod(ended: Object, reason: Reason, code: int | None) -> None:
    state = verdicts.state(job(failed(), failed=1), [ended])
    assert (state.phase, state.reason, state.exit_code) == (Phase.FAILED, reason, code)
    assert state.ended_at == datetime(2026, 3, 1, 10, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "phase", "reason", "detail"),
    [
        ([], Phase.PENDING, None, ""),
        ([pod("Pending")], Phase.PENDING, None, ""),
        ([pod("Pending", **container(waiting={"reason": "ContainerCreating"}))], Phase.PENDING, None, ""),
        (
            [pod("Pending", **container(waiting={"reason": "ErrImagePull", "message": "not found"}))],
            Phase.PENDING,
            Reason.IMAGE_PULL,
            "ErrImagePull: not found",
        ),
        (
            [pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}])],
            Phase.PENDING,
            Reason.UNSCHEDULABLE,
            "0/3 nodes",
        ),
        ([pod("Running", **container(running={"startedAt": T1}))], Phase.RUNNING, None, ""),
        ([pod("Failed", **terminated(3))], Phase.PENDING, Reason.EXIT_CODE, ""),
        (
            [pod("Failed", "a", **terminated(3)), pod("Running", "b", **container(running={"startedAt": T1}))],
            Phase.RUNNING,
            None,
            "",
        ),
        ([pod("Succeeded", **terminated(0, "Completed"))], Phase.PENDING, None, ""),
    ],
)  # fmt: skip
def test_what_is_under_way_is_told_by_its_last_pod(now: list[Object], phase: Phase, reason: Reason | None, detail: str) -> None:
    state = verdicts.state(job(active=1), now)
    assert (state.phase, state.reason, state.detail) == (phase, reason, detail)


def event(reason: str, message: str, at: str = T1) -> Object:
    return {"metadata": {"name": reason, "creationTimestamp": at}, "reason": reason, "message": message, "lastTimestamp": at}


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], Reason.DEADLINE),
        ([event("FailedScheduling", "0/3 nodes are available")], Reason.UNSCHEDULABLE),
        ([event("FailedCreate", "exceeded quota: oppen-jobs")], Reason.UNSCHEDULABLE),
        ([event("FailedScheduling", "0/3 nodes"), event("Scheduled", "assigned", T2)], Reason.DEADLINE),
        ([event("Scheduled", "assigned"), event("Failed", 'Failed to pull image "x"', T2)], Reason.IMAGE_PULL),
        ([event("BackOff", "Back-off pulling image", T2), event("Started", "Started container job")], Reason.DEADLINE),
        ([event("BackOff", "Back-off restarting failed container")], Reason.DEADLINE),
    ],
)
def test_a_deadline_before_anything_ran_is_told_by_events(events: list[Object], reason: Reason) -> None:
    assert verdicts.state(job(failed("DeadlineExceeded")), [], events).reason is reason


def test_a_deadline_that_was_set_to_cancel_is_no_deadline() -> None:
    state = verdicts.state(job(failed("DeadlineExceeded"), annotations={"oppen/cancelled": "budget"}), [])
    assert (state.reason, state.detail) == (Reason.CANCELLED, "budget")


def test_what_was_done_before_the_cancellation_came_has_succeeded() -> None:
    state = verdicts.state(job(COMPLETE, annotations={"oppen/cancelled": "late"}, succeeded=1, completionTime=T2), [])
    assert (state.phase, state.reason, state.exit_code) == (Phase.SUCCEEDED, None, 0)


def test_a_failure_whose_pods_are_gone_says_so() -> None:
    assert verdicts.state(job(failed()), []).reason is Reason.LOST


def test_attempts_of_the_same_second_are_told_apart() -> None:
    first, second = pod("Failed", "z", **terminated(1)), pod("Succeeded", "a", **terminated(0, "Completed"))
    assert verdicts.latest([first, second]) is second
    assert verdicts.state(job(COMPLETE, failed=1, succeeded=1), [first, second]).attempts == 2


NOW = datetime(2026, 3, 1, 10, 2, 5, tzinfo=UTC)


def test_usage_is_what_pods_took_and_jobs_wrote_down() -> None:
    said = '{"cpu_seconds": 50, "peak_memory_bytes": 7, "other": "x"}'
    gpus = job(annotations={"oppen/gpus": "2"})
    ended = pod("Failed", "a", **terminated(1, message=said))
    used = verdicts.usage(gpus, [ended, pod("Running", "b", **container(running={"startedAt": T2}))], NOW)
    assert (used.wall_seconds, used.gpu_seconds, used.cpu_seconds, used.peak_memory_bytes) == (120.0, 240.0, 50, 7)


@pytest.mark.parametrize("said", ["", "killed", "[1]", '{"cpu_seconds": "many"}', '{"cpu_seconds": -1}', "[" * 3000])
def test_what_a_job_writes_down_is_data(said: str) -> None:
    used = verdicts.usage(job(), [pod("Failed", **terminated(1, message=said))], NOW)
    assert (used.cpu_seconds, used.peak_memory_bytes) == (None, None)


def test_usage_without_pods_is_from_the_job() -> None:
    assert verdicts.usage(job(failed("DeadlineExceeded")), [], NOW).wall_seconds == 65.0


def reserving(**requests: Any) -> Object:
    found = job()
    found["spec"] = {"template": {"spec": {"containers": [{"name": "job", "resources": {"requests": requests}}]}}}
    return found


def test_what_a_job_holds_is_read_from_its_manifest_as_it_was_written() -> None:
    held = verdicts.usage(reserving(cpu="1500m", memory="268435456"), [], NOW).reserved
    assert held == Resources(cpu=1.5, memory_bytes=256 * MIB)
    assert verdicts.usage(reserving(cpu="2", memory="268435456"), [], NOW).reserved == Resources(cpu=2, memory_bytes=256 * MIB)


@pytest.mark.parametrize("requests", [{}, {"cpu": "much", "memory": "1"}, {"cpu": "1", "memory": "1Gi"}])
def test_what_a_job_holds_is_unknown_where_its_manifest_says_it_otherwise(requests: dict[str, str]) -> None:
    assert verdicts.usage(reserving(**requests), [], NOW).reserved is None


def test_what_was_taken_away_is_counted_apart_from_what_failed_by_itself() -> None:
    pods = [
        pod("Failed", "oppen-a-aaaaa", conditions=DISRUPTED, **terminated(143)),
        pod("Failed", "oppen-a-bbbbb", reason="NodeLost"),
        pod("Failed", "oppen-a-ccccc", **terminated(1)),
        pod("Running", "oppen-a-ddddd", **container(running={"startedAt": T1})),
    ]
    state = verdicts.state(job(), pods)
    assert state.interruptions == 2
    assert state.pricing is Pricing.STANDARD
    spot = job()
    spot["metadata"]["labels"] = {"oppen/pricing": "spot"}
    assert verdicts.state(spot, pods).pricing is Pricing.SPOT
