"""Laws over anything that can be sent: no body brings the service down, and what is refused leaves nothing behind."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import func, select

from api.store.database import Database
from api.store.records import AlertRecord, AuditRecord, EventRecord, IncidentRecord, RunRecord
from api.web.auth import Role
from tests.e2e.bodies import signed
from tests.e2e.running import SENDERS, TOKEN, Platform, give_key, listening, running, services_on
from tests.twins.clock import SteppedClock
from tests.twins.registry import TwinRegistry
from tests.work.cases import asked

_TABLES = (AlertRecord, IncidentRecord, RunRecord, EventRecord, AuditRecord)
_QUIET = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

_SHORT = settings(_QUIET, max_examples=15, phases=[Phase.explicit, Phase.generate])
_CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)
_moment = st.sampled_from(["2026-03-02T08:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00"]) | _json
_texts = st.dictionaries(st.text(max_size=8), st.text(max_size=20) | _json, max_size=4) | _json
_status = st.sampled_from(["firing", "resolved"]) | _json


def _objects(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Almost right: any of the fields may be missing, or be anything."""
    return st.fixed_dictionaries({}, optional=values)


_alert = _objects(
    status=_status,
    labels=_texts,
    annotations=_texts,
    startsAt=_moment,
    endsAt=_moment,
    fingerprint=st.text(max_size=200) | _json,
    generatorURL=st.text(max_size=20) | _json,
)
_group = _objects(version=st.sampled_from(["4", "1", 4]), alerts=st.lists(_alert | _json, max_size=3), truncatedAlerts=_json)
_generic = _objects(
    name=st.text(max_size=20) | _json,
    status=_status,
    starts_at=_moment,
    ends_at=_moment,
    labels=_texts,
    annotations=_texts,
    severity=_json,
    model=_json,
    fingerprint=_json,
)
_event = _objects(
    specversion=st.just("1.0") | _json,
    id=st.text(min_size=1) | _json,
    source=st.text(min_size=1) | _json,
    type=st.text(min_size=1) | _json,
    time=_moment,
    data=_generic | _json,
    data_base64=_json,
)
_deliveries = st.one_of(
    st.tuples(st.sampled_from(["alertmanager", "grafana"]), _group | _json),
    st.tuples(st.just("cloudevents"), _event | st.lists(_event, max_size=2) | _json),
    st.tuples(st.just("generic"), _generic | _objects(alerts=st.lists(_generic, max_size=2)) | _json),
)


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def platform(sqlite_database_url: str, loop: asyncio.Runner) -> Iterator[Platform]:
    """For laws, whose examples are drawn in functions that are not asynchronous."""
    stack = AsyncExitStack()

    async def start() -> Platform:
        database = Database(sqlite_database_url)
        stack.push_async_callback(database.close)
        return await stack.enter_async_context(running(database, SteppedClock()))

    yield loop.run(start())
    loop.run(stack.aclose())


async def _post(platform: Platform, source: str, body: bytes) -> httpx.Response:
    sender, headers, auth = SENDERS[source], {"Content-Type": "application/json"}, None
    if sender.bearer is not None:
        headers["Authorization"] = f"Bearer {TOKEN}"
    elif sender.basic is not None:
        auth = ("grafana", "secret")
    elif sender.hmac is not None:
        headers |= signed("a shared key", body, int(platform.clock.now().timestamp()))
    else:
        headers |= signed("another shared key", body)
    return await platform.anybody.post(f"/v1/alerts/{source}", content=body, headers=headers, auth=auth)


async def _rows(platform: Platform) -> list[int]:
    async with platform.database.read() as session:
        return [await session.scalar(select(func.count()).select_from(table)) or 0 for table in _TABLES]


def test_whatever_is_delivered_is_taken_or_refused_whole(platform: Platform, loop: asyncio.Runner) -> None:
    async def deliver(source: str, body: Any) -> None:
        before = await _rows(platform)
        answer = await _post(platform, source, json.dumps(body).encode())
        assert answer.status_code in (202, 422), answer.text
        if answer.status_code != 202:
            assert await _rows(platform) == before
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["errors"]
        shown = await platform.viewer.get("/v1/alerts", params={"limit": 500})
        assert shown.status_code == 200

    @_QUIET
    @given(_deliveries)
    def law(delivery: tuple[str, Any]) -> None:
        loop.run(deliver(*delivery))

    law()
    assert loop.run(platform.viewer.get("/v1/audit/verify")).json()["ok"]


def test_whatever_bytes_are_delivered_no_5xx_comes_of_it(platform: Platform, loop: asyncio.Runner) -> None:
    @_QUIET
    @given(
        st.sampled_from(sorted(SENDERS)),
        st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-16")),
    )
    def law(source: str, body: bytes) -> None:
        assert loop.run(_post(platform, source, body)).status_code in (202, 400, 422)

    law()
    assert loop.run(_rows(platform))[0] <= 1


async def test_whatever_is_called_answers_as_the_document_says(sqlite_database_url: str) -> None:
    database, clock = Database(sqlite_database_url), SteppedClock()
    token = SENDERS["alertmanager"]
    services = replace(services_on(database, clock), senders=dict.fromkeys(SENDERS, token))
    assert isinstance(services.registry, TwinRegistry)
    services.registry.publish("flights")
    case = await asked(database, services.approvals, clock)
    known = {"incident_id": case.incident_id, "run_id": case.run_id, "approval_id": case.approval.id, "name": "flights"}
    key = await give_key(services, "tester", Role.ADMIN)
    async with listening(services) as (url, _):
        failures = await asyncio.to_thread(_explore, url, key, known)
    await database.close()
    assert failures == []


def _explore(url: str, key: str, known: dict[str, str]) -> list[str]:
    """Calls every operation, with what its schema allows and with what it does not; what was not as documented."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @_SHORT
        @given(case=operation.as_strategy(), real=st.booleans())
        def call(case: schemathesis.Case, real: bool) -> None:
            if real:
                case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
            token = TOKEN if case.operation.path.startswith("/v1/alerts/") else key
            case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {token}"}, checks=_CHECKS, timeout=10)

        try:
            call()
        except (AssertionError, ExceptionGroup) as error:
            failures.append(f"{operation.method.upper()} {operation.path}: {error}")
    return failures
