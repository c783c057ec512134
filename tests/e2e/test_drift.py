"""Drift and quality over HTTP: what moved, why, and how right the model is."""

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from api.problems import Overloaded
from simulations.drift_worlds import World
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform
from tools.errors import TemporaryError
from tools.registry.port import Alias
from tools.tables import stored
from tools.values import Window

_DAY = timedelta(days=1)


@pytest.fixture
def windows(platform: Platform) -> tuple[Window, Window]:
    """Reference and current, as policy has them."""
    now = platform.clock.now()
    return Window(start=now - 29 * _DAY, end=now - _DAY), Window(start=now - _DAY, end=now)


def filled(platform: Platform, windows: tuple[Window, Window], cause: str) -> World:
    world = World(3, cause)
    reference, current = windows
    platform.predictions.add(world.draw(reference, 3_000, 0.8, hit=False))
    platform.predictions.add(world.draw(current, 1_500, 0.5, hit=True))
    return world


async def test_drift_is_named_with_its_features_and_its_cause(platform: Platform, windows: tuple[Window, Window]) -> None:
    world = filled(platform, windows, "covariate_drift")
    answer = (await platform.viewer.get("/v1/drift", params={"model": "model"})).json()
    assert (answer["rows_reference"], answer["rows_current"]) == (3_000, 1_500)
    finding = answer["finding"]
    assert finding["cause"] == "covariate_drift"
    moved = [each["name"] for each in finding["features"]["features"] if each["drifted"]]
    assert moved
    assert all(f"'{name}'" in world.detail for name in moved)
    first = finding["features"]["features"][0]
    assert {"name", "type", "method", "score", "p_value", "drifted", "n_reference", "n_current"} <= first.keys()
    assert {each["name"] for each in finding["answers"]["features"]} == {"prediction", "score", "label"}


async def test_the_windows_may_be_given(platform: Platform, windows: tuple[Window, Window]) -> None:
    filled(platform, windows, "covariate_drift")
    reference, _ = windows
    middle = reference.start + reference.length / 2
    query = {"model": "model", "version": "1", "start": middle.isoformat(), "end": reference.end.isoformat()}
    answer = (await platform.viewer.get("/v1/drift", params=query)).json()
    assert answer["finding"]["cause"] == "none"
    assert answer["rows_reference"] + answer["rows_current"] == 3_000
    assert answer["version"] == "1"
    query["version"] = "7"
    nothing = (await platform.viewer.get("/v1/drift", params=query)).json()
    assert (nothing["rows_current"], nothing["finding"]["cause"]) == (0, "undetermined")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({}, "model"),
        ({"model": "model", "start": "yesterday"}, "start"),
        ({"model": "model", "start": "2026-03-01T00:00:00"}, "start"),
        ({"model": "model", "start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}, "start"),
        ({"model": "model", "reference_end": "0001-01-01T00:00:00Z"}, "reference_end"),
        (
            {"model": "model", "reference_start": "2026-02-02T00:00:00Z", "reference_end": "2026-02-01T00:00:00Z"},
            "reference_start",
        ),
    ],
)
async def test_a_query_that_makes_no_windows_is_refused_by_its_field(
    platform: Platform, windows: tuple[Window, Window], query: dict[str, str], named: str
) -> None:
    filled(platform, windows, "none")
    assert fields(refused(await platform.viewer.get("/v1/drift", params=query), 422, "invalid")) == [named]


async def test_a_model_that_never_predicted_is_not_found(platform: Platform) -> None:
    for name in ("nobody", "a\0b"):
        refused(await platform.viewer.get("/v1/drift", params={"model": name}), 404, "not-found")
    refused(await platform.viewer.get("/v1/models/nobody/quality"), 404, "not-found")


async def test_a_store_that_is_down_is_said(platform: Platform, windows: tuple[Window, Window]) -> None:
    filled(platform, windows, "none")
    platform.predictions.go_down()
    with pytest.raises(TemporaryError):
        await platform.predictions.ping()
    refused(await platform.viewer.get("/v1/drift", params={"model": "model"}), 503, "unavailable")


async def test_quality_is_accuracy_with_its_coverage_and_an_estimate_that_is_called_one(
    platform: Platform, windows: tuple[Window, Window]
) -> None:
    filled(platform, windows, "none")
    answer = (await platform.viewer.get("/v1/models/model/quality")).json()
    (version,) = answer["versions"]
    performance: dict[str, Any] = version["performance"]
    assert (version["version"], version["count"], version["errors"]) == ("1", 1_500, 0)
    assert (performance["answered"], performance["labelled"]) == (1_500, version["labelled"])
    assert 650 < version["labelled"] < 850
    low, high = performance["interval"]
    assert low < performance["accuracy"] < high
    assert performance["estimate"] == pytest.approx(performance["accuracy"], abs=0.05)


async def test_quality_names_what_is_wrong_with_inputs(platform: Platform, windows: tuple[Window, Window]) -> None:
    world = filled(platform, windows, "data_quality")
    answer = (await platform.viewer.get("/v1/models/model/quality")).json()
    broken = [each["name"] for each in answer["features"] if each["faults"]]
    assert len(broken) == 1
    assert world.detail.startswith(broken[0])


async def test_traffic_is_held_against_what_the_champion_was_trained_on(
    platform: Platform, windows: tuple[Window, Window]
) -> None:
    filled(platform, windows, "covariate_drift")
    query = {"model": "model", "against": "training"}
    refused(await platform.viewer.get("/v1/drift", params=query), 404, "not-found")
    learnt = await platform.predictions.distributions("model", windows[0])
    platform.registry.publish("model", files={stored.FILE: stored.written(learnt).encode()})
    platform.registry.publish("model")
    await platform.registry.set_alias("model", Alias.CHAMPION, "1", expected=None, key="k", actor="ada", reason="release")
    answer = (await platform.viewer.get("/v1/drift", params=query)).json()
    assert (answer["version"], answer["rows_reference"], answer["finding"]["cause"]) == ("1", 3_000, "covariate_drift")
    refused(await platform.viewer.get("/v1/drift", params=query | {"version": "2"}), 404, "not-found")
    refused(await platform.viewer.get("/v1/drift", params=query | {"version": "9"}), 404, "not-found")


async def test_quarantined_data_is_compared_with_by_nobody_until_it_is_released(
    platform: Platform, windows: tuple[Window, Window]
) -> None:
    filled(platform, windows, "none")
    reference, current = windows
    half = Window(start=reference.start, end=reference.start + reference.length / 2)
    placed = await platform.services.quarantines.place(
        "model", half, (), expected=(), key="run/1", actor="ann", reason="the sensor hung"
    )
    answer = (await platform.viewer.get("/v1/drift", params={"model": "model"})).json()
    assert 1_200 < answer["rows_reference"] < 1_800
    assert [each["window"]["start"] for each in answer["left_out"]] == [half.start.isoformat().replace("+00:00", "Z")]
    listed = (await platform.viewer.get("/v1/quarantines", params={"model": "model", "in_force": True})).json()["items"]
    assert [(each["id"], each["placed_by"], each["released_at"]) for each in listed] == [(placed.id, "ann", None)]
    path = f"/v1/quarantines/{placed.id}"
    assert (await platform.viewer.get(path)).json() == listed[0]
    body = {"reason": "it was right after all"}
    refused(await platform.operator.post(f"{path}/release", json=body), 403, "forbidden")
    for _ in range(2):
        released = (await platform.approver.post(f"{path}/release", json=body)).json()
        assert (released["released_by"], released["release_reason"]) == ("some-approver", "it was right after all")
    again = (await platform.viewer.get("/v1/drift", params={"model": "model"})).json()
    assert (again["rows_reference"], again["left_out"]) == (3_000, [])
    assert (await platform.viewer.get("/v1/quarantines", params={"in_force": True})).json()["items"] == []
    assert current.length == _DAY


async def test_what_was_released_by_its_undo_is_not_released_again(platform: Platform, windows: tuple[Window, Window]) -> None:
    on = platform.services.quarantines
    placed = await on.place("model", windows[0], (), expected=(), key="run/1", actor="ann", reason="the sensor hung")
    await on.release(placed.id, key="run/2", actor="ann", reason="it did not help")
    path = f"/v1/quarantines/{placed.id}"
    refused(await platform.approver.post(f"{path}/release", json={"reason": "so say I"}), 409, "conflict")
    for nothing in ("qua_1", f"qua_{'0' * 32}"):
        refused(await platform.viewer.get(f"/v1/quarantines/{nothing}"), 404, "not-found")
        refused(await platform.approver.post(f"/v1/quarantines/{nothing}/release", json={"reason": "x"}), 404, "not-found")


@pytest.mark.parametrize("method", ["psi", "ks"])
async def test_a_method_may_be_asked_for(platform: Platform, windows: tuple[Window, Window], method: str) -> None:
    filled(platform, windows, "covariate_drift")
    answer = (await platform.viewer.get("/v1/drift", params={"model": "model", "method": method})).json()
    methods = {each["type"]: each["method"] for each in answer["finding"]["features"]["features"]}
    assert methods["numeric"] == method
    assert answer["finding"]["cause"] == "covariate_drift"
    refused(await platform.viewer.get("/v1/drift", params={"model": "model", "method": "euclid"}), 422, "invalid")


async def test_too_many_questions_at_once_are_put_off(platform: Platform, windows: tuple[Window, Window]) -> None:
    filled(platform, windows, "none")
    gate = platform.app.state.local.questions
    with ExitStack() as taken:
        while True:
            try:
                taken.enter_context(gate)
            except Overloaded:
                break
        for path in ("/v1/drift?model=model", "/v1/models/model/quality"):
            problem = await platform.viewer.get(path)
            refused(problem, 503, "overloaded")
            assert problem.headers["Retry-After"] == "2"
    for _ in range(6):
        assert (await platform.viewer.get("/v1/drift?model=model")).status_code == 200


@pytest.mark.parametrize("field", ["start", "reference_start"])
async def test_a_window_of_years_is_refused(platform: Platform, windows: tuple[Window, Window], field: str) -> None:
    filled(platform, windows, "none")
    query = {"model": "model", field: (platform.clock.now() - 500 * _DAY).isoformat()}
    if field == "start":
        query["reference_start"] = (platform.clock.now() - 501 * _DAY).isoformat()
    assert fields(refused(await platform.viewer.get("/v1/drift", params=query), 422, "invalid")) == [field]


async def test_a_report_says_what_it_is_a_sample_of_and_may_run_its_scripts_nowhere_else(
    platform: Platform, windows: tuple[Window, Window]
) -> None:
    filled(platform, windows, "none")
    answer = await platform.viewer.get("/v1/drift/report", params={"model": "model"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "all 3,000 rows" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    refused(await platform.viewer.get("/v1/drift/report", params={"model": "nobody"}), 404, "not-found")
    nothing = {"model": "model", "version": "7"}
    refused(await platform.viewer.get("/v1/drift/report", params=nothing), 404, "not-found")
    refused(await platform.anybody.get("/v1/drift/report", params={"model": "model"}), 401, "unauthenticated")
