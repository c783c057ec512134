"""Tables of raw data over HTTP: what came, and whether it gets worse; from a twin and from a real lake."""

import threading
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

from api.problems import Overloaded
from api.store.database import Database
from pipelines.ingest import ingest
from pipelines.validate import Validation
from tests.e2e.bodies import refused
from tests.e2e.running import Platform, running
from tests.twins.clock import SteppedClock
from tests.twins.columns_read import watching
from tests.unit.agents.tables import Table
from tools.lake.parquet import ParquetLake
from tools.quality.lakes import LakeHistories
from tools.quality.schema import parse
from tools.sources.opening import Reading, open_source

SCHEMA = parse("""
table: trips
columns: [{name: far, type: number, minimum: 0, nullable: true}, {name: kind, type: text}]
outliers: {action: nothing}
acceptance: {max_bad_share: 0.5}
""")


async def test_a_table_that_gets_worse_is_told_with_its_respect(platform: Platform) -> None:
    platform.datasets.of["trips"] = Table().come(12).come(2, level=16.0).batches
    (listed,) = (await platform.viewer.get("/v1/datasets")).json()["items"]
    assert (listed["table"], listed["bad"]) == ("trips", True)
    answer = (await platform.viewer.get("/v1/datasets/trips/quality", params={"batches": 3})).json()
    assert [(each["respect"], each["column"]) for each in answer["degradations"]] == [("level", "far")]
    assert (answer["compared_with"], len(answer["batches"])) == (12, 3)
    assert answer["batches"][0]["key"] == "13"


async def test_many_columns_are_judged_beside_the_event_loop(platform: Platform) -> None:
    platform.datasets.of["trips"], columns = watching(Table().come(12).batches)
    assert (await platform.viewer.get("/v1/datasets")).status_code == 200
    judging = {name for each in columns for name in each.threads}
    assert judging
    assert threading.current_thread().name not in judging


async def test_too_many_questions_at_once_are_put_off(platform: Platform) -> None:
    with ExitStack() as taken:
        while True:
            try:
                taken.enter_context(platform.app.state.local.questions)
            except Overloaded:
                break
        refused(await platform.viewer.get("/v1/datasets"), 503, "overloaded")
        refused(await platform.viewer.get("/v1/datasets/trips/quality"), 503, "overloaded")


async def test_what_is_not_there_is_told(platform: Platform, database: Database) -> None:
    refused(await platform.viewer.get("/v1/datasets/none/quality"), 404, "not-found")
    platform.datasets.away = True
    refused(await platform.viewer.get("/v1/datasets"), 503, "unavailable")


async def test_without_a_lake_that_is_said(database: Database) -> None:
    async with running(database, SteppedClock(), datasets=None) as platform:
        assert (await platform.viewer.get("/v1/datasets")).json() == {"configured": False, "items": []}
        answer = await platform.viewer.get("/v1/datasets/trips/quality")
        refused(answer, 404, "not-found")
        assert "OPPEN_LAKE" in answer.json()["detail"]


async def test_a_real_lake_is_judged_from_its_batches(tmp_path: Path, database: Database) -> None:
    clock, lake = SteppedClock(), ParquetLake(tmp_path / "lake")
    for number in range(12):
        bad = number >= 10
        rows = [f"{-1 if bad and n % 4 == 0 else n % 9},bus" for n in range(200 + number)]
        path = tmp_path / f"{number}.csv"
        path.write_text("\n".join(["far,kind", *rows]) + "\n")
        with lake.open("trips") as table, closing(Validation.of_table(SCHEMA, table, clock)) as checks:
            assert ingest(open_source(str(path), Reading()), table, checks=checks, clock=clock).ok
        clock.pass_(timedelta(days=1))
    async with running(database, clock, datasets=LakeHistories(str(tmp_path / "lake"))) as platform:
        answer = (await platform.viewer.get("/v1/datasets/trips/quality")).json()
    assert [each["respect"] for each in answer["degradations"]] == ["quarantined"]
    assert "far: -1.0 is below the minimum, 0" in answer["summary"]
    newest, *_, oldest = answer["batches"]
    assert (newest["verdict"], newest["broken"][0]["rows"], oldest["verdict"]) == ("partly accepted", 53, "accepted")
    assert answer["freshness"]["bad"] is False
