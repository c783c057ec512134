"""A shadow gets copies of the requests, answers nobody, and is not felt."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Start
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import SPEC, write_pt2
from tests.gateway.running import Gateway, opened, predictions, shadows, until
from tools.registry.serving_spec import NumericFeature


async def mirrored(gateway: Gateway, outcome: str, version: str = "2") -> int:
    return int(await gateway.metric("mirrored_total", model="late", version=version, outcome=outcome))


async def seen(gateway: Gateway, rows: int, version: str = "2") -> None:
    """Once so many rows have come to an end."""

    async def all_of_them() -> bool:
        return sum([await mirrored(gateway, outcome, version) for outcome in ("answered", "failed", "dropped")]) == rows

    await until(all_of_them)


async def test_every_request_is_copied_and_nobody_sees_the_shadows_answers(start: Start) -> None:
    async with start() as gateway:
        made = await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        assert made.json() == {"model": "late", "generation": 2, "weights": {"1": 100}, "shadow": {"2": 100}}
        answers = await asyncio.gather(*(gateway.infer([n - 10.0, 1.0]) for n in range(20)))
        await seen(gateway, 40)
        assert {answer.json()["model_version"] for answer in answers} == {"1"}
        assert await mirrored(gateway, "answered") == 40
        for name in ("predictions_total", "request_duration_seconds_count", "batch_rows_count"):
            assert await gateway.metric(name, model="late", version="2") == 0
        assert await gateway.metric("shadow_percent", model="late", version="2") == 100
        home = gateway.home
    served = {each.id: each for each in predictions(home)}
    copies = shadows(home)
    assert {each.version for each in served.values()} == {"1"}
    assert {each.id for each in copies} == served.keys()
    for copy in copies:
        own = served[copy.id]
        assert (copy.version, copy.at, copy.error) == ("2", own.at, None)
        # Twice the slope: further from a half on the same side.
        assert copy.score is not None
        assert own.score is not None
        assert abs(copy.score - 0.5) >= abs(own.score - 0.5) - 1e-3
        assert 0 < copy.latency_us < 10_000_000
        assert copy.cpu_us is not None
        assert own.cpu_us is not None


async def test_the_rows_of_a_batch_are_copied_in_their_order(start: Start) -> None:
    async with start() as gateway:
        await gateway.route({"1": 100}, shadow={"3": 100}, generation=1)
        answer = (await gateway.infer([-2.0, 0.5, 3.0], parameters={"entity_id": ["a", "b", "c"]})).json()
        await seen(gateway, 3, "3")
        pinned = (await gateway.infer([-2.0, 0.5, 3.0], version="3")).json()
        home = gateway.home
    copies = {each.id: each.score for each in shadows(home)}
    assert [copies[each] for each in answer["parameters"]["prediction_ids"]] == pytest.approx(pinned["outputs"][1]["data"])


async def test_what_names_its_version_is_not_copied(start: Start) -> None:
    async with start() as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        await gateway.infer([1.0], version="1")
        await gateway.infer([1.0], version="2")
        await gateway.infer([1.0])
        await seen(gateway, 1)
        home = gateway.home
    assert len(shadows(home)) == 1


async def test_a_share_of_the_requests_is_copied(start: Start) -> None:
    async with start() as gateway:
        await gateway.route({"1": 100}, shadow={"2": 30}, generation=1)
        for _ in range(10):
            await asyncio.gather(*(gateway.infer([1.0]) for _ in range(30)))
        home = gateway.home
    # 90 of 300: nine standard deviations are on either side.
    assert 20 < len(shadows(home)) < 160


async def test_what_the_shadow_cannot_answer_is_its_failure_and_nobodys_else(start: Start) -> None:
    async with start() as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        broken = await gateway.infer([1.0], wind=[5000.0])
        # Copies that wait together are one batch, and would fail together.
        await seen(gateway, 1)
        fine = await gateway.infer([1.0])
        await seen(gateway, 2)
        assert (broken.status_code, fine.status_code) == (500, 200)
        assert await mirrored(gateway, "failed") == 1
        home = gateway.home
    failed, answered = sorted(shadows(home), key=lambda each: each.error is None)
    assert failed.error is not None
    assert "index out of range" in failed.error
    assert (failed.score, failed.prediction) == (None, None)
    assert answered.error is None


async def test_a_shadow_with_other_features_fails_where_it_would_have_refused(tmp_path: Path, start: Start) -> None:
    for version in ("1", "2"):
        write_pt2(tmp_path / "registry" / "late" / version)
    spec = SPEC.model_copy(update={"features": (SPEC.features[0], NumericFeature(name="snow"), SPEC.features[2])})
    (tmp_path / "registry" / "late" / "2" / "serving.json").write_text(spec.model_dump_json())
    (tmp_path / "registry" / "late" / "champion").write_text("1")
    async with start(FolderRegistry(tmp_path / "registry")) as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        assert (await gateway.infer([1.0])).status_code == 200
        await seen(gateway, 1)
        home = gateway.home
    (only,) = shadows(home)
    assert only.error is not None
    assert "the model has no such feature" in only.error


async def test_a_shadow_that_hangs_drops_copies_and_no_request_waits(start: Start) -> None:
    async with start(mirror_rows=8) as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        model = gateway.app._fleet.model("late")
        assert model.mirror is not None
        go_on, version = threading.Event(), model.mirror.version
        engine = version.engine

        def hanging(*tensors: Any) -> Any:
            go_on.wait(20)
            return engine(*tensors)

        version._placed = replace(version._placed, engine=hanging)  # type: ignore[type-var]
        try:
            answers = [await gateway.infer([1.0]) for _ in range(40)]
            assert {answer.status_code for answer in answers} == {200}
            assert await gateway.metric("mirror_rows", model="late", version="2") == 8
            assert await mirrored(gateway, "dropped") == 32
        finally:
            go_on.set()
        await seen(gateway, 40)
        assert await mirrored(gateway, "answered") == 8
        home = gateway.home
    assert (len(predictions(home)), len(shadows(home))) == (40, 8)


async def test_a_shadow_holds_no_more_bytes_than_it_may_however_few_rows_they_are(start: Start) -> None:
    async with start(mirror_bytes=10_000) as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        model = gateway.app._fleet.model("late")
        assert model.mirror is not None
        go_on, version = threading.Event(), model.mirror.version
        engine = version.engine

        def hanging(*tensors: Any) -> Any:
            go_on.wait(20)
            return engine(*tensors)

        version._placed = replace(version._placed, engine=hanging)  # type: ignore[type-var]
        try:
            answers = [await gateway.infer([1.0], carrier=["x" * 4000]) for _ in range(10)]
            assert {answer.status_code for answer in answers} == {200}
            assert await mirrored(gateway, "dropped") == 8
        finally:
            go_on.set()
        await seen(gateway, 10)
        # What has been computed has made room.
        await gateway.infer([1.0], carrier=["x" * 4000])
        await seen(gateway, 11)
        assert await mirrored(gateway, "answered") == 3


async def test_a_full_log_of_shadows_refuses_no_request(start: Start) -> None:
    async with start(backlog_bytes=1024, segment_bytes=1024, segment_age_s=0.01) as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        model = gateway.app._fleet.model("late")
        assert model.mirror is not None
        model.mirror._mirrors.log._backlog_full = True
        assert (await gateway.infer([1.0])).status_code == 200
        await seen(gateway, 1)
        assert await mirrored(gateway, "dropped") == 1


async def test_any_later_route_without_it_ends_the_copies(start: Start) -> None:
    async with start() as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1)
        await gateway.infer([1.0])
        await seen(gateway, 1)
        made = await gateway.route({"1": 90, "2": 10}, generation=2)
        assert made.json() == {"model": "late", "generation": 3, "weights": {"1": 90, "2": 10}}
        await asyncio.gather(*(gateway.infer([1.0]) for _ in range(20)))
        assert await gateway.metric("shadow_percent", model="late", version="2") == 0
        home = gateway.home
    assert len(shadows(home)) == 1
    assert {each.version for each in predictions(home)[1:]} <= {"1", "2"}


async def test_a_restart_goes_on_copying_and_serves_without_a_shadow_that_cannot_be_had(start: Start) -> None:
    async with start() as gateway:
        made = (await gateway.route({"1": 100}, shadow={"2": 50}, generation=1, key="shadow")).json()
        home, registry = gateway.home, gateway.app._fleet._loader.registry
    async with start() as gateway:
        assert (await gateway.client.get("/admin/routes/late")).json() == made
        assert (await gateway.route({"1": 100}, shadow={"2": 50}, generation=1, key="shadow")).json() == made
        assert (await gateway.route({"1": 100}, generation=1, key="shadow")).status_code == 409
    (home / "models" / "late" / "2" / "serving.json").write_text("{}")
    async with opened(registry, home, models=("late",)) as gateway:
        await gateway.eventually_ready()
        assert (await gateway.infer([1.0])).status_code == 200


@pytest.mark.parametrize(
    ("weights", "shadow", "named"),
    [
        ({"1": 90, "2": 10}, {"2": 100}, "shadow.2"),
        ({"1": 100}, {"2": 0}, "shadow.2"),
        ({"1": 100}, {"2": 101}, "shadow.2"),
        ({"1": 100}, {"2": 50, "3": 50}, "shadow"),
        ({"1": 100}, {"../2": 50}, "../2"),
    ],
)
async def test_what_is_no_shadow_is_refused(
    gateway: Gateway, weights: dict[str, int], shadow: dict[str, int], named: str
) -> None:
    refused = await gateway.route(weights, shadow=shadow, generation=1)
    assert refused.status_code == 400
    assert named in refused.json()["error"]
    assert (await gateway.client.get("/admin/routes/late")).json()["generation"] == 1


async def test_a_shadow_that_cannot_be_loaded_leaves_the_route_as_it_was(gateway: Gateway) -> None:
    refused = await gateway.route({"1": 100}, shadow={"77": 100}, generation=1)
    assert refused.status_code == 422
    assert (await gateway.infer([1.0])).status_code == 200


async def test_what_an_answer_was_worth_is_taken_with_its_label_or_without(start: Start) -> None:
    async with start() as gateway:
        (first,) = (await gateway.infer([1.0])).json()["parameters"]["prediction_ids"]
        given = [{"id": first, "label": "late", "metrics": {"revenue": 12.5}}, {"id": first, "metrics": {"clicks": 0}}]
        accepted = await gateway.client.post("/v2/models/late/feedback", json={"labels": given})
        assert accepted.json() == {"accepted": 2}
        assert await gateway.metric("labels_total", model="late") == 1
        for wrong, named in (
            ({"id": first}, "labels[0]"),
            ({"id": first, "metrics": {"": 1.0}}, "labels[0].metrics"),
            ({"id": first, "metrics": {"revenue": 1e300}}, "labels[0].metrics.revenue"),
        ):
            refused = await gateway.client.post("/v2/models/late/feedback", json={"labels": [wrong]})
            assert refused.status_code == 400
            assert named in refused.json()["error"]
        home = gateway.home
    lines = [json.loads(line) for path in (home / "segments").glob("labels-*.ndjson") for line in path.read_text().splitlines()]
    assert sorted((line["kind"], line.get("name"), line.get("value"), line.get("label")) for line in lines) == [
        ("label", None, None, "late"),
        ("value", "clicks", 0.0, None),
        ("value", "revenue", 12.5, None),
    ]
