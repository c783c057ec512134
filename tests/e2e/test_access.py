"""Keys and roles: who may do what, and that a key that does not hold opens nothing."""

from datetime import timedelta

import httpx

from api.web.auth import Role
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform, give_key

READABLE = (
    *("alerts", "incidents", "approvals", "autonomy", "policies", "models", "monitors", "datasets"),
    *("actions", "audit", "audit/verify"),
)


async def test_nothing_is_shown_without_a_key(platform: Platform) -> None:
    one_of_them = (
        "incidents/x",
        "incidents/x/events",
        "runs/x",
        "approvals/x",
        "models/x",
        "models/x/history",
        "models/x/aliases",
        "models/x/quality",
        "datasets/x/quality",
        "drift",
        "incidents/x/report",
    )
    for path in (*READABLE, "keys", *one_of_them):
        answer = await platform.anybody.get(f"/v1/{path}")
        refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="oppen"'


async def test_a_viewer_may_look_at_everything_but_keys(platform: Platform) -> None:
    for path in READABLE:
        assert (await platform.viewer.get(f"/v1/{path}")).status_code == 200
    refused(await platform.approver.get("/v1/keys"), 403, "forbidden")


async def test_only_who_may_decide_decides(platform: Platform) -> None:
    body = {"decision": "approve", "fingerprint": "0" * 64}
    refused(await platform.operator.post("/v1/approvals/x/decision", json=body), 403, "forbidden")
    refused(await platform.approver.post("/v1/approvals/x/decision", json=body), 404, "not-found")


async def test_a_key_is_shown_once_and_opens_until_it_is_revoked(platform: Platform) -> None:
    made = (await platform.admin.post("/v1/keys", json={"name": "ada", "role": "viewer"})).json()
    theirs = {"Authorization": f"Bearer {made['key']}"}
    assert (await platform.anybody.get("/v1/alerts", headers=theirs)).status_code == 200
    listing = (await platform.admin.get("/v1/keys")).text
    assert made["id"] in listing
    assert made["key"].rpartition("_")[2] not in listing
    assert (await platform.admin.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await platform.admin.delete(f"/v1/keys/{made['id']}")).status_code == 204
    refused(await platform.anybody.get("/v1/alerts", headers=theirs), 401, "unauthenticated")
    lines = (await platform.viewer.get("/v1/audit", params={"subject": f"key:{made['id']}"})).json()["items"]
    assert [(line["action"], line["actor"]) for line in lines] == [
        ("key.revoked", "some-admin"),
        ("key.created", "some-admin"),
    ]


async def test_the_secret_is_nowhere_in_the_database(platform: Platform) -> None:
    key = (await platform.admin.post("/v1/keys", json={"name": "ada", "role": "viewer"})).json()["key"]
    assert key.rpartition("_")[2] not in (await platform.viewer.get("/v1/audit", params={"limit": 500})).text


async def test_a_name_is_used_once(platform: Platform) -> None:
    body = {"name": "ada", "role": "viewer"}
    assert (await platform.admin.post("/v1/keys", json=body)).status_code == 201
    refused(await platform.admin.post("/v1/keys", json=body), 409, "conflict")


async def test_a_key_ends_when_it_expires(platform: Platform) -> None:
    key = await give_key(platform.services, "guest", Role.VIEWER, lasts=timedelta(hours=1))
    theirs = {"Authorization": f"Bearer {key}"}
    assert (await platform.anybody.get("/v1/alerts", headers=theirs)).status_code == 200
    platform.clock.pass_(timedelta(hours=1))
    refused(await platform.anybody.get("/v1/alerts", headers=theirs), 401, "unauthenticated")


async def test_a_key_that_would_have_expired_is_not_made(platform: Platform) -> None:
    body = {"name": "late", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}
    assert fields(refused(await platform.admin.post("/v1/keys", json=body), 422, "invalid")) == ["expires_at"]


async def test_keys_that_are_almost_right_open_nothing(platform: Platform) -> None:
    key = await give_key(platform.services, "eve", Role.ADMIN)
    prefix, key_id, secret = key.split("_")
    forged = [
        f"{prefix}_{key_id}_{'0' * 64}",
        f"{prefix}_{'0' * 32}_{secret}",
        f"{prefix}_{key_id}_{secret}0",
        f"{prefix}_{key_id}_{secret[:-1]}",
        f"{prefix}_{key_id}_{secret.upper()}",
        f"other_{key_id}_{secret}",
        secret,
    ]
    for each in forged:
        refused(await platform.anybody.get("/v1/alerts", headers={"Authorization": f"Bearer {each}"}), 401, "unauthenticated")


async def test_trying_keys_is_bounded_and_locks_nobody_out_whose_key_has_held(platform: Platform) -> None:
    assert (await platform.viewer.get("/v1/alerts")).status_code == 200

    async def guess() -> httpx.Response:
        return await platform.anybody.get("/v1/alerts", headers={"Authorization": f"Bearer oppen_{'0' * 32}_{'0' * 64}"})

    answers = [await guess() for _ in range(25)]
    assert {answer.status_code for answer in answers} == {401, 429}
    refused(answers[-1], 429, "too-many-failures")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await platform.viewer.get("/v1/alerts")).status_code == 200
