"""Routes and versions while requests go on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Start
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.running import Gateway, opened, until
from tools.errors import PermanentError
from tools.registry.port import Alias


async def versions_of(gateway: Gateway, entities: range) -> list[str]:
    return [await gateway.ask(f"customer-{n}") for n in entities]


async def test_the_champion_gets_all_traffic_at_first_start(gateway: Gateway) -> None:
    assert (await gateway.client.get("/admin/routes/late")).json() == {
        "model": "late",
        "generation": 1,
        "weights": {"1": 100},
    }


async def test_customers_stay_with_a_challenger_that_grows(gateway: Gateway) -> None:
    before = ["1"] * 60
    for generation, weight in enumerate((10, 30, 60), start=1):
        assert (await gateway.route({"1": 100 - weight, "2": weight}, generation=generation)).status_code == 200
        after = await versions_of(gateway, range(60))
        assert all(new == "2" for old, new in zip(before, after, strict=True) if old == "2")
        before = after
    assert {"1", "2"} == set(before)


async def test_rows_of_several_entities_are_each_answered_by_their_version(gateway: Gateway) -> None:
    await gateway.route({"1": 50, "2": 50}, generation=1)
    entities = [f"customer-{n}" for n in range(20)]
    alone = [await gateway.ask(entity) for entity in entities]
    answer = (await gateway.infer([float(n % 3) for n in range(20)], parameters={"entity_id": entities})).json()
    assert "model_version" not in answer
    assert answer["parameters"]["model_versions"] == alone
    scores = answer["outputs"][1]["data"]
    for n, version in enumerate(alone):
        pinned = (await gateway.infer([float(n % 3)], version=version)).json()
        assert scores[n] == pytest.approx(pinned["outputs"][1]["data"][0], rel=1e-5)


async def split(gateway: Gateway, generation: int, key: str, salt: str, weights: dict[str, int]) -> httpx.Response:
    change = {"weights": weights, "expected_generation": generation, "key": key, "salt": salt}
    return await gateway.client.put("/admin/routes/late", json=change)


HALVES = {"1": 50, "2": 50}


async def test_an_experiments_salt_says_who_goes_where_until_one_version_has_all(gateway: Gateway) -> None:
    """The same entities, dealt anew: who was with version 2 is with either."""
    assert (await split(gateway, 1, "a", "run_a/1", HALVES)).json()["salt"] == "run_a/1"
    first = await versions_of(gateway, range(60))
    assert first == await versions_of(gateway, range(60))
    # Whoever changes the weights and says nothing of it leaves entities where they are.
    made = (await gateway.route({"1": 49, "2": 51}, generation=2, key="later")).json()
    assert made["salt"] == "run_a/1"
    assert (await gateway.route({"1": 49, "2": 51}, generation=2, key="later")).json() == made, "a repetition is told the same"
    moved = await versions_of(gateway, range(60))
    assert sum(old != new for old, new in zip(first, moved, strict=True)) <= 4
    assert (await split(gateway, 1, "a", "run_a/1", HALVES)).json()["generation"] == 2
    assert (await split(gateway, 1, "a", "run_b/1", HALVES)).status_code == 409
    await split(gateway, 3, "b", "run_b/1", HALVES)
    second = await versions_of(gateway, range(60))
    assert 15 < sum(old == new for old, new in zip(first, second, strict=True)) < 45
    assert (await gateway.route({"1": 100}, generation=4)).json().get("salt") is None
    refused = await split(gateway, 5, "c", "x" * 65, HALVES)
    assert (refused.status_code, "64 bytes" in refused.json()["error"]) == (400, True)


async def test_a_restart_keeps_who_is_in_which_arm(start: Start) -> None:
    async with start() as gateway:
        made = (await split(gateway, 1, "a", "run_a/1", HALVES)).json()
        before = await versions_of(gateway, range(40))
    async with start() as gateway:
        assert (await gateway.client.get("/admin/routes/late")).json() == made
        assert await versions_of(gateway, range(40)) == before


async def test_a_restart_keeps_routes_workers_and_keys(start: Start) -> None:
    async with start() as gateway:
        made = (await gateway.route({"1": 70, "2": 30}, generation=1, key="canary")).json()
        await gateway.client.put("/admin/scale/late", json={"workers": 3, "expected_workers": 1, "key": "more"})
        before = await versions_of(gateway, range(30))
    async with start() as gateway:
        assert (await gateway.client.get("/admin/routes/late")).json() == made
        assert (await gateway.client.get("/admin/scale/late")).json()["workers"] == 3
        assert await versions_of(gateway, range(30)) == before
        assert (await gateway.route({"1": 70, "2": 30}, generation=1, key="canary")).json() == made
        again = await gateway.client.put("/admin/scale/late", json={"workers": 2, "expected_workers": 3, "key": "more"})
        assert again.status_code == 409


async def test_after_a_restart_one_broken_version_does_not_take_the_others_down(start: Start) -> None:
    async with start() as gateway:
        await gateway.route({"1": 50, "2": 50}, generation=1)
        home = gateway.home
    (home / "models" / "late" / "1" / "serving.json").write_text("{}")
    (home / "registry").mkdir()
    (home / "registry" / "late").symlink_to(home / "models" / "late")
    async with opened(FolderRegistry(home / "registry"), home) as gateway:

        async def loaded() -> bool:
            return [v["state"] for v in (await state(gateway))["versions"]] == ["failed", "ready"]

        await until(loaded)
        assert (await gateway.client.get("/v2/health/ready")).status_code == 503
        assert (await gateway.infer(version="2")).status_code == 200
        await gateway.route({"2": 100}, generation=2)
        assert (await gateway.client.get("/v2/health/ready")).status_code == 200


async def test_a_route_is_switched_under_load_without_a_failed_request(gateway: Gateway) -> None:
    done = asyncio.Event()
    seen: list[tuple[int, str]] = []

    async def customer(name: str) -> None:
        while not done.is_set():
            response = await gateway.infer(parameters={"entity_id": name})
            seen.append((response.status_code, response.json().get("model_version", "")))

    async with asyncio.TaskGroup() as group:
        for n in range(8):
            group.create_task(customer(f"customer-{n}"))
        for generation, target in enumerate(("2", "3", "1", "4"), start=1):
            assert (await gateway.route({target: 100}, generation=generation)).status_code == 200
            assert await gateway.ask("customer-0") == target
        done.set()
    assert {status for status, _ in seen} == {200}
    assert len(seen) > 50


async def test_a_version_without_traffic_leaves_after_its_grace(start: Start) -> None:
    async with start(grace_s=0.05) as gateway:
        await gateway.route({"2": 100}, generation=1)

        async def gone() -> bool:
            return [v["version"] for v in (await state(gateway))["versions"]] == ["2"]

        await until(gone)
        assert (await gateway.infer(version="1")).status_code == 404


async def test_a_rollback_within_the_grace_loads_nothing(gateway: Gateway, registry: FolderRegistry) -> None:
    await gateway.route({"2": 100}, generation=1)
    registry.fetched.clear()
    await gateway.route({"1": 100}, generation=2)
    assert registry.fetched == []
    assert await gateway.ask("anybody") == "1"


async def test_a_version_that_is_needed_again_before_it_left_stays(start: Start) -> None:
    async with start(grace_s=0.05) as gateway:
        await gateway.route({"2": 100}, generation=1)
        await gateway.route({"1": 100}, generation=2)

        async def settled() -> bool:
            return len((await state(gateway))["versions"]) == 1

        # Version 2 leaves later than version 1 would have.
        await until(settled)
        assert (await gateway.infer()).json()["model_version"] == "1"


async def test_two_changes_at_once_are_one_change_and_one_conflict(gateway: Gateway) -> None:
    first, second = await asyncio.gather(
        gateway.route({"2": 100}, generation=1, key="a"), gateway.route({"3": 100}, generation=1, key="b")
    )
    assert sorted((first.status_code, second.status_code)) == [200, 409]


async def test_the_same_key_twice_at_once_is_one_change(gateway: Gateway) -> None:
    first, second = await asyncio.gather(
        gateway.route({"2": 100}, generation=1, key="a"), gateway.route({"2": 100}, generation=1, key="a")
    )
    assert first.json() == second.json() == {"model": "late", "generation": 2, "weights": {"2": 100}}


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"1": 100}},
        {"weights": {"1": 100}, "expected_generation": 1, "key": "a", "force": True},
        {"weights": {"../1": 100}, "expected_generation": 1, "key": "a"},
        {"weights": {"1": 50}, "expected_generation": 1, "key": "a"},
    ],
)
async def test_a_change_that_is_not_understood_changes_nothing(gateway: Gateway, change: dict[str, object]) -> None:
    assert (await gateway.client.put("/admin/routes/late", json=change)).status_code == 400
    assert (await gateway.client.get("/admin/routes/late")).json()["generation"] == 1


async def test_a_model_name_cannot_leave_its_folder(gateway: Gateway) -> None:
    change = {"weights": {"1": 100}, "expected_generation": 0, "key": "a"}
    for name in ("..%2F..%2Fetc", "%2e%2e", "a%2Fb", "a%00"):
        response = await gateway.client.put(f"/admin/routes/{name}", content=json.dumps(change))
        assert response.status_code == 400
    assert [path.name for path in (gateway.home / "routes").iterdir()] == ["late.json"]


async def test_an_unknown_version_is_refused_and_a_new_model_forgotten(gateway: Gateway) -> None:
    refused = await gateway.route({"77": 100}, generation=0, model="ghost")
    assert refused.status_code == 422
    assert (await gateway.client.get("/v2/models/ghost")).status_code == 404
    assert (await gateway.client.get("/v2/health/ready")).status_code == 200


async def test_a_registry_that_is_down_at_start_is_waited_for(model_root: Path, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "later")
    async with opened(registry, tmp_path / "home", models=("late",)) as gateway:
        assert (await gateway.client.get("/v2/health/live")).status_code == 200
        assert (await gateway.client.get("/v2/health/ready")).status_code == 503
        refused = await gateway.infer()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        unavailable = await gateway.route({"1": 100}, generation=0)
        assert unavailable.status_code == 503
        registry.root.symlink_to(model_root)
        await gateway.eventually_ready()
        assert await gateway.ask("anybody") == "1"


class Refusing(FolderRegistry):
    """A registry that does not let us in at first."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.refusals = [PermanentError("403: not yours"), PermanentError("403: not yours"), OSError("disk quota exceeded")]

    async def alias(self, model: str, alias: Alias) -> str | None:
        if self.refusals:
            raise self.refusals.pop()
        return await super().alias(model, alias)


async def test_a_registry_that_refuses_at_start_is_asked_again(start: Start, model_root: Path) -> None:
    async with start(registry=Refusing(model_root)) as gateway:
        assert await gateway.ask("anybody") == "1"


async def test_the_state_shows_versions_capacity_and_failures(gateway: Gateway) -> None:
    await gateway.route({"99": 100}, generation=1)
    await gateway.infer()
    shown = await state(gateway)
    assert shown["ready"] is True
    assert [(v["version"], v["state"]) for v in shown["versions"]] == [("1", "ready"), ("99", "failed")]
    assert "no version 99" in shown["versions"][1]["detail"]
    assert shown["capacity"]["workers"] == 1
    assert 0.0 < shown["capacity"]["utilisation"] < 0.1


async def state(gateway: Gateway, model: str = "late") -> dict[str, Any]:
    models = (await gateway.client.get("/admin/models")).json()["models"]
    return next(shown for shown in models if shown["name"] == model)
