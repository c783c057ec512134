"""An ingestion that is killed with SIGKILL leaves nothing half, and the next one goes on; into every lake."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingest import Ingested, ingest
from tests.contract.lakes import open_again, values
from tools.lake.port import InUse, LakeTable
from tools.sources.opening import Reading, open_source

pytestmark = pytest.mark.xdist_group("lake")

LIMIT_S = 60.0


class Place:
    """A table somewhere, and files to be brought there."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        self.url = url
        self.name = name
        self.folder = folder
        folder.mkdir()

    def add(self, file: str, first: int, count: int) -> None:
        pq.write_table(pa.table({"x": range(first, first + count)}), self.folder / file)

    @contextmanager
    def opened(self) -> Iterator[LakeTable]:
        """As soon as the one that was killed is gone: its engine ends a moment after it."""
        deadline = time.monotonic() + LIMIT_S
        with closing(open_again(self.url)) as lake, ExitStack() as stack:
            table = None
            while table is None:
                try:
                    table = stack.enter_context(lake.open(self.name))
                except InUse:
                    assert time.monotonic() < deadline, "what was killed still holds the table"
            yield table

    def ingest(self) -> Ingested:
        with self.opened() as table:
            return ingest(open_source(str(self.folder), Reading()), table)

    def kept(self) -> list[int]:
        with self.opened() as table:
            return sorted(values(table))

    def die(self, last: str, after_ms: int = 0) -> None:
        command = [sys.executable, "-m", "tests.pipelines.dying_ingest", str(self.folder), self.url, self.name, last]
        done = subprocess.run([*command, str(after_ms)], check=False, timeout=LIMIT_S)
        assert done.returncode == -signal.SIGKILL


@pytest.fixture(params=["parquet", "embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Place:
    urls = {"parquet": f"{tmp_path}/lake", "embedded": f"chdb://{tmp_path}/lake"}
    return Place(urls.get(request.param) or request.getfixturevalue("clickhouse_url"), name, tmp_path / "in")


def test_killed_in_the_middle_nothing_half_is_left_and_the_next_run_is_whole(place: Place) -> None:
    place.add("a.parquet", 0, 10)
    place.add("b.parquet", 10, 4_000)
    place.die("b.parquet: 3,000 rows")
    assert place.kept() == list(range(10))
    place.die("b.parquet: stored, 4,000 rows, 0 quarantined")
    assert place.kept() == list(range(4_010))
    found = place.ingest()
    assert (found.ok, found.skipped, found.rows_written) == (True, 2, 0)


def test_killed_while_it_commits_one_file_after_the_other_every_file_is_there_once(place: Place) -> None:
    for number in range(40):
        place.add(f"{number:02}.parquet", number * 10, 10)
    place.die("04.parquet: stored, 10 rows, 0 quarantined", after_ms=3)
    kept = place.kept()
    assert kept == list(range(len(kept)))
    assert len(kept) % 10 == 0
    assert 50 <= len(kept) < 400
    found = place.ingest()
    assert (found.ok, found.batches + found.skipped) == (True, 40)
    assert place.kept() == list(range(400))
