"""What moves traffic, as the contract runs it: our gateway's port, the slow twin, and Flagger on a cluster of the tests'."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.kubernetes.cluster import TestCluster, running_cluster
from tests.kubernetes.flagger import Flagger, running_flagger
from tests.kubernetes.rights import granted
from tests.kubernetes.store import BY_KIND, Object, Store
from tests.twins.rollouts import SlowTraffic
from tests.twins.serving import TwinServing
from tools.errors import TemporaryError
from tools.kubernetes.cluster import connected
from tools.rollouts import canaries
from tools.rollouts.flagger import FlaggerTraffic
from tools.rollouts.found import share_of
from tools.rollouts.gateway import GatewayTraffic
from tools.rollouts.port import Phase, Standing, Traffic

MODEL, NAMESPACE, SERVICE = "flights", "ml", "service-token"
LIMIT_S = 15.0
Kind = Literal["gateway", "slow", "flagger"]


@dataclass
class Moving:
    """Version 1 has all the traffic."""

    traffic: Traffic
    kind: Kind
    arrive: Callable[[], Awaitable[None]]
    flagger: Flagger | None = None

    @asynccontextmanager
    async def between_looks(self) -> AsyncIterator[None]:
        """Flagger takes a step by the plan that it had read when its look began: one that is changed within a look is the next
        look's."""
        if self.flagger is not None:
            await asyncio.to_thread(self.flagger.go_away)
        yield
        if self.flagger is not None:
            self.flagger.come_back()

    async def settled(self) -> Standing:
        """Once what was asked for is in force."""
        async with asyncio.timeout(LIMIT_S):
            while (standing := await self.traffic.state(MODEL)).phase is Phase.MOVING:
                await self.arrive()
                await asyncio.sleep(0.01)
        return standing

    async def patiently(self, call: Callable[[], Awaitable[Standing]]) -> Standing:
        """As the engine does with what fails for a moment."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    return await call()
                except TemporaryError:
                    await self.arrive()
                    await asyncio.sleep(0.01)


async def _no_time() -> None: ...


@dataclass
class OnFlagger:
    cluster: TestCluster
    flagger: Flagger
    hooks: str

    @property
    def canary(self) -> Object:
        return self.cluster.of("Canary", MODEL, NAMESPACE)

    def edit(self, kind: str, name: str, change: Callable[[Object], Any]) -> None:
        """As somebody does with kubectl."""

        def changed(item: Object) -> Object:
            change(item)
            return item

        self.cluster.store.update(BY_KIND[kind], NAMESPACE, name, changed)

    def say(self, **status: Any) -> None:
        """As Flagger would, which is away."""

        def changed(item: Object) -> Object:
            return {**item, "status": {**item["status"], **status}}

        self.cluster.store.update(BY_KIND["Canary"], NAMESPACE, MODEL, changed, status=True)

    @property
    def settings(self) -> canaries.Settings:
        return canaries.Settings(hooks=self.hooks, prometheus="http://prometheus:9090", interval_s=1)

    def prepare(self) -> None:
        """As an installation does: the model's Canary, and what Flagger makes of it."""
        analysis = {"interval": "1m", "threshold": 5, "stepWeights": [100]}
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": MODEL}
        self.cluster.add("Canary", MODEL, NAMESPACE, spec={"targetRef": target, "analysis": analysis})

    async def phase(self, wanted: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while (self.canary.get("status") or {}).get("phase") != wanted:
                await asyncio.sleep(0.01)


@contextmanager
def on_flagger(folder: Path, hooks: str) -> Iterator[OnFlagger]:
    with running_cluster(folder, rights={SERVICE: {NAMESPACE: granted("rollouts") | granted("service")}}) as cluster:
        cluster.add("Namespace", NAMESPACE)
        cluster.add("ConfigMap", f"{MODEL}-serving", NAMESPACE, data={"model_version": "1", "log_level": "info"})
        with running_flagger(cluster.store) as flagger:
            yield OnFlagger(cluster, flagger, hooks)


@asynccontextmanager
async def flagger_traffic(on: OnFlagger, settings: canaries.Settings | None = None) -> AsyncIterator[FlaggerTraffic]:
    async with connected(NAMESPACE, kubeconfig=on.cluster.kubeconfig(SERVICE)) as api:
        yield FlaggerTraffic(api, settings or on.settings, "a key")


@contextmanager
def gatekeeper(stores: list[Store]) -> Iterator[str]:
    """Lets through what was asked for through the port, as the platform does for what is approved."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            canary = stores[0].get(BY_KIND["Canary"], body["namespace"], body["name"])
            self.send_response(200 if _let(self.path.rpartition("/")[2], canary) else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _let(gate: str, canary: Object) -> bool:
    record = canaries.record_of(canary)
    if record is None:
        return False
    match gate:
        case "confirm-rollout":
            return record.ending != "abort"
        case "confirm-traffic-increase":
            return record.ending == "promotion" or (not record.ending and share_of(canary) < record.asked)
        case "confirm-promotion":
            return record.ending == "promotion"
        case "rollback":
            return record.ending == "abort"
        case _:
            return True


@pytest.fixture
def on(tmp_path: Path) -> Iterator[OnFlagger]:
    stores: list[Store] = []
    with gatekeeper(stores) as url, on_flagger(tmp_path, url) as found:
        stores.append(found.cluster.store)
        yield found


@pytest.fixture(params=["gateway", "slow", "flagger"])
async def moving(request: pytest.FixtureRequest) -> AsyncIterator[Moving]:
    if request.param == "flagger":
        on: OnFlagger = request.getfixturevalue("on")
        on.prepare()
        await on.phase("Initialized")
        async with flagger_traffic(on) as traffic:
            yield Moving(traffic, "flagger", _no_time, on.flagger)
        return
    serving = TwinServing()
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="release")
    if request.param == "gateway":
        yield Moving(GatewayTraffic(serving), "gateway", _no_time)
    else:
        slow = SlowTraffic(serving)
        yield Moving(slow, "slow", lambda: slow.arrive(MODEL))
