"""Views computed batch by batch are what they are computed at once, and no moment sees what was not known before it."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import feature_runs
from pipelines.cancelling import Cancellation, Cancelled
from pipelines.feature_runs import compute
from pipelines.features import FeatureView
from tests.pipelines.feature_cases import HOUR, MINUTE, START, Event, bring, by_hand, events, of_facts, over_windows
from tests.twins.clock import SteppedClock
from tools.errors import PermanentError
from tools.features.columns import TIME
from tools.features.joining import as_of, taken
from tools.features.offline import OfflineTables
from tools.lake.parquet import ParquetLake
from tools.lake.port import InUse, Lake

_events = st.tuples(st.sampled_from("ab"), st.integers(0, 9 * 60), st.none() | st.integers(-3, 3).map(float))
_batches = st.lists(st.lists(_events, max_size=6), min_size=1, max_size=4)


class World:
    def __init__(self, folder: Path) -> None:
        self.lake: Lake = ParquetLake(folder / "lake")
        self.offline = OfflineTables(folder / "features")
        self.clock = SteppedClock()

    def compute(self, definition: FeatureView) -> feature_runs.Computed:
        return compute(definition, self.lake, self.offline, self.clock, Cancellation())

    def seen(self, definition: FeatureView, asked: list[tuple[str, int]]) -> list[dict[str, Any]]:
        """As of these minutes."""
        view = definition.view
        right = self.offline.rows(view)
        left = pa.table(
            {"key": [key for key, _ in asked], "at": pa.array([START + minute * MINUTE for _, minute in asked], TIME)}
        )
        positions = as_of(left, right, ["key"], "at", view.ttl)
        columns = {name: taken(right[name], positions).to_pylist() for name in view.features}
        return [{name: values[place] for name, values in columns.items()} for place in range(len(asked))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _close(found: dict[str, Any], right: dict[str, Any]) -> bool:
    """A window without anything in it, after `ttl`, is a row that is not there; both say that there is nothing."""
    empty = dict.fromkeys(found)
    return found == pytest.approx(right) or (found == empty and not right["count_3h"])


@settings(max_examples=30, deadline=None)
@given(_batches)
def test_windows_over_any_batches_hold_what_was_known_before_them_and_nothing_else(batches: list[list[Event]]) -> None:
    """Batches overlap in time and come late, in any order; each is computed on its own, between two others."""
    with tempfile.TemporaryDirectory() as folder:
        world, definition = World(Path(folder)), over_windows()
        for number, several in enumerate(batches):
            bring(world.lake, f"b{number}", events(several), number=number)
            world.compute(definition)
        everything = [each for several in batches for each in several]
        asked = [(key, minute) for key in "ab" for minute in range(0, 14 * 60, 20)]
        for (key, minute), found in zip(asked, world.seen(definition, asked), strict=True):
            right = by_hand(everything, key, minute)
            assert right is not None
            assert _close(found, right), (key, minute, found, right)


def test_a_batch_at_a_time_is_the_same_as_all_at_once(tmp_path: Path) -> None:
    several: list[Event] = [("a", minute * 7 % 600, float(minute % 5)) for minute in range(200)]
    definition, asked = over_windows(), [("a", minute) for minute in range(0, 900, 30)]
    at_once, by_and_by = World(tmp_path / "one"), World(tmp_path / "many")
    bring(at_once.lake, "all", events(several))
    at_once.compute(definition)
    for start in range(0, 200, 30):
        bring(by_and_by.lake, f"b{start}", events(several[start : start + 30]), number=start)
        by_and_by.compute(definition)
    assert by_and_by.seen(definition, asked) == at_once.seen(definition, asked)


def test_a_raw_batch_is_taken_in_once(world: World) -> None:
    definition = over_windows()
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    assert world.compute(definition).batches == 1
    again = world.compute(definition)
    assert (again.batches, again.rows_read, again.rows_written) == (0, 0, 0)
    bring(world.lake, "second", events([("a", 20, 3.0)]), number=1)
    found = world.compute(definition)
    assert (found.batches, found.rows_read) == (1, 1)
    assert world.seen(definition, [("a", 60)])[0]["mean_1h"] == 2.0


def test_a_run_that_ended_between_tiles_and_rows_is_completed_by_the_next(world: World) -> None:
    definition = over_windows()
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    work = feature_runs._Aggregates(definition, definition.view, world.offline, world.clock)
    work.catch_up = lambda: 0  # type: ignore[method-assign]
    work.take(["first"], iter([events([("a", 10, 1.0)])]))
    assert world.offline.batches(definition.view) == ()
    assert world.compute(definition).rows_written > 0
    assert world.seen(definition, [("a", 60)])[0]["count_1h"] == 1


def test_a_correction_counts_from_the_run_that_brought_it_also_when_the_clock_was_put_back(world: World) -> None:
    definition = of_facts()
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    world.compute(definition)
    world.clock.pass_(-timedelta(days=1))
    bring(world.lake, "second", events([("a", 10, 2.0)]), number=1)
    world.compute(definition)
    assert world.seen(definition, [("a", 9), ("a", 10), ("a", 130), ("a", 131)]) == [
        {"value": None},
        {"value": 2.0},
        {"value": 2.0},
        {"value": None},
    ]


def test_of_facts_of_one_key_and_moment_the_last_one_stands(world: World) -> None:
    definition = of_facts()
    bring(world.lake, "first", events([("a", 10, 1.0), ("a", 10, None), ("b", 10, 7.0), ("a", 10, 5.0)]))
    assert world.compute(definition).rows_written == 2
    assert world.seen(definition, [("a", 10), ("b", 10)]) == [{"value": 5.0}, {"value": 7.0}]


def test_another_version_is_computed_anew_and_the_old_rows_stay(world: World) -> None:
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    old, new = of_facts(), of_facts(ttl=5 * HOUR)
    assert old.version != new.version
    for definition in (old, new):
        assert world.compute(definition).rows_written == 1
    assert world.seen(old, [("a", 10)]) == world.seen(new, [("a", 10)]) == [{"value": 1.0}]


def test_not_a_number_is_no_value(world: World) -> None:
    bring(world.lake, "first", events([("a", 10, float("nan")), ("a", 11, 4.0)]))
    for definition in (of_facts(), over_windows()):
        world.compute(definition)
    assert world.seen(of_facts(), [("a", 10)]) == [{"value": None}]
    assert world.seen(over_windows(), [("a", 60)])[0]["mean_1h"] == 4.0


def test_a_group_without_a_fact_is_taken_in_all_the_same(world: World) -> None:
    def nothing(raw: pa.Table) -> pa.Table:
        return raw.slice(0, 0)

    definition = over_windows(transform=nothing)
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    assert world.compute(definition).batches == 1
    assert world.compute(definition).batches == 0


def _fails(raw: pa.Table) -> pa.Table:
    return raw.select(["no_such_column"])


def _keyless(raw: pa.Table) -> pa.Table:
    return raw.set_column(0, "key", pa.array([None] * raw.num_rows, pa.string()))


def _timeless(raw: pa.Table) -> pa.Table:
    return raw.set_column(1, "at", raw["at"].cast(pa.timestamp("us")))


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (_fails, "transformation failed.*no_such_column"),
        (_keyless, "without key"),
        (_timeless, "at has to be a time with a zone"),
    ],
)
@pytest.mark.parametrize("make", [over_windows, of_facts])
def test_a_transformation_that_is_wrong_says_how_and_nothing_is_stored(
    world: World, make: Any, transform: Any, said: str
) -> None:
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    definition = make(transform=transform)
    with pytest.raises(PermanentError, match=said):
        world.compute(definition)
    assert world.offline.batches(definition.view) == ()


def test_told_to_stop_it_stops_between_groups(world: World) -> None:
    bring(world.lake, "first", events([("a", 10, 1.0)]))
    cancellation = Cancellation()
    cancellation.stop()
    with pytest.raises(Cancelled):
        compute(of_facts(), world.lake, world.offline, world.clock, cancellation)


def test_one_process_writes_at_a_time(world: World) -> None:
    with world.offline.writing(), pytest.raises(InUse), world.offline.writing():
        pass
