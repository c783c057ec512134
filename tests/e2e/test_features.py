"""Features by HTTP: what there is, and what is so now; what cannot be looked up is refused with its field."""

from typing import Any

import pytest

from api.store.database import Database
from tests.e2e.running import Platform, running
from tests.twins.clock import SteppedClock


async def test_views_are_listed_with_their_versions_and_freshness(platform: Platform) -> None:
    (view,) = (await platform.viewer.get("/v1/features")).json()["items"]
    assert (view["name"], view["version"], view["current"]) == ("rides", "00000000000a", True)
    assert view["entities"] == {"city": "text"}
    assert view["features"] == {"mean": "number", "count": "integer"}
    assert view["ttl_s"] == 3600
    assert view["newest"] == view["materialized_until"] == "2026-03-02T09:00:00Z"


async def test_values_are_looked_up_for_several_entities_in_their_order(platform: Platform) -> None:
    body = {"entities": [{"city": "ulm"}, {"city": "bonn"}], "features": ["rides"]}
    answer = await platform.viewer.post("/v1/features/lookup", json=body)
    assert answer.status_code == 200
    unknown, known = answer.json()["items"]
    assert unknown == {"entity": {"city": "ulm"}, "values": {"rides:mean": None, "rides:count": None}, "as_of": {}}
    assert known["values"] == {"rides:mean": 0.5, "rides:count": 3}
    assert known["as_of"] == {"rides": "2026-03-02T09:00:00Z"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"entities": [{"city": "bonn"}], "features": ["nothing:mean"]}, "features"),
        ({"entities": [{"city": "bonn"}], "features": ["rides.mean"]}, "features"),
        ({"entities": [{"town": "bonn"}], "features": ["rides:mean"]}, "entities"),
        ({"entities": [{"city": 1.5}], "features": ["rides:mean"]}, "entities[0].city"),
        ({"entities": [], "features": ["rides:mean"]}, "entities"),
        ({"entities": [{"city": "bonn"}], "features": []}, "features"),
        ({"entities": [{"city": "bonn"}], "features": ["rides"], "more": 1}, "more"),
    ],
)
async def test_what_cannot_be_looked_up_is_refused_with_its_field(platform: Platform, body: Any, field: str) -> None:
    answer = await platform.viewer.post("/v1/features/lookup", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)


async def test_without_a_feature_store_it_says_so(database: Database) -> None:
    async with running(database, SteppedClock(), features=None) as platform:
        for answer in (
            await platform.viewer.get("/v1/features"),
            await platform.viewer.post("/v1/features/lookup", json={"entities": [{"city": "bonn"}], "features": ["rides"]}),
        ):
            assert answer.status_code == 404
            assert "OPPEN_FEATURES" in answer.json()["detail"]


async def test_only_who_may_look_may_look(platform: Platform) -> None:
    assert (await platform.anybody.get("/v1/features")).status_code == 401
