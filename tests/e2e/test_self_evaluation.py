"""A training whose own evaluation lies, over HTTP: the service as it is opened, its engine and database, real jobs of this
machine and a real registry. Its gateway and its traffic are twins: neither is asked before somebody rolls something out.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from api.container import Adapters, open_services
from api.settings import Settings
from api.web.auth import Role
from tests.e2e.running import give_key, listening
from tests.gateway.model_files import write_onnx
from tests.mlflow import Outside
from tests.twins.predictions import TwinPredictions
from tests.twins.serving import TwinServing
from tools.registry.port import Alias

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
MODEL = "flights"
LIMIT_S = 120.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state; fails when it does not come."""
    async with asyncio.timeout(LIMIT_S):
        while not await holds():
            await asyncio.sleep(0.1)


def labelled_rows(path: Path) -> Path:
    """Late is what has a distance above nought, but for one row in ten."""
    random = np.random.default_rng(1)
    distance = random.normal(size=3_000)
    late = (distance > 0) != (random.random(len(distance)) < 0.1)
    columns = {
        "distance": distance,
        "wind": random.normal(size=len(distance)),
        "carrier": np.where(distance > 0.5, "AA", "UA"),
        "truth": np.where(late, "late", "on_time"),
    }
    pq.write_table(pa.table(columns), path)
    return path


def policies(folder: Path, worse: Path) -> Path:
    environment = {"PYTHONPATH": str(ROOT)}
    training = {
        "command": [sys.executable, "-m", "tests.e2e.lying_training", str(worse)],
        "environment": environment,
        "look_every": "1s",
    }
    evaluation = {
        "command": [sys.executable, "-m", "pipelines", "evaluate"],
        "source": str(labelled_rows(folder / "rows.parquet")),
        "label": "truth",
        "recent": "0s",
        "look_every": "1s",
        "load": "PT0.2S",
    }
    path = folder / "policies.yaml"
    path.write_text(yaml.safe_dump({"models": {MODEL: {"training": training, "evaluation": evaluation}}}))
    return path


async def test_what_a_training_says_of_itself_rolls_nothing_out(mlflow_process: Any, mlflow_uri: str, tmp_path: Path) -> None:
    outside = Outside(mlflow_process, mlflow_uri)
    outside.publish(MODEL, write_onnx(tmp_path / "champion"))
    outside.point(MODEL, Alias.CHAMPION, "1")
    serving = TwinServing()
    await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="release")
    file = policies(tmp_path, write_onnx(tmp_path / "worse", -1.0))

    def on_twins(adapters: Adapters) -> Adapters:
        return replace(adapters, serving=serving, predictions=TwinPredictions())

    async with AsyncExitStack() as stack:
        settings = Settings(home=tmp_path / "home", mlflow_uri=mlflow_uri, policies=file)
        services = await stack.enter_async_context(open_services(settings, on_twins))
        url, _ = await stack.enter_async_context(listening(services))
        people: dict[str, httpx.AsyncClient] = {}
        for role in (Role.OPERATOR, Role.APPROVER, Role.ADMIN):
            key = await give_key(services, f"some-{role.name.lower()}", role)
            client = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, verify=False, timeout=60)
            people[role.name.lower()] = await stack.enter_async_context(client)
        operator = people["operator"]

        async def found(path: str) -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await operator.get(path)).json()["items"]
            return items

        answer = await operator.post("/v1/triggers/retrain", json={"model": MODEL, "reason": "the new airport has opened"})
        incident = f"/v1/incidents/{answer.json()['incident_id']}"

        async def asked() -> bool:
            return bool(await found("/v1/approvals?status=pending"))

        await until(asked)
        (question,) = await found("/v1/approvals?status=pending")
        assert question["proposal"]["action"]["kind"] == "retrain"
        for person in ("approver", "admin")[: question["quorum"]]:
            body = {"decision": "approve", "fingerprint": question["fingerprint"]}
            assert (await people[person].post(f"/v1/approvals/{question['id']}/decision", json=body)).is_success

        async def over() -> bool:
            return str((await operator.get(incident)).json()["status"]) in ("escalated", "resolved")

        await until(over)
        evaluation, training = await found(f"/v1/jobs?model={MODEL}")
        log = (await operator.get(f"/v1/jobs/{evaluation['name']}/logs")).text
        assert (training["phase"], evaluation["phase"]) == ("succeeded", "succeeded"), log
        assert "evaluation" in evaluation["name"]
        ended = (await operator.get(incident)).json()
        finding = ended["report"]["proposal"]["finding"]
        assert (ended["status"], finding["cause"]) == ("escalated", "candidate_worse"), ended["report"]
        assert any("Claimed by the training, and checked by nobody" in each["statement"] for each in finding["evidence"])
        assert await found("/v1/rollouts") == []
        assert not await asked()
        found_evaluation = await services.registry.evaluation(MODEL, "2", "1")
        assert found_evaluation is not None
        assert found_evaluation.job == evaluation["name"]
        assert (
            await services.registry.alias(MODEL, Alias.CHAMPION),
            await services.registry.alias(MODEL, Alias.CHALLENGER),
        ) == (
            "1",
            None,
        )
    assert (await serving.route(MODEL)).weights == {"1": 100}
