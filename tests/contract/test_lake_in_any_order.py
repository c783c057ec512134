"""Whatever is staged, committed, refused, given up or crashed, in any order: a lake tells what a list of batches would."""

import itertools
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.lakes import Backend, misfits, numbers, receipt, values
from tools.lake.port import Lake, LakeTable, Staged

pytestmark = pytest.mark.xdist_group("lake")

KEYS = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.sampled_from(["stage", "refuse"]), KEYS),
    st.tuples(st.sampled_from(["write", "quarantine", "describe", "commit", "discard"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["reopen", "crash"]), st.just(0)),
)


@dataclass
class Batch:
    """One on its way, and what is to be found of it."""

    key: str
    staged: Staged
    rows: list[int] = field(default_factory=list)
    quarantined: int = 0
    said: str | None = None


class Course:
    """A table, and beside it what should be in it."""

    def __init__(self, backend: Backend, lake: Lake) -> None:
        self.backend = backend
        self.name = f"t_{os.urandom(6).hex()}"
        self.lake = lake
        self.crashed: list[AbstractContextManager[LakeTable]] = []
        self.there: dict[str, Batch] = {}
        self.refused: dict[str, str] = {}
        self.numbers = itertools.count(1)
        self._open()

    def take(self, step: str, what: object) -> None:
        batch = self.staged[int(str(what)) % len(self.staged)] if self.staged and str(what).isdigit() else None
        match step:
            case "stage":
                self.staged.append(Batch(str(what), self.table.stage()))
            case "refuse":
                self.refused[str(what)] = f"no. {next(self.numbers)}"
                self.table.refuse(receipt(str(what), 0, refused=self.refused[str(what)]))
            case "reopen" | "crash":
                self._leave(crash=step == "crash")
                self._open()
            case _ if batch is not None:
                self._move(step, batch)

    def check(self) -> None:
        for table in (self.table, self.lake.read(self.name)):
            assert values(table) == [each for batch in self.there.values() for each in batch.rows]
            assert sum(batch.num_rows for batch in table.quarantined()) == sum(each.quarantined for each in self.there.values())
            assert {each.key: said for each, said in table.statistics()} == {
                key: batch.said for key, batch in self.there.items() if batch.said is not None
            }
            assert {each.key: each.refused for each in table.receipts()} == {
                **self.refused,
                **dict.fromkeys(self.there),
            }
            for key, batch in self.there.items():
                assert values(table, key) == batch.rows

    def end(self) -> None:
        self._leave(crash=False)

    def _move(self, step: str, batch: Batch) -> None:
        match step:
            case "write":
                fresh = [next(self.numbers), next(self.numbers)]
                batch.staged.write(numbers(*fresh))
                batch.rows += fresh
            case "quarantine":
                batch.staged.quarantine(misfits("odd"))
                batch.quarantined += 1
            case "describe":
                batch.said = f'{{"n": {next(self.numbers)}}}'
                batch.staged.describe(batch.said)
            case "commit":
                self.staged.remove(batch)
                fresh_key = batch.key not in self.there
                assert batch.staged.commit(receipt(batch.key, next(self.numbers), rows=len(batch.rows))) == fresh_key
                if fresh_key:
                    self.there[batch.key] = batch
            case "discard":
                self.staged.remove(batch)
                batch.staged.discard()

    def _open(self) -> None:
        self.staged: list[Batch] = []
        self.turn = self.lake.open(self.name)
        self.table = self.turn.__enter__()

    def _leave(self, *, crash: bool) -> None:
        if crash and self.backend.kind == "server":
            # It never says that it has gone, and nothing is collected before the end.
            self.crashed.append(self.turn)
            self.lake = self.backend.open()
            return
        for batch in () if crash else self.staged:
            batch.staged.discard()
        self.turn.__exit__(None, None, None)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_a_lake_tells_what_a_list_of_batches_would(lake_backend: Backend, steps: list[tuple[str, object]]) -> None:
    course = Course(lake_backend, lake_backend.opened[0] if lake_backend.opened else lake_backend.open())
    for step, what in steps:
        course.take(step, what)
    course.check()
    course.end()
