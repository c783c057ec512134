"""The tests' API server, asked by the official client: what it promises is what a real one does."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from tests.kubernetes.cluster import TestCluster, running_cluster

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def api(cluster: TestCluster) -> Iterator[client.ApiClient]:
    configuration = client.Configuration()
    config.load_kube_config(str(cluster.kubeconfig()), client_configuration=configuration)
    configuration.retries = False
    with client.ApiClient(configuration) as made:
        yield made


@pytest.fixture
def namespace(cluster: TestCluster, request: pytest.FixtureRequest) -> str:
    name = f"n-{abs(hash(request.node.name)) % 10**8}"
    cluster.add("Namespace", name)
    return name


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(
        api_version="v1", kind="ConfigMap", metadata=client.V1ObjectMeta(name=name, labels=labels), data=data
    )


def refused(code: int, reason: str) -> Any:
    @contextlib.contextmanager
    def expecting() -> Iterator[None]:
        with pytest.raises(ApiException) as caught:
            yield
        assert caught.value.status == code
        assert f'"reason": "{reason}"' in str(caught.value.body)
        assert '"kind": "Status"' in str(caught.value.body)

    return expecting()


def test_an_object_is_made_once_and_has_an_identity(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, config_map("a", x="1"))
    assert made.metadata.uid
    assert made.metadata.creation_timestamp
    assert made.metadata.resource_version
    with refused(409, "AlreadyExists"):
        core.create_namespaced_config_map(namespace, config_map("a"))
    with refused(404, "NotFound"):
        core.read_namespaced_config_map("b", namespace)
    with refused(404, "NotFound"):
        core.create_namespaced_config_map("nowhere", config_map("a"))


def test_a_change_on_an_old_version_is_a_conflict(core: client.CoreV1Api, namespace: str) -> None:
    first = core.create_namespaced_config_map(namespace, config_map("a", x="1"))
    first.data["x"] = "2"
    second = core.replace_namespaced_config_map("a", namespace, first)
    assert int(second.metadata.resource_version) > int(first.metadata.resource_version)
    with refused(409, "Conflict"):
        core.replace_namespaced_config_map("a", namespace, first)
    stale = {"metadata": {"resourceVersion": first.metadata.resource_version}, "data": {"x": "3"}}
    with refused(409, "Conflict"):
        core.patch_namespaced_config_map("a", namespace, stale, _content_type=MERGE)
    same = core.patch_namespaced_config_map("a", namespace, {"data": {"x": "2"}}, _content_type=MERGE)
    assert same.metadata.resource_version == second.metadata.resource_version, "what changes nothing makes no version"


def test_both_patches_patch(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("a", x="1", y="2"))
    merged = core.patch_namespaced_config_map("a", namespace, {"data": {"x": None, "z": "3"}}, _content_type=MERGE)
    assert merged.data == {"y": "2", "z": "3"}
    operations = [
        {"op": "test", "path": "/data/y", "value": "2"},
        {"op": "replace", "path": "/data/y", "value": "4"},
        {"op": "add", "path": "/metadata/labels", "value": {"a/b": "c"}},
        {"op": "remove", "path": "/data/z"},
    ]
    patched = core.patch_namespaced_config_map("a", namespace, operations, _content_type=JSON_PATCH)
    assert (patched.data, patched.metadata.labels) == ({"y": "4"}, {"a/b": "c"})
    with refused(422, "Invalid"):
        core.patch_namespaced_config_map("a", namespace, operations, _content_type=JSON_PATCH)


def test_selectors_select(core: client.CoreV1Api, namespace: str) -> None:
    for name, labels in (("a", {"tier": "x", "env": "p"}), ("b", {"tier": "y"}), ("c", {})):
        core.create_namespaced_config_map(namespace, config_map(name, labels))

    def names(**selector: str) -> str:
        return "".join(item.metadata.name for item in core.list_namespaced_config_map(namespace, **selector).items)

    assert names() == "abc"
    assert names(label_selector="tier=x") == "a"
    assert names(label_selector="tier!=x") == "bc"
    assert names(label_selector="tier in (x, y),env") == "a"
    assert names(label_selector="tier notin (x)") == "bc"
    assert names(label_selector="!tier") == "c"
    assert names(field_selector="metadata.name=b") == "b"


def test_lists_come_in_pages(core: client.CoreV1Api, cluster: TestCluster, namespace: str) -> None:
    for number in range(5):
        core.create_namespaced_config_map(namespace, config_map(f"a{number}"))
    first = core.list_namespaced_config_map(namespace, limit=2)
    second = core.list_namespaced_config_map(namespace, limit=2, _continue=first.metadata._continue)
    third = core.list_namespaced_config_map(namespace, limit=2, _continue=second.metadata._continue)
    assert [item.metadata.name for page in (first, second, third) for item in page.items] == ["a0", "a1", "a2", "a3", "a4"]
    assert third.metadata._continue is None
    cluster.store.forget()
    core.create_namespaced_config_map(namespace, config_map("later"))
    cluster.store.forget()
    with refused(410, "Expired"):
        core.list_namespaced_config_map(namespace, limit=2, _continue=first.metadata._continue)


def test_a_watch_tells_what_happened_and_marks_where_it_is(core: client.CoreV1Api, namespace: str) -> None:
    start = core.list_namespaced_config_map(namespace).metadata.resource_version

    def change() -> None:
        core.create_namespaced_config_map(namespace, config_map("a", {"mine": "yes"}))
        core.create_namespaced_config_map(namespace, config_map("b"))
        core.patch_namespaced_config_map("a", namespace, {"data": {"x": "1"}}, _content_type=MERGE)
        core.patch_namespaced_config_map("a", namespace, {"metadata": {"labels": {"mine": None}}}, _content_type=MERGE)

    changing = threading.Thread(target=change)
    changing.start()
    seen = []
    stream = watch.Watch()
    options = {"resource_version": start, "label_selector": "mine", "allow_watch_bookmarks": True, "timeout_seconds": 5}
    for event in stream.stream(core.list_namespaced_config_map, namespace, **options):
        seen.append(event["type"])
        if event["type"] == "BOOKMARK" and "DELETED" in seen:
            stream.stop()
    changing.join()
    assert [kind for kind in seen if kind != "BOOKMARK"] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[-1] == "BOOKMARK"


def test_a_watch_from_a_forgotten_version_is_gone(core: client.CoreV1Api, cluster: TestCluster, namespace: str) -> None:
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("a"))
    cluster.store.forget()
    with pytest.raises(ApiException) as caught:
        list(watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=start, timeout_seconds=5))
    assert caught.value.status == 410


def test_a_watch_ends_in_its_time(core: client.CoreV1Api, namespace: str) -> None:
    started = time.monotonic()
    assert list(watch.Watch().stream(core.list_namespaced_config_map, namespace, timeout_seconds=1)) == []
    assert 0.9 < time.monotonic() - started < 5


def test_what_an_object_owns_goes_with_it(core: client.CoreV1Api, namespace: str) -> None:
    owner = core.create_namespaced_config_map(namespace, config_map("owner"))
    owned = config_map("owned")
    owned.metadata.owner_references = [
        client.V1OwnerReference(api_version="v1", kind="ConfigMap", name="owner", uid=owner.metadata.uid)
    ]
    core.create_namespaced_config_map(namespace, owned)
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    with refused(409, "Conflict"):
        core.delete_namespaced_config_map("owner", namespace, body=wrong)
    core.delete_namespaced_config_map("owner", namespace)
    assert core.list_namespaced_config_map(namespace).items == []


def test_a_namespace_takes_what_is_in_it(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("a"))
    core.delete_namespace(namespace)
    assert namespace not in {item.metadata.name for item in core.list_namespace().items}
    with refused(404, "NotFound"):
        core.read_namespaced_config_map("a", namespace)


def test_status_is_a_resource_of_its_own(api: client.ApiClient, namespace: str) -> None:
    canaries = client.CustomObjectsApi(api)
    place = ("flagger.app", "v1beta1", namespace, "canaries")
    analysis = {"interval": "1m", "threshold": 2, "stepWeights": [10, 50, 100]}
    body = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "flights"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "flights"}, "analysis": analysis},
    }
    made = canaries.create_namespaced_custom_object(*place, {**body, "status": {"phase": "Succeeded"}})
    assert made["status"] == {}
    told = canaries.patch_namespaced_custom_object_status(
        *place,
        "flights",
        {"spec": {"analysis": None}, "status": {"phase": "Progressing", "canaryWeight": 10}},
        _content_type=MERGE,
    )
    assert (told["spec"]["analysis"], told["status"]["canaryWeight"]) == (analysis, 10)
    assert told["metadata"]["generation"] == 1
    moved = canaries.patch_namespaced_custom_object(
        *place, "flights", {"spec": {"analysis": {"threshold": 3}}, "status": {"phase": "Failed"}}, _content_type=MERGE
    )
    assert (moved["spec"]["analysis"]["threshold"], moved["status"]["phase"]) == (3, "Progressing")
    assert moved["metadata"]["generation"] == 2


def test_what_the_schema_does_not_know_is_refused(api: client.ApiClient, core: client.CoreV1Api, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dta": {"x": "1"}}
    request = api.param_serialize("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)
    response = api.call_api(*request)
    response.read()
    assert response.status == 422
    bad = config_map("a", {"tier": "no value of a label!"})
    with refused(422, "Invalid"):
        core.create_namespaced_config_map(namespace, bad)


def test_what_is_fixed_stays_fixed(core: client.CoreV1Api, namespace: str) -> None:
    fixed = config_map("a", x="1")
    fixed.immutable = True
    core.create_namespaced_config_map(namespace, fixed)
    with refused(422, "Invalid"):
        core.patch_namespaced_config_map("a", namespace, {"data": {"x": "2"}}, _content_type=MERGE)


def test_an_account_may_do_what_it_was_granted(tmp_path: Path) -> None:
    rights = {"reader": {"default": frozenset({("", "configmaps", "list")})}}
    with running_cluster(tmp_path, rights=rights) as cluster:
        for token, name, expected in (("reader", "default", 200), ("reader", "kube-system", 403), ("nobody", "default", 401)):
            configuration = client.Configuration()
            config.load_kube_config(str(cluster.kubeconfig(token)), client_configuration=configuration)
            with client.ApiClient(configuration) as api:
                request = api.param_serialize("GET", f"/api/v1/namespaces/{name}/configmaps", auth_settings=["BearerToken"])
                response = api.call_api(*request)
                response.read()
                assert response.status == expected, token
