"""A cluster for a test: the API server, its controllers and a node, on a loopback port, and a kubeconfig that leads there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.controllers import Controllers
from tests.kubernetes.server import ApiServer, Right
from tests.kubernetes.store import BY_KIND, Object, Store


@dataclass
class TestCluster:
    __test__ = False

    store: Store
    server: ApiServer
    controllers: Controllers
    folder: Path

    def kubeconfig(self, token: str | None = None) -> Path:
        """For an administrator, or for the account of this token."""
        path = self.folder / f"kubeconfig-{token or 'admin'}"
        user = {"token": token} if token else {}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.server.url}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": user}],
        }
        path.write_text(json.dumps(content))
        return path

    def add(self, kind: str, name: str, namespace: str = "", **parts: object) -> Object:
        resource = BY_KIND[kind]
        manifest = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, **parts}
        return self.store.create(resource, namespace, manifest)

    def of(self, kind: str, name: str, namespace: str) -> Object:
        return self.store.get(BY_KIND[kind], namespace, name)

    def all(self, kind: str, namespace: str) -> list[Object]:
        return self.store.find(BY_KIND[kind], namespace)


@contextmanager
def running_cluster(
    folder: Path, *, rights: dict[str, dict[str, frozenset[Right]]] | None = None, gpus: int = 0
) -> Iterator[TestCluster]:
    store = Store()
    controllers = Controllers(store, gpus=gpus)
    server = ApiServer(store, controllers, rights or {})
    server.start()
    controllers.start()
    try:
        yield TestCluster(store, server, controllers, folder)
    finally:
        server.stop()
        controllers.stop()
