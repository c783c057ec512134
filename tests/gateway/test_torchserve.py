"""Versions that TorchServe computes, behind the gateway's own routes: as it was recorded, and the real one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import settings
from gateway.settings import Settings
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import write_pickle
from tests.gateway.running import Gateway, opened, predictions, shadows, started
from tests.torchserve import RunningTorchServe, fresh_model
from tests.twins.torchserve import TwinTorchServe
from tools.registry.port import ModelFiles
from tools.serving.archives import write_archive
from tools.serving.torchserve import TorchServe, open_torchserve

_LIMIT_S = 100.0
"""Real workers start in seconds, and in many on busy cores."""
ROWS = [float(n) / 3 for n in range(-6, 6)]

Begin = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def model() -> str:
    return fresh_model()


@pytest.fixture
def registry(model_root: Path, model: str, tmp_path: Path) -> FolderRegistry:
    """The versions of `late`, under a name that the server has not seen."""
    root = tmp_path / "registry"
    root.mkdir()
    (root / model).symlink_to(model_root / "late")
    return FolderRegistry(root)


@pytest.fixture
def begin(torchserve: RunningTorchServe, registry: FolderRegistry, model: str, tmp_path: Path) -> Begin:
    """Gateways on one home, their model on TorchServe, and ready."""

    @asynccontextmanager
    async def begin(**more: Any) -> AsyncIterator[Gateway]:
        chosen = {
            "models": (model,),
            "runtimes": {model: "torchserve"},
            "torchserve_url": torchserve.inference,
            "torchserve_management_url": torchserve.management,
            "torchserve_store": torchserve.store,
            "torchserve_key_file": torchserve.key_file,
            **more,
        }
        async with opened(registry, tmp_path / "home", **chosen) as gateway:
            await eventually(lambda: ready(gateway))
            yield gateway

    return begin


@pytest.fixture
async def server(torchserve: RunningTorchServe) -> AsyncIterator[TorchServe]:
    async with open_torchserve(torchserve.management, torchserve.key_file) as opened:
        yield opened


def there(twin: TwinTorchServe, model: str) -> dict[str, Any]:
    """The settings of a gateway whose `model` is on the stand-in."""
    return {
        "runtimes": {model: "torchserve"},
        "torchserve_url": twin.inference,
        "torchserve_management_url": twin.management,
        "torchserve_store": twin.store,
        "torchserve_key_file": twin.key_file,
    }


async def ready(gateway: Gateway) -> bool:
    return (await gateway.client.get("/v2/health/ready")).status_code == 200


async def eventually(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + _LIMIT_S
    while not await holds():
        assert time.monotonic() < end, "the state was not reached"
        await asyncio.sleep(0.05)


async def answers(gateway: Gateway, model: str, version: str) -> tuple[list[str], list[float]]:
    carriers = ["AA", "UA", "XX"] * 4
    # The ONNX graph, unlike the others, has no answer where the wind is missing.
    winds = [3.0 if version == "4" else None, 3.0, -1.0] * 4
    answer = await gateway.infer(ROWS, model=model, version=version, carrier=carriers, wind=winds)
    assert answer.status_code == 200, answer.text
    prediction, score = answer.json()["outputs"]
    return prediction["data"], score["data"]


async def test_two_versions_by_weight_answer_as_they_do_in_this_process(
    begin: Begin, registry: FolderRegistry, server: TorchServe, model: str, tmp_path: Path
) -> None:
    async with begin() as gateway:
        assert (await gateway.route({"1": 90, "4": 10}, generation=1, model=model)).status_code == 200
        seen = [await gateway.ask(f"customer-{n}", model=model) for n in range(100)]
        assert 0 < seen.count("4") < seen.count("1")
        hosted = {v.version: (v.ready, v.default) for v in await server.versions(model)}
        assert hosted == {"1": (1, True), "4": (1, False)}
        there = {version: await answers(gateway, model, version) for version in ("1", "4")}
        assert (await gateway.client.get(f"/v2/models/{model}")).json()["platform"] == "torchserve"
        home = gateway.home
    assert [p.version for p in predictions(home)][:100] == seen
    assert {p.cpu_us for p in predictions(home)} == {None}, "what the gateway spends on waiting is no cost of the version's"
    async with started(registry, tmp_path / "another", models=(model,)) as here:
        await here.route({"1": 90, "4": 10}, generation=1, model=model)
        assert [await here.ask(f"customer-{n}", model=model) for n in range(100)] == seen
        for version, (classes, scores) in there.items():
            expected = await answers(here, model, version)
            assert classes == expected[0]
            assert scores == pytest.approx(expected[1], abs=1e-5)


async def test_what_a_shadow_there_costs_is_not_known_and_how_long_it_takes_is(begin: Begin, model: str) -> None:
    async with begin() as gateway:
        made = await gateway.route({"1": 100}, shadow={"4": 100}, generation=1, model=model)
        assert made.status_code == 200

        async def ended() -> bool:
            labels = {"model": model, "version": "4"}
            found = [await gateway.metric("mirrored_total", **labels, outcome=each) for each in ("answered", "failed")]
            return sum(found) == 3

        for _ in range(3):
            assert (await gateway.infer([1.0], model=model)).status_code == 200
        await eventually(ended)
        home = gateway.home
    copies = {each.id: each for each in shadows(home)}
    assert len(copies) == 3
    assert {each.cpu_us for each in copies.values()} == {None}
    assert all(each.latency_us > 500 for each in copies.values()), "it was waited for over HTTP"


async def test_a_version_without_traffic_leaves_torchserve_with_its_archive(
    begin: Begin, torchserve: RunningTorchServe, server: TorchServe, model: str
) -> None:
    async with begin(grace_s=0.05) as gateway:
        await gateway.route({"2": 100}, generation=1, model=model)

        async def gone() -> bool:
            return [(v.version, v.default) for v in await server.versions(model)] == [("2", True)]

        await eventually(gone)

        async def swept() -> bool:
            return len(list(torchserve.store.glob(f"{model}--*.mar"))) == 1

        await eventually(swept)
        assert await gateway.ask("anybody", model=model) == "2"


async def test_a_server_that_dies_costs_clean_errors_and_heals_when_it_is_back(
    begin: Begin, torchserve: RunningTorchServe, server: TorchServe, model: str
) -> None:
    async with begin() as gateway:
        before = await answers(gateway, model, "1")
        torchserve.stop()
        try:
            for _ in range(3):
                refused = await gateway.infer(model=model)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert "TorchServe does not answer" in refused.json()["error"]
            assert (await gateway.client.get("/v2/health/ready")).status_code == 503
            (shown,) = (await gateway.client.get("/admin/models")).json()["models"][0]["versions"]
            assert shown["state"] == "failed"
            assert "is brought there again" in shown["detail"]
            assert await gateway.metric("errors_total", model=model, kind="away") == 3
            assert await gateway.metric("version_ready", model=model, version="1") == 0
        finally:
            torchserve.start()

        await eventually(lambda: ready(gateway))
        assert await answers(gateway, model, "1") == before
        assert [v.version for v in await server.versions(model)] == ["1"]
        home = gateway.home
    failed = [p for p in predictions(home) if p.error]
    assert [(p.version, p.score) for p in failed] == [("1", None)] * 3


async def test_a_server_that_hangs_is_waited_for_once_and_not_by_everybody(
    begin: Begin, torchserve: RunningTorchServe, model: str
) -> None:
    async with begin(torchserve_timeout_s=1.0) as gateway:
        torchserve.freeze()
        started_at = time.monotonic()
        together = await asyncio.gather(*(gateway.infer(model=model) for _ in range(8)))
        assert {refused.status_code for refused in together} == {503}
        assert time.monotonic() - started_at < 5
        started_at = time.monotonic()
        assert (await gateway.infer(model=model)).status_code == 503
        assert time.monotonic() - started_at < 0.9
        torchserve.thaw()

        async def answered() -> bool:
            return (await gateway.infer(model=model)).status_code == 200

        await eventually(answered)


async def test_a_model_that_raises_there_is_the_versions_failure(begin: Begin, model: str) -> None:
    async with begin() as gateway:
        failed = await gateway.infer(model=model, wind=[2000.0])
        assert failed.status_code == 500
        assert "index out of range" in failed.json()["error"]
        # The server is none the worse for it.
        assert (await gateway.client.get("/v2/health/ready")).status_code == 200
        assert await gateway.ask("anybody", model=model) == "1"
        home = gateway.home
    assert [bool(p.error) for p in predictions(home)] == [True, False]


async def test_workers_are_those_of_torchserve(begin: Begin, server: TorchServe, model: str) -> None:
    async with begin() as gateway:
        change = {"workers": 2, "expected_workers": 1, "key": "more"}
        for _ in range(2):
            assert (await gateway.client.put(f"/admin/scale/{model}", json=change)).json()["workers"] == 2
        assert [v.ready for v in await server.versions(model)] == [2]


async def test_workers_can_be_changed_when_it_has_just_been_started_anew(
    begin: Begin, torchserve: RunningTorchServe, server: TorchServe, model: str
) -> None:
    change = {"workers": 2, "expected_workers": 1, "key": "more"}
    async with begin() as gateway:
        torchserve.stop()
        torchserve.start()
        first = await gateway.client.put(f"/admin/scale/{model}", json=change)
        assert first.status_code == 503, "it knows no version yet, which passes"

        async def scaled() -> bool:
            return (await gateway.client.put(f"/admin/scale/{model}", json=change)).status_code == 200

        await eventually(scaled)
        assert [v.ready for v in await server.versions(model)] == [2]


async def test_workers_of_what_leaves_are_left_alone_and_caught_up_with_when_it_comes_back(
    begin: Begin, server: TorchServe, model: str
) -> None:
    async def workers() -> dict[str, int]:
        return {v.version: v.ready for v in await server.versions(model)}

    async with begin() as gateway:
        assert (await gateway.route({"2": 100}, generation=1, model=model)).status_code == 200
        # It may go at any time, by itself or by somebody's hand.
        change = {"workers": 2, "expected_workers": 1, "key": "more"}
        assert (await gateway.client.put(f"/admin/scale/{model}", json=change)).status_code == 200
        assert await workers() == {"1": 1, "2": 2}
        assert (await gateway.route({"1": 100}, generation=2, model=model)).status_code == 200
        assert await workers() == {"1": 2, "2": 2}


async def test_workers_that_one_version_does_not_get_no_version_keeps(
    twin_torchserve: TwinTorchServe, registry: FolderRegistry, model: str, tmp_path: Path
) -> None:
    twin_torchserve.full["2"] = 1
    async with (
        started(registry, tmp_path / "home", **{"models": (model,), **there(twin_torchserve, model)}) as gateway,
        open_torchserve(twin_torchserve.management, twin_torchserve.key_file) as server,
    ):
        assert (await gateway.route({"1": 50, "2": 50}, generation=1, model=model)).status_code == 200
        change = {"workers": 2, "expected_workers": 1, "key": "more"}
        assert (await gateway.client.put(f"/admin/scale/{model}", json=change)).status_code == 422
        assert [v.workers for v in await server.versions(model)] == [1, 1]
        assert (await gateway.client.get(f"/admin/scale/{model}")).json()["workers"] == 1
        twin_torchserve.full.clear()
        assert (await gateway.client.put(f"/admin/scale/{model}", json=change)).status_code == 200
        assert [v.workers for v in await server.versions(model)] == [2, 2]


async def test_a_restart_of_the_gateway_finds_what_is_there(
    begin: Begin, torchserve: RunningTorchServe, server: TorchServe, model: str
) -> None:
    async with begin() as gateway:
        before = await server.versions(model)
        await gateway.infer(model=model)
    # What a gateway that was killed had left behind, or one of an earlier release.
    await server.register(model, "3", stale(torchserve, gateway.home, model), workers=0)
    async with begin() as gateway:
        assert (await gateway.infer(model=model)).status_code == 200

        async def tidy() -> bool:
            return await server.versions(model) == before

        await eventually(tidy)


def stale(torchserve: RunningTorchServe, home: Path, model: str) -> str:
    """An archive of a version that no route names."""
    folder = home / "models" / model / "1"
    return write_archive(ModelFiles(model=model, version="3", folder=folder, format="pt2"), torchserve.store)


async def test_a_version_from_an_older_archive_of_ours_gives_way(
    begin: Begin, torchserve: RunningTorchServe, server: TorchServe, registry: FolderRegistry, model: str, tmp_path: Path
) -> None:
    old = ModelFiles(model=model, version="1", folder=registry.root / model / "3", format="pt2")
    await server.register(model, "1", write_archive(old, torchserve.store), workers=0)
    async with begin() as gateway:
        _, scores = await answers(gateway, model, "1")
    async with started(registry, tmp_path / "another", models=(model,)) as here:
        assert scores == pytest.approx((await answers(here, model, "1"))[1], abs=1e-5)


async def test_a_version_that_somebody_else_has_registered_is_not_touched(
    begin: Begin, torchserve: RunningTorchServe, server: TorchServe, registry: FolderRegistry, model: str
) -> None:
    files = ModelFiles(model=model, version="2", folder=registry.root / model / "2", format="pt2")
    (torchserve.store / write_archive(files, torchserve.store)).rename(torchserve.store / f"{model}.mar")
    await server.register(model, "2", f"{model}.mar", workers=0)
    async with begin() as gateway:
        refused = await gateway.route({"2": 100}, generation=1, model=model)
        assert refused.status_code == 422
        assert "is not ours" in refused.json()["error"]
        assert await gateway.ask("anybody", model=model) == "1"
    assert (f"{model}.mar", 0) in [(v.archive, v.workers) for v in await server.versions(model)]


async def test_a_handler_that_raises_is_the_versions_failure(twin_torchserve: TwinTorchServe, model: str) -> None:
    """Ours says what it failed with; TorchServe says 503 for one that does not."""
    import httpx

    from gateway.runtimes.torchserve import _failure

    body = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}
    assert _failure(httpx.Response(503, json=body)) == "Prediction failed"
    body["type"] = "ServiceUnavailableException"
    assert _failure(httpx.Response(503, json=body)) == ""
    assert _failure(httpx.Response(502, text="<html>")) == ""


async def test_tokens_that_expire_are_renewed_under_traffic(
    twin_torchserve: TwinTorchServe, registry: FolderRegistry, model: str, tmp_path: Path
) -> None:
    chosen = {
        "models": (model,),
        "runtimes": {model: "torchserve"},
        "torchserve_url": twin_torchserve.inference,
        "torchserve_management_url": twin_torchserve.management,
        "torchserve_store": twin_torchserve.store,
        "torchserve_key_file": twin_torchserve.key_file,
    }
    async with started(registry, tmp_path / "home", **chosen) as gateway:
        for _ in range(3):
            twin_torchserve.expire()
            assert (await gateway.infer(model=model)).status_code == 200


async def test_a_proxy_in_the_environment_gets_neither_rows_nor_tokens(
    twin_torchserve: TwinTorchServe, registry: FolderRegistry, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with started(registry, tmp_path / "home", **{"models": (model,), **there(twin_torchserve, model)}) as gateway:
        assert (await gateway.infer(model=model)).status_code == 200


async def test_what_a_first_route_that_failed_had_loaded_takes_nothing_from_the_next(
    twin_torchserve: TwinTorchServe, tmp_path: Path, model_root: Path, model: str
) -> None:
    """Not even when the first one's grace would have been over."""
    root = tmp_path / "registry"
    write_pickle(root / model / "9")
    (root / model / "1").symlink_to(model_root / "late" / "1")
    chosen = {**there(twin_torchserve, model), "grace_s": 0.2}
    async with (
        opened(FolderRegistry(root), tmp_path / "home", **chosen) as gateway,
        open_torchserve(twin_torchserve.management, twin_torchserve.key_file) as server,
    ):

        async def empty() -> bool:
            return await server.versions(model) == ()

        assert (await gateway.route({"1": 90, "9": 10}, generation=0, model=model, key="a")).status_code == 422
        assert (await gateway.infer(model=model)).status_code == 404
        await eventually(empty)
        together = await asyncio.gather(
            gateway.route({"1": 90, "9": 10}, generation=0, model=model, key="b"),
            gateway.route({"1": 100}, generation=0, model=model, key="c"),
        )
        assert [made.status_code for made in together] == [422, 200], "who waits for a change that fails is not lost with it"
        end = time.monotonic() + 5 * chosen["grace_s"]
        while time.monotonic() < end:
            assert (await gateway.infer(model=model)).status_code == 200
            await asyncio.sleep(0.05)
        assert [each.version for each in await server.versions(model)] == ["1"]
        assert (await gateway.client.get("/v2/health/ready")).status_code == 200


async def test_a_shadow_that_is_slower_there_is_slower_in_the_log(
    twin_torchserve: TwinTorchServe, registry: FolderRegistry, model: str, tmp_path: Path
) -> None:
    twin_torchserve.slow["4"] = 0.2
    async with started(registry, tmp_path / "home", **{"models": (model,), **there(twin_torchserve, model)}) as gateway:
        assert (await gateway.route({"1": 100}, shadow={"4": 100}, generation=1, model=model)).status_code == 200
        await gateway.infer([1.0], model=model)
        labels = {"model": model, "version": "4", "outcome": "answered"}

        async def copied() -> bool:
            return await gateway.metric("mirrored_total", **labels) == 1

        await eventually(copied)
        home = gateway.home
    (served,), (copy,) = predictions(home), shadows(home)
    assert copy.latency_us >= 200_000
    assert served.latency_us < 200_000
    assert (served.cpu_us, copy.cpu_us) == (None, None)


async def test_a_server_that_is_not_there_at_start_is_waited_for(
    twin_torchserve: TwinTorchServe, registry: FolderRegistry, model: str, tmp_path: Path
) -> None:
    twin_torchserve.stop()
    chosen = {
        "models": (model,),
        "runtimes": {model: "torchserve"},
        "torchserve_url": twin_torchserve.inference,
        "torchserve_management_url": twin_torchserve.management,
        "torchserve_store": twin_torchserve.store,
        "torchserve_key_file": twin_torchserve.key_file,
    }
    async with opened(registry, tmp_path / "home", **chosen) as gateway:
        assert (await gateway.infer(model=model)).status_code == 503
        twin_torchserve.start()
        await gateway.eventually_ready()
        assert await gateway.ask("anybody", model=model) == "1"


async def test_a_pickle_does_not_go_to_torchserve(twin_torchserve: TwinTorchServe, tmp_path: Path) -> None:
    write_pickle(tmp_path / "registry" / "late" / "1")
    chosen = {
        "runtimes": {"late": "torchserve"},
        "torchserve_url": twin_torchserve.inference,
        "torchserve_management_url": twin_torchserve.management,
        "torchserve_store": twin_torchserve.store,
        "torchserve_key_file": twin_torchserve.key_file,
        "allow_pickle": ("late",),
    }
    async with opened(FolderRegistry(tmp_path / "registry"), tmp_path / "home", **chosen) as gateway:
        refused = await gateway.route({"1": 100}, generation=0)
        assert refused.status_code == 422
        assert "never a pickle" in refused.json()["error"]
    assert list(twin_torchserve.store.iterdir()) == []


def test_a_runtime_without_its_address_is_refused_with_the_settings_name() -> None:
    with pytest.raises(ValidationError, match="torchserve_url: set it"):
        Settings(runtimes={"late": "torchserve"})


def test_runtimes_are_given_by_flag(tmp_path: Path) -> None:
    addresses = ["--torchserve-url", "http://127.0.0.1:1", "--torchserve-management-url", "http://127.0.0.1:2"]
    chosen = settings.read(["--runtime", "late=torchserve", *addresses, "--torchserve-store", str(tmp_path)])
    assert chosen.runtimes == {"late": "torchserve"}
    with pytest.raises(ValidationError, match="runtimes"):
        settings.read(["--runtime", "late=elsewhere"])
