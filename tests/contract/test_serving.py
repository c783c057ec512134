"""The serving port over its backends: the twin, the gateway behind its HTTP adapter, and the gateway scaled by a Deployment."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from api import settings as service
from api.container import scaled
from gateway.assembly import assembled
from gateway.settings import Settings
from tests.contract.clusters import placed
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import write_pickle, write_pt2
from tests.twins.serving import TwinServing
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.kubernetes.deployments import Deployments
from tools.serving.gateway import GatewayServing, open_serving
from tools.serving.port import Route, Serving
from tools.serving.replicas import ReplicaServing
from tools.serving.replicas import Settings as Replicas

MODEL, BROKEN = "flights", "9"


@pytest.fixture(scope="module")
def model_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    for version in ("1", "2"):
        write_pt2(root / MODEL / version, float(version))
    write_pickle(root / MODEL / BROKEN)
    return root


@pytest.fixture(params=["twin", "gateway", "kubernetes"])
async def serving(request: pytest.FixtureRequest, model_root: Path, tmp_path: Path) -> AsyncIterator[Serving]:
    """Serves nothing yet. Version 9 of the model cannot be loaded."""
    if request.param == "twin":
        twin = TwinServing()
        twin.break_version(MODEL, BROKEN)
        yield twin
        return
    async with (
        assembled(Settings(home=tmp_path), FolderRegistry(model_root)) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        gateway = GatewayServing(client)
        if request.param == "gateway":
            yield gateway
            return
        async with placed(request) as place:
            await place.add_config_map("scaling")
            await place.add_deployment(MODEL, 1)
            yield ReplicaServing(gateway, place.api, Replicas(deployment=place.name("{model}"), record=place.name("scaling")))


async def test_it_is_a_serving_layer_and_answers(serving: Serving) -> None:
    assert isinstance(serving, Serving)
    await serving.ping()
    assert await serving.models() == ()


async def test_a_route_is_made_and_found_again(serving: Serving) -> None:
    made = await serving.set_weights(MODEL, {"1": 90, "2": 10}, expected_generation=0, key="a")
    assert made == Route(model=MODEL, generation=1, weights={"1": 90, "2": 10})
    assert await serving.route(MODEL) == made
    assert await serving.models() == (MODEL,)
    assert [(v.version, v.state) for v in await serving.served(MODEL)] == [("1", "ready"), ("2", "ready")]


async def test_a_key_acts_once_and_answers_with_the_route_it_made(serving: Serving) -> None:
    first = await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    second = await serving.set_weights(MODEL, {"2": 100}, expected_generation=1, key="b")
    assert await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a") == first
    assert await serving.route(MODEL) == second


async def test_a_key_that_comes_back_with_other_weights_is_a_conflict(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    with pytest.raises(Conflict):
        await serving.set_weights(MODEL, {"2": 100}, expected_generation=1, key="a")


async def test_a_generation_that_has_moved_on_is_a_conflict(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    with pytest.raises(Conflict):
        await serving.set_weights(MODEL, {"2": 100}, expected_generation=0, key="b")
    assert (await serving.route(MODEL)).weights == {"1": 100}


async def test_weights_that_do_not_add_up_are_refused(serving: Serving) -> None:
    with pytest.raises(PermanentError, match="weights"):
        await serving.set_weights(MODEL, {"1": 60, "2": 60}, expected_generation=0, key="a")


async def test_a_version_that_cannot_be_loaded_leaves_the_route_as_it_was(serving: Serving) -> None:
    before = await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    with pytest.raises(PermanentError):
        await serving.set_weights(MODEL, {"1": 50, BROKEN: 50}, expected_generation=1, key="b")
    assert await serving.route(MODEL) == before


async def test_a_model_that_is_not_served_is_named(serving: Serving) -> None:
    for asked in (serving.route, serving.served, serving.capacity, serving.batching, serving.batches):
        with pytest.raises(PermanentError, match="nobody"):
            await asked("nobody")
    with pytest.raises(PermanentError, match="nobody"):
        await serving.scale("nobody", 2, expected_workers=1, key="a")
    with pytest.raises(PermanentError, match="nobody"):
        await serving.set_batching("nobody", rows=8, wait_ms=1, expected_generation=0, key="a")


async def test_workers_are_changed_once_per_key(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    assert (await serving.capacity(MODEL)).workers == 1
    assert (await serving.scale(MODEL, 3, expected_workers=1, key="b")).workers == 3
    await serving.scale(MODEL, 2, expected_workers=3, key="c")
    assert (await serving.scale(MODEL, 3, expected_workers=1, key="b")).workers == 2
    with pytest.raises(Conflict, match="key"):
        await serving.scale(MODEL, 4, expected_workers=2, key="b")


async def test_workers_that_somebody_else_has_changed_are_a_conflict(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    await serving.scale(MODEL, 3, expected_workers=1, key="b")
    with pytest.raises(Conflict, match="expected_workers"):
        await serving.scale(MODEL, 4, expected_workers=1, key="c")
    assert (await serving.capacity(MODEL)).workers == 3
    # What was refused was not done: the key is free.
    assert (await serving.scale(MODEL, 4, expected_workers=3, key="c")).workers == 4


async def test_more_workers_than_the_limit_are_refused(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    limit = (await serving.capacity(MODEL)).limit
    with pytest.raises(PermanentError, match="workers"):
        await serving.scale(MODEL, limit + 1, expected_workers=1, key="b")
    assert 0.0 <= (await serving.capacity(MODEL)).utilisation <= 1.0


async def test_batching_is_changed_once_per_key(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    first = await serving.batching(MODEL)
    assert (first.generation, first.wait_ms) == (0, 0)
    made = await serving.set_batching(MODEL, rows=128, wait_ms=4, expected_generation=0, key="b")
    assert made == first.model_copy(update={"generation": 1, "rows": 128, "wait_ms": 4})
    later = await serving.set_batching(MODEL, rows=32, wait_ms=0, expected_generation=1, key="c")
    assert await serving.set_batching(MODEL, rows=128, wait_ms=4, expected_generation=0, key="b") == made
    assert await serving.batching(MODEL) == later
    with pytest.raises(Conflict, match="key"):
        await serving.set_batching(MODEL, rows=127, wait_ms=4, expected_generation=2, key="b")
    with pytest.raises(Conflict, match="expected_generation"):
        await serving.set_batching(MODEL, rows=64, wait_ms=0, expected_generation=1, key="d")
    # What was refused was not done: the key is free.
    assert (await serving.set_batching(MODEL, rows=64, wait_ms=0, expected_generation=2, key="d")).generation == 3


async def test_batching_beyond_what_may_be_asked_for_is_refused(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    limits = await serving.batching(MODEL)
    with pytest.raises(PermanentError, match="rows"):
        await serving.set_batching(MODEL, rows=limits.most_rows + 1, wait_ms=0, expected_generation=0, key="b")
    with pytest.raises(PermanentError, match="wait_ms"):
        await serving.set_batching(MODEL, rows=64, wait_ms=limits.longest_wait_ms + 1, expected_generation=0, key="b")
    assert await serving.batching(MODEL) == limits


async def test_what_batches_took_is_told_by_version(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    assert all(each.version == "1" for each in await serving.batches(MODEL))


async def test_a_gateway_that_is_down_is_a_temporary_error() -> None:
    twin = TwinServing()
    twin.go_down()
    # Nothing listens on the discard port.
    async with open_serving("http://127.0.0.1:9", token=None) as nobody:
        for serving in (twin, nobody):
            with pytest.raises(TemporaryError):
                await serving.ping()


async def test_a_shadow_is_part_of_the_route_and_of_its_key(serving: Serving) -> None:
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
    made = await serving.set_weights(MODEL, {"1": 100}, shadow={"2": 50}, expected_generation=1, key="b")
    assert made == Route(model=MODEL, generation=2, weights={"1": 100}, shadow={"2": 50})
    assert await serving.route(MODEL) == made
    assert await serving.set_weights(MODEL, {"1": 100}, shadow={"2": 50}, expected_generation=1, key="b") == made
    with pytest.raises(Conflict):
        await serving.set_weights(MODEL, {"1": 100}, expected_generation=1, key="b")
    with pytest.raises(PermanentError):
        await serving.set_weights(MODEL, {"1": 100}, shadow={BROKEN: 100}, expected_generation=2, key="c")
    with pytest.raises(PermanentError):
        await serving.set_weights(MODEL, {"1": 50, "2": 50}, shadow={"2": 100}, expected_generation=2, key="d")
    assert (await serving.set_weights(MODEL, {"1": 100}, expected_generation=2, key="e")).shadow == {}


async def test_what_the_setting_opens_scales_deployments(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """As the service does it: by OPPEN_SCALING, from outside the cluster."""
    async with placed(request) as place, AsyncExitStack() as stack:
        await place.add_config_map("scaling")
        await place.add_deployment(MODEL, 1)
        inner = TwinServing()
        await inner.set_weights(MODEL, {"1": 100}, expected_generation=0, key="a")
        kubeconfig = place.played.kubeconfig() if place.played is not None else os.environ["KUBECONFIG"]
        values = {
            "OPPEN_HOME": str(tmp_path),
            "OPPEN_SCALING": f"kubernetes:{place.api.namespace}",
            "OPPEN_SCALING_CLUSTER": json.dumps({"deployment": place.name("{model}"), "record": place.name("scaling")}),
            "OPPEN_KUBECONFIG": str(kubeconfig),
        }
        with pytest.MonkeyPatch.context() as environment:
            for name, value in values.items():
                environment.setenv(name, value)
            settings = service.read()
        serving = await scaled(inner, settings, stack)
        assert (await serving.capacity(MODEL)).workers == 1
        assert (await serving.scale(MODEL, 3, expected_workers=1, key="b")).workers == 3
        assert (await Deployments(place.api, most=8).replicas(place.name(MODEL))).wanted == 3
        assert await serving.route(MODEL) == await inner.route(MODEL)
        assert await scaled(inner, settings.model_copy(update={"scaling": "workers"}), stack) is inner
