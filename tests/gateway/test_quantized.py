"""An INT8 version beside the version that it was made of, behind one gateway: as a canary, in batches, and as a shadow, with
what each costs in the prediction log."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from agents.cost.quantization import Decision
from agents.cost.quantization_rules import QuantizationRules
from agents.cost.quantization_traffic import weigh_copies
from benchmarks.quantization_models import SPEC, Task, exported, task, trained
from pipelines.onnx_forms import convert, quantize
from tests.gateway.conftest import Start
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.running import Gateway, predictions, until
from tests.twins.predictions import TwinPredictions
from tools.inference.tables import encode
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import FILE, CategoricalFeature
from tools.values import Window

pytestmark = pytest.mark.xdist_group("quantized-network")

ROWS = 300


@pytest.fixture(scope="module")
def rows() -> Task:
    return task(2_000, seed=4)


@pytest.fixture(scope="module")
def root(rows: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`task` 1, a network, and 2, the same in INT8. Wide enough that INT8 takes less of the processor."""
    root = tmp_path_factory.mktemp("quantized")
    original = exported(trained(rows.part(0, 1_500), 1_024, epochs=1, seed=4), root / "task" / "1")
    converted = convert(original, root / "converted")
    quantize(converted, root / "task" / "2", "static", encode(rows.table.slice(0, 500), SPEC))
    (root / "task" / "champion").write_text("1")
    return root


def body(rows: Task, start: int, count: int) -> dict[str, object]:
    columns = rows.table.slice(start, count).to_pydict()
    inputs = [
        {
            "name": feature.name,
            "shape": [count],
            "datatype": "BYTES" if isinstance(feature, CategoricalFeature) else "FP64",
            "data": columns[feature.name],
        }
        for feature in SPEC.features
    ]
    entities = [f"client-{start + place}" for place in range(count)]
    return {"inputs": inputs, "parameters": {"entity_id": entities}}


async def asked(gateway: Gateway, rows: Task, *, each: int) -> list[str]:
    """All of the traffic, so many rows in a request, several requests at once. The versions that answered, row by row."""
    versions: list[str] = []
    for start in range(0, ROWS, 4 * each):
        requests = (body(rows, place, each) for place in range(start, min(start + 4 * each, ROWS), each))
        answers = await asyncio.gather(*(gateway.client.post("/v2/models/task/infer", json=each) for each in requests))
        for answer in answers:
            assert answer.status_code == 200, answer.text
            told = answer.json()
            versions += told["parameters"].get("model_versions") or [told["model_version"]] * each
    return versions


async def test_a_canary_in_int8_answers_its_share_and_the_log_says_what_it_costs(start: Start, root: Path, rows: Task) -> None:
    async with start(FolderRegistry(root), models=("task",)) as gateway:
        made = await gateway.route({"1": 50, "2": 50}, generation=1, model="task")
        assert made.status_code == 200, made.text
        versions = await asked(gateway, rows, each=5)
        assert {"1", "2"} == set(versions)
        assert await gateway.metric("batch_rows_count", model="task", version="2") > 0
        home = gateway.home
    costs: defaultdict[str, list[float]] = defaultdict(list)
    for each in predictions(home):
        assert each.error is None
        assert each.cpu_us is not None
        costs[each.version].append(each.cpu_us)
    assert {version: len(found) for version, found in costs.items()} == {each: versions.count(each) for each in "12"}
    # Measured by the gateway itself: INT8 of a network this wide takes half of the processor, and less.
    assert np.median(costs["2"]) < np.median(costs["1"])


async def test_mirrored_traffic_says_whether_int8_pays(start: Start, root: Path, rows: Task) -> None:
    async with start(FolderRegistry(root), models=("task",)) as gateway:
        await gateway.route({"1": 100}, shadow={"2": 100}, generation=1, model="task")
        assert set(await asked(gateway, rows, each=1)) == {"1"}

        async def copied() -> bool:
            return await gateway.metric("mirrored_total", model="task", version="2", outcome="answered") == ROWS

        await until(copied)
        home = gateway.home
    store = TwinPredictions()
    for segment in sorted((home / "segments").glob("*.ndjson")):
        await store.load(segment)
    now = datetime.now(UTC)
    found = await store.copies("task", "2", "1", Window(start=now - timedelta(hours=1), end=now + timedelta(minutes=1)))
    assert found is not None
    assert (found.requests, found.shadow_errors, found.both) == (ROWS, 0, ROWS)
    assert found.agreement is not None
    assert found.agreement > 0.97
    assert found.saved_cpu_us.count == ROWS
    assert found.saved_cpu_us.total > 0
    # Whether requests are slower is a matter of the machine, which others share: what INT8 itself says is judged.
    worth = weigh_copies(found, QuantizationRules(max_disagreement=0.1))
    judged = {each.name: each.decision for each in worth.weighed}
    assert (judged["failures"], judged["answers"]) == (Decision.PAYS, Decision.PAYS)
    assert worth.saving is not None
    assert worth.saving > 0


def test_the_same_version_rows_and_seed_make_the_same_bytes(root: Path, rows: Task, tmp_path: Path) -> None:
    original = ModelFiles(model="task", version="1", folder=root / "task" / "1", format="pt2")
    again = quantize(
        convert(original, tmp_path / "converted"), tmp_path / "int8", "static", encode(rows.table.slice(0, 500), SPEC)
    )
    assert (again.folder / "model.onnx").read_bytes() == (root / "task" / "2" / "model.onnx").read_bytes()
    assert sorted(each.name for each in again.folder.iterdir()) == ["model.onnx", FILE]
