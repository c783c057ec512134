"""The file in which jobs leave events is taken in, as it grows, once."""

from pathlib import Path

import pytest

from api.store import lineage
from api.store.database import Database
from api.work.lineage import LineageFile
from tests.twins.clock import SteppedClock
from tests.unit.lineage import stories
from tools.lineage.file import FileLineage
from tools.lineage.port import Graph, NotKnown, Query


async def ask(database: Database, node: str) -> Graph:
    async with database.read() as session:
        return await lineage.look_up(session, Query(node=node))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lineage.jsonl"


async def test_what_jobs_leave_is_taken_in_as_it_comes_and_once(database: Database, file: Path) -> None:
    taking = LineageFile(database, file, SteppedClock())
    assert await taking.once() == 0
    *events, last = stories.story()
    for event in events:
        FileLineage(file).emit(event)
    with file.open("ab") as opened:
        opened.write(b'{"no": "event"}\nnot even JSON\n{"eventType": "half')
    assert await taking.once() == len(events)
    with pytest.raises(NotKnown):
        await ask(database, "model:flights/1")
    FileLineage(file).emit(last)
    assert await taking.once() == 1
    assert await taking.once() == 0
    assert await LineageFile(database, file, SteppedClock()).once() == 0
    assert len((await ask(database, "model:flights/1")).nodes) == 12


async def test_a_new_file_in_its_place_is_read_from_its_start(database: Database, file: Path) -> None:
    taking = LineageFile(database, file, SteppedClock())
    first, *others = stories.story()
    for event in others:
        FileLineage(file).emit(event)
    assert await taking.once() == len(others)
    file.unlink()
    FileLineage(file).emit(first)
    assert await taking.once() == 1


async def test_without_a_file_there_is_nothing_to_do(database: Database) -> None:
    assert await LineageFile(database, None, SteppedClock()).once() == 0
