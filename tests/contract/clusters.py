"""A namespace of a cluster, and objects in it for a test: the tests' own cluster, or with KUBECONFIG set the real one there.

On a real one: OPPEN_TEST_NAMESPACE (default `default`) and OPPEN_TEST_IMAGE (default `busybox:1.37`). Objects have names of
their own and are removed behind the test.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.kubernetes.cluster import TestCluster
from tools.kubernetes.cluster import Cluster, Object, connected
from tools.kubernetes.errors import NotFound
from tools.kubernetes.kinds import CONFIG_MAP, DEPLOYMENT, Kind

IMAGE = os.environ.get("OPPEN_TEST_IMAGE", "busybox:1.37")


@dataclass
class Place:
    api: Cluster
    played: TestCluster | None
    """None: it is a real one, which nobody restarts for a test."""
    _made: list[tuple[Kind, str]] = field(default_factory=list)
    _own: str = field(default_factory=lambda: f"oppen-test-{uuid4().hex[:8]}")

    def name(self, text: str) -> str:
        return f"{self._own}-{text}"

    async def add(self, kind: Kind, text: str, **parts: Any) -> Object:
        name = self.name(text)
        manifest = {"apiVersion": kind.api, "kind": kind.name, "metadata": {"name": name}, **parts}
        made = await self.api.create(kind, manifest)
        self._made.append((kind, name))
        return made

    async def add_config_map(self, text: str, **data: str) -> Object:
        return await self.add(CONFIG_MAP, text, data=data)

    async def add_deployment(self, text: str, replicas: int) -> Object:
        labels = {"app": self.name(text)}
        container = {
            "name": "server",
            "image": IMAGE,
            "command": ["sleep", "600"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        secured = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
        pod = {"metadata": {"labels": labels}, "spec": {"securityContext": secured, "containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
        return await self.add(DEPLOYMENT, text, spec=spec)

    async def clear(self) -> None:
        for kind, name in self._made:
            with suppress(NotFound):
                await self.api.delete(kind, name)


@asynccontextmanager
async def placed(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """For a fixture that is asynchronous itself, and so can ask for no other such one."""
    if kubeconfig := os.environ.get("KUBECONFIG"):
        namespace, path, played = os.environ.get("OPPEN_TEST_NAMESPACE", "default"), Path(kubeconfig), None
    else:
        played = request.getfixturevalue("cluster")
        namespace, path = "oppen", played.kubeconfig()
    async with connected(namespace, kubeconfig=path) as api:
        found = Place(api, played)
        try:
            yield found
        finally:
            await found.clear()


@pytest.fixture
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with placed(request) as found:
        yield found
