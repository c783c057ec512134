"""Jobs on Kubernetes beyond the port: its own reasons of failure, what is sent, and what others and outages do in between."""

import asyncio
import contextlib
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.jobs import SERVICE, SETTINGS, Backend, on_test_cluster
from tests.kubernetes.cluster import TestCluster
from tests.kubernetes.rights import TERRAFORM, granted
from tests.kubernetes.server import Right
from tests.kubernetes.store import BY_KIND, Object, Refusal, faults
from tools.costs.port import Pricing
from tools.errors import PermanentError, TemporaryError
from tools.jobs import manifests
from tools.jobs.kubernetes import KubernetesJobs
from tools.jobs.port import MIB, JobSpec, JobState, Phase, Reason, Resources, job_name
from tools.kubernetes.cluster import connected
from tools.kubernetes.config_maps import ConfigMaps
from tools.kubernetes.deployments import Deployments
from tools.kubernetes.kinds import JOB

LIMIT_S = 15
KEY = "flights/run-1"


@pytest.fixture
async def played(cluster: TestCluster) -> AsyncIterator[Backend]:
    async with on_test_cluster(cluster) as backend:
        yield backend


async def until(backend: Backend, name: str, wanted: Callable[[JobState], bool]) -> JobState:
    async with asyncio.timeout(LIMIT_S), contextlib.aclosing(backend.jobs.watch(name)) as states:
        async for state in states:
            if wanted(state):
                return state
    raise AssertionError(f"it ended as {state}")


def over(state: JobState) -> bool:
    return state.final


def running(state: JobState) -> bool:
    return state.phase is Phase.RUNNING


def spelled(backend: Backend, *words: str, pause_s: float) -> JobSpec:
    command = f"for word in {' '.join(words)}; do echo $word; sleep {pause_s}; done"
    return backend.spec("succeeds").model_copy(update={"command": ("sh", "-c", command)})


def pods(cluster: TestCluster) -> list[Object]:
    return cluster.all("Pod", "ml")


# Reasons.


async def test_an_image_that_does_not_come_holds_it_up_and_then_fails_it(played: Backend) -> None:
    spec = played.spec("succeeds", image="absent.invalid/oppen:1", deadline=timedelta(seconds=3))
    name = (await played.jobs.submit(KEY, spec)).name
    held = await until(played, name, lambda state: state.reason is not None)
    assert (held.phase, held.reason) == (Phase.PENDING, Reason.IMAGE_PULL)
    assert "absent.invalid/oppen:1" in held.detail
    state = await until(played, name, over)
    assert (state.phase, state.reason) == (Phase.FAILED, Reason.IMAGE_PULL)
    assert "absent.invalid/oppen:1" in state.detail


async def test_an_eviction_is_nobodys_fault(played: Backend, cluster: TestCluster) -> None:
    name = (await played.jobs.submit(KEY, played.spec("waits"))).name
    await until(played, name, running)
    cluster.controllers.evict("ml", pods(cluster)[0]["metadata"]["name"], "The node was low on resource: memory.")
    state = await until(played, name, over)
    assert (state.reason, state.detail) == (Reason.EVICTED, "The node was low on resource: memory.")


async def test_an_evicted_job_is_tried_again_where_it_may(played: Backend, cluster: TestCluster) -> None:
    name = (await played.jobs.submit(KEY, played.spec("waits", retries=1))).name
    await until(played, name, running)
    cluster.controllers.evict("ml", pods(cluster)[0]["metadata"]["name"], "The node was low on resource: memory.")
    again = await until(played, name, lambda state: running(state) and state.attempts == 2)
    assert again.reason is None
    await played.jobs.cancel(name, reason="seen")


async def test_gpus_that_no_node_has_are_waited_for(played: Backend, cluster: TestCluster) -> None:
    wanted = Resources(cpu=1, memory_bytes=64 * MIB, gpus=2)
    name = (await played.jobs.submit(KEY, played.spec("succeeds", resources=wanted))).name
    state = await until(played, name, lambda state: state.reason is not None)
    assert (state.phase, state.reason) == (Phase.PENDING, Reason.UNSCHEDULABLE)
    assert "nvidia.com/gpu" in state.detail


async def test_an_account_that_is_not_there_is_told(played: Backend, cluster: TestCluster) -> None:
    cluster.store.delete(BY_KIND["ServiceAccount"], "ml", "oppen-jobs")
    name = (await played.jobs.submit(KEY, played.spec("succeeds", deadline=timedelta(seconds=2)))).name
    state = await until(played, name, over)
    assert state.reason is Reason.UNSCHEDULABLE
    assert 'service account: "oppen-jobs" not found' in state.detail


async def test_a_program_that_is_not_there_is_told(played: Backend) -> None:
    spec = played.spec("succeeds").model_copy(update={"command": ("no-such-program",)})
    state = await until(played, (await played.jobs.submit(KEY, spec)).name, over)
    assert (state.reason, state.exit_code) == (Reason.EXIT_CODE, 128)
    assert "no-such-program" in state.detail


# What is sent.


async def test_secrets_come_from_the_cluster_and_are_in_no_manifest(played: Backend, cluster: TestCluster) -> None:
    spec = played.spec("says its environment", secrets=frozenset({"MLFLOW_TRACKING_TOKEN"}))
    name = (await played.jobs.submit(KEY, spec)).name
    await until(played, name, over)
    assert "MLFLOW_TRACKING_TOKEN=hush" in [line async for line in played.jobs.logs(name)]
    assert "hush" not in str(cluster.all("Job", "ml")) + str(cluster.all("ConfigMap", "ml"))


async def test_a_secret_without_that_entry_holds_it_up(played: Backend, cluster: TestCluster) -> None:
    cluster.store.delete(BY_KIND["Secret"], "ml", "oppen-jobs")
    name = (await played.jobs.submit(KEY, played.spec("waits", secrets=frozenset({"TOKEN"})))).name
    state = await until(played, name, lambda state: bool(state.detail))
    assert state.phase is Phase.PENDING
    assert state.detail.startswith("CreateContainerConfigError")


async def test_secrets_without_a_secret_are_refused(cluster: TestCluster) -> None:
    async with connected("ml", kubeconfig=cluster.kubeconfig()) as api:
        jobs = KubernetesJobs(api, SETTINGS.model_copy(update={"secret": None}))
        with pytest.raises(PermanentError, match="TOKEN"):
            await jobs.submit(KEY, Backend(jobs, "kubernetes").spec("succeeds", secrets=frozenset({"TOKEN"})))


def manifest(**settings: Any) -> Object:
    backend = Backend(None, "kubernetes")  # type: ignore[arg-type]
    spec = backend.spec("succeeds", resources=Resources(cpu=0.5, memory_bytes=64 * MIB, gpus=1), config={"a.yaml": "x"})
    return manifests.job(job_name(KEY), KEY, spec, SETTINGS.model_copy(update=settings))


def test_manifests_keep_kubernetes_own_schemas() -> None:
    job = manifest(priority_class="oppen-training", gpu_priority_class="oppen-gpu", gpu_node_selector={"oppen/pool": "gpu"})
    spec = Backend(None, "kubernetes").spec("succeeds", config={"a.yaml": "x"})  # type: ignore[arg-type]
    assert faults(job) == []
    assert faults(manifests.config_map("oppen-x", "9d1c", spec)) == []
    assert faults({**job, "spec": {**job["spec"], "backofLimit": 1}})
    assert faults({**job, "spec": {**job["spec"], "backoffLimit": "1"}})


def test_a_pod_keeps_the_restricted_standard() -> None:
    pod = manifest()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "emptyDir", "configMap", "persistentVolumeClaim"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_a_job_asks_for_its_machine_and_says_who_pays() -> None:
    job = manifest(gpu_priority_class="oppen-gpu", gpu_node_selector={"oppen/pool": "gpu"})
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["resources"]["limits"]["cpu"] == "500m"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert (pod["priorityClassName"], pod["nodeSelector"]) == ("oppen-gpu", {"oppen/pool": "gpu"})
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert {"oppen/model": "flights", "oppen/team": "search", "oppen/run": "run-1"}.items() <= labels.items()
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400


def test_a_job_on_spot_may_lose_its_node_and_says_what_it_is_paid_as() -> None:
    spec = Backend(None, "kubernetes").spec("succeeds")  # type: ignore[arg-type]
    usual = manifests.job(job_name(KEY), KEY, spec, SETTINGS)
    spot = manifests.job(job_name(KEY), KEY, spec.model_copy(update={"pricing": Pricing.SPOT}), SETTINGS)
    assert faults(spot) == []
    pod = spot["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert pod["tolerations"] == [{"key": "cloud.google.com/gke-spot", "operator": "Exists"}]
    (rule,) = spot["spec"]["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    for labels in (spot["metadata"]["labels"], spot["spec"]["template"]["metadata"]["labels"]):
        assert labels["oppen/pricing"] == "spot"
    assert "oppen/pricing" not in str(usual)
    assert not {"nodeSelector", "tolerations"} & usual["spec"]["template"]["spec"].keys()
    both = spec.model_copy(update={"pricing": Pricing.SPOT, "resources": Resources(cpu=1, memory_bytes=64 * MIB, gpus=1)})
    pooled = SETTINGS.model_copy(update={"gpu_node_selector": {"pool": "gpu"}})
    pod = manifests.job("x", KEY, both, pooled)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu", "cloud.google.com/gke-spot": "true"}
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]


async def test_a_cluster_that_is_said_to_have_no_spot_nodes_offers_none(cluster: TestCluster) -> None:
    async with connected("ml", kubeconfig=cluster.kubeconfig(SERVICE)) as api:
        jobs = KubernetesJobs(api, SETTINGS.model_copy(update={"checkpoints_claim": None}))
        assert (await jobs.buying("flights")).offered == (Pricing.STANDARD,), "checkpoints would go with their pod"
        jobs = KubernetesJobs(api, SETTINGS.model_copy(update={"spot_node_selector": {}}))
        assert (await jobs.buying("flights")).offered == (Pricing.STANDARD,)
        with pytest.raises(PermanentError, match="spot"):
            await jobs.set_buying("flights", Pricing.SPOT, expected=Pricing.STANDARD, key="a")


async def test_two_that_move_trainings_at_once_both_do(cluster: TestCluster) -> None:
    async with connected("ml", kubeconfig=cluster.kubeconfig(SERVICE)) as api:
        jobs = KubernetesJobs(api, SETTINGS)
        models = [f"model {number}" for number in range(4)]
        await asyncio.gather(
            *(jobs.set_buying(model, Pricing.SPOT, expected=Pricing.STANDARD, key=f"{model}/a") for model in models)
        )
        assert {(await jobs.buying(model)).pricing for model in models} == {Pricing.SPOT}


async def test_files_go_with_their_job(played: Backend, cluster: TestCluster) -> None:
    name = (await played.jobs.submit(KEY, played.spec("shows its file", config={"train.yaml": "x\n"}))).name
    await until(played, name, over)
    job, files = cluster.of("Job", name, "ml"), cluster.of("ConfigMap", name, "ml")
    (owner,) = files["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", job["metadata"]["uid"])
    cluster.store.delete(BY_KIND["Job"], "ml", name)
    assert [each["metadata"]["name"] for each in cluster.all("ConfigMap", "ml")] == ["oppen-capacity"]


# What others, crashes and outages do in between.


async def test_a_submission_that_broke_off_between_job_and_files_is_taken_up(played: Backend, cluster: TestCluster) -> None:
    def refuse(method: str, plural: str, name: str | None) -> None:
        if (method, plural) == ("POST", "configmaps"):
            raise Refusal(500, "InternalError", "etcdserver: request timed out")

    spec = played.spec("shows its file", config={"train.yaml": "x\n"})
    cluster.server.interfere = refuse
    with pytest.raises(TemporaryError, match="timed out"):
        await played.jobs.submit(KEY, spec)
    assert not (await played.jobs.state(job_name(KEY))).final
    cluster.server.interfere = None
    await played.jobs.submit(KEY, spec)
    state = await until(played, job_name(KEY), over)
    assert (state.phase, state.attempts, len(cluster.all("Job", "ml"))) == (Phase.SUCCEEDED, 1, 1)


async def test_files_of_an_earlier_job_are_not_taken_for_its_own(played: Backend, cluster: TestCluster) -> None:
    cluster.add("ConfigMap", job_name(KEY), "ml", data={"train.yaml": "old"})
    with pytest.raises(TemporaryError, match="earlier job"):
        await played.jobs.submit(KEY, played.spec("shows its file", config={"train.yaml": "x\n"}))


async def test_a_job_of_somebody_else_is_not_ours(played: Backend, cluster: TestCluster) -> None:
    job = manifest()
    job["metadata"]["labels"].pop(manifests.MANAGED)
    cluster.store.create(BY_KIND["Job"], "ml", job)
    with pytest.raises(PermanentError, match="somebody else"):
        await played.jobs.cancel(job_name(KEY), reason="")


async def test_a_cancellation_finds_its_way_between_other_changes(played: Backend, cluster: TestCluster) -> None:
    name = (await played.jobs.submit(KEY, played.spec("waits"))).name
    await until(played, name, running)
    others = iter(range(3))

    def change(method: str, plural: str, of: str | None) -> None:
        if (method, plural) == ("PATCH", "jobs") and (number := next(others, None)) is not None:

            def annotate(item: Object) -> Object:
                item["metadata"]["annotations"]["somebody/else"] = str(number)
                return item

            cluster.store.update(BY_KIND["Job"], "ml", str(of), annotate)

    cluster.server.interfere = change
    await played.jobs.cancel(name, reason="enough")
    state = await until(played, name, over)
    assert (state.reason, state.detail) == (Reason.CANCELLED, "enough")
    assert cluster.of("Job", name, "ml")["metadata"]["annotations"]["somebody/else"] == "2"


async def test_a_watch_goes_on_when_the_server_has_forgotten_where_it_was(played: Backend, cluster: TestCluster) -> None:
    name = (await played.jobs.submit(KEY, played.spec("waits"))).name
    watching = asyncio.create_task(until(played, name, over))
    await until(played, name, running)
    await reached(lambda: cluster.server.watching >= 2)
    cluster.server.stop()
    cluster.store.forget()
    cluster.server.start()
    await played.jobs.cancel(name, reason="seen")
    assert (await watching).reason is Reason.CANCELLED


async def test_a_watch_outlives_a_restart_of_the_server(played: Backend, cluster: TestCluster) -> None:
    name = (await played.jobs.submit(KEY, played.spec("waits"))).name
    watching = asyncio.create_task(until(played, name, over))
    await until(played, name, running)
    await reached(lambda: cluster.server.watching >= 2)
    cluster.server.stop()
    cluster.controllers.evict("ml", pods(cluster)[0]["metadata"]["name"], "The node was low on resource: memory.")
    await reached(lambda: bool(cluster.of("Job", name, "ml")["status"].get("failed")))
    cluster.server.start()
    assert (await watching).reason is Reason.EVICTED


async def test_a_log_is_followed_through_a_restart_without_loss_or_repetition(played: Backend, cluster: TestCluster) -> None:
    words = [str(number) for number in range(40)]
    name = (await played.jobs.submit(KEY, spelled(played, *words, pause_s=0.05))).name
    found: list[str] = []
    async with asyncio.timeout(LIMIT_S):
        async for line in played.jobs.logs(name, follow=True):
            found.append(line)
            if line == "10":
                await asyncio.to_thread(cluster.server.stop)
                cluster.server.start()
    assert found == words


async def test_who_watches_or_follows_waits_for_a_server_that_is_away(played: Backend, cluster: TestCluster) -> None:
    """For longer than a connection is tried again for."""
    name = (await played.jobs.submit(KEY, spelled(played, "a", "b", "c", pause_s=0.7))).name

    async def follow() -> list[str]:
        return [line async for line in played.jobs.logs(name, follow=True)]

    following, watching = asyncio.create_task(follow()), asyncio.create_task(until(played, name, over))
    await reached(lambda: cluster.server.watching >= 2)
    cluster.server.stop()
    await asyncio.sleep(1.5)
    cluster.server.start()
    async with asyncio.timeout(LIMIT_S):
        assert await following == ["a", "b", "c"]
        assert (await watching).phase is Phase.SUCCEEDED


async def test_a_watch_that_is_left_while_it_opens_is_closed(cluster: TestCluster) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        asked.set()
        answer.wait(LIMIT_S)

    async with connected("ml", kubeconfig=cluster.kubeconfig(SERVICE)) as api:
        opening = asyncio.create_task(
            anext(api.stream(JOB.path("ml"), {"watch": "true", "allowWatchBookmarks": "true"}, quiet_s=30))
        )
        cluster.server.interfere = hold
        await reached(asked.is_set)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        answer.set()
        cluster.server.interfere = None
        await reached(lambda: cluster.server.opened == 1 and cluster.server.watching == 0)
        gc.collect()


async def test_a_server_that_is_away_is_temporary(played: Backend, cluster: TestCluster) -> None:
    cluster.server.stop()
    with pytest.raises(TemporaryError, match="does not answer"):
        await played.jobs.ping()
    cluster.server.start()
    await played.jobs.ping()


@pytest.mark.parametrize(
    ("refusal", "kind", "said"),
    [
        (Refusal(503, "ServiceUnavailable", "apiserver is shutting down"), TemporaryError, "shutting down"),
        (Refusal(429, "TooManyRequests", "slow down", retryAfterSeconds=7), TemporaryError, "slow down"),
        (Refusal(403, "Forbidden", "jobs is forbidden: exceeded quota: oppen-jobs"), TemporaryError, "exceeded quota"),
        (Refusal(403, "Forbidden", "cannot create resource"), PermanentError, "lacks a right"),
        (Refusal(401, "Unauthorized", "Unauthorized"), PermanentError, "credentials"),
        (Refusal(422, "Invalid", "spec.template: Invalid value"), PermanentError, "Invalid value"),
    ],
)
async def test_refusals_are_told_apart(
    played: Backend, cluster: TestCluster, refusal: Refusal, kind: type[Exception], said: str
) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    cluster.server.interfere = refuse
    with pytest.raises(kind, match=said) as caught:
        await played.jobs.submit(KEY, played.spec("succeeds"))
    if refusal.code == 429:
        assert caught.value.retry_after == timedelta(seconds=7)


async def test_what_a_job_writes_down_about_itself_is_its_usage(played: Backend) -> None:
    said = """echo '{"cpu_seconds": 1.5, "peak_memory_bytes": 1000}' > "$OPPEN_JOB_USAGE" """
    spec = played.spec("succeeds").model_copy(update={"command": ("sh", "-c", said)})
    name = (await played.jobs.submit(KEY, spec)).name
    await until(played, name, over)
    used = await played.jobs.usage(name)
    assert (used.cpu_seconds, used.peak_memory_bytes) == (1.5, 1000)


async def test_what_runs_under_measure_is_measured_and_ends_as_it_would(played: Backend) -> None:
    busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7"
    command = (sys.executable, "-m", "tools.jobs.measured", "sh", "-c", busy)
    spec = played.spec("succeeds", environment={"PYTHONPATH": str(TERRAFORM.parents[1])})
    name = (await played.jobs.submit(KEY, spec.model_copy(update={"command": command}))).name
    state = await until(played, name, over)
    assert (state.reason, state.exit_code) == (Reason.EXIT_CODE, 7)
    used = await played.jobs.usage(name)
    assert used.cpu_seconds
    assert used.peak_memory_bytes


async def test_what_runs_under_measure_is_told_to_stop(played: Backend) -> None:
    command = (
        sys.executable,
        "-m",
        "tools.jobs.measured",
        "sh",
        "-c",
        "trap 'echo stopped; exit 0' TERM; echo on; sleep 600 & wait",
    )
    spec = played.spec("succeeds", environment={"PYTHONPATH": str(TERRAFORM.parents[1])}, grace=timedelta(minutes=1))
    name = (await played.jobs.submit(KEY, spec.model_copy(update={"command": command}))).name
    following = played.jobs.logs(name, follow=True)
    async with asyncio.timeout(LIMIT_S):
        assert await anext(following) == "on"
        await played.jobs.cancel(name, reason="enough")
        assert await anext(following) == "stopped"
    await following.aclose()


# Rights.


def add_serving(cluster: TestCluster) -> None:
    cluster.add("ConfigMap", "oppen-gateway", "oppen", data={"routes.json": "{}", "other": "stays"})
    container = {"name": "gateway", "image": "oppen:test"}
    template = {"metadata": {"labels": {"app": "gateway"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "gateway"}}, "template": template}
    cluster.add("Deployment", "oppen-gateway", "oppen", spec=spec)


async def test_the_service_is_granted_what_its_adapters_use_and_no_more(played: Backend, cluster: TestCluster) -> None:
    add_serving(cluster)
    spec = played.spec("waits", config={"a": "b"})
    name = (await played.jobs.submit(KEY, spec)).name
    await played.jobs.submit(KEY, spec)
    await until(played, name, running)
    assert [line async for line in played.jobs.logs(name, tail=1)] == ["waiting"]
    await played.jobs.jobs()
    await played.jobs.usage(name)
    watching = asyncio.create_task(until(played, name, over))
    await reached(lambda: cluster.server.watching >= 2)
    await played.jobs.cancel(name, reason="seen")
    assert (await watching).final
    await played.jobs.state(name)  # its pods are gone, so events are looked at
    await played.jobs.set_buying("flights", Pricing.SPOT, expected=Pricing.STANDARD, key="k")
    async with connected("oppen", kubeconfig=cluster.kubeconfig(SERVICE)) as api:
        configuration = await ConfigMaps(api).read("oppen-gateway")
        await ConfigMaps(api).change("oppen-gateway", {"a": "b"}, expected_version=configuration.version, key="k")
        await Deployments(api, most=4).scale("oppen-gateway", 3, expected=2)
    used: dict[str, set[Right]] = {"ml": set(), "oppen": set()}
    for token, namespace, right in cluster.server.used:
        if token == SERVICE:
            used[namespace].add(right)
    assert used == {"ml": granted("jobs"), "oppen": granted("service")}


async def test_a_kubeconfig_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="none"):
        async with connected("ml", kubeconfig=tmp_path / "none"):
            pass
    with pytest.raises(PermanentError, match="service account"):
        async with connected("ml"):
            pass


async def reached(wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not wanted():
            await asyncio.sleep(0.02)
