"""From the gateway's folder into the store: in order, once, and never lost."""

import fcntl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract.predictions import HOUR, at, labelled, predicted, segment
from tests.twins.predictions import TwinPredictions
from tools.errors import PermanentError, TemporaryError
from tools.predictions.loader import Loader, LoadReport
from tools.predictions.port import Lag, Loaded


class Noted(TwinPredictions):
    """Keeps account of what it was given, and does not take what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Path] = []
        self.refused: set[Path] = set()
        self.locked = False

    async def ping(self) -> None:
        if self.locked:
            raise PermanentError("wrong password")
        await super().ping()

    async def load(self, segment: Path) -> Loaded:
        self.given.append(segment)
        if segment in self.refused:
            raise PermanentError("too many columns")
        return await super().load(segment)


@pytest.fixture
def store() -> Noted:
    return Noted()


@pytest.fixture
def loader(store: Noted, tmp_path: Path) -> Loader:
    return Loader(store, tmp_path)


async def test_segments_are_loaded_oldest_first_and_taken_away(store: Noted, loader: Loader, tmp_path: Path) -> None:
    late = segment(tmp_path, [predicted("c", "flights")], begun=at(30))
    early = segment(tmp_path, [predicted("a", "flights"), predicted("b", "flights")], begun=at(10))
    labels = segment(tmp_path, [labelled("a", "flights", "late")], begun=at(20)).rename(
        tmp_path / f"labels-{at(20):016d}-x-1.ndjson"
    )
    assert await loader.sweep() == LoadReport(segments=3, records=4)
    assert store.given == [early, labels, late]
    assert not list(tmp_path.glob("*.ndjson"))
    (version,) = await store.versions("flights", HOUR)
    assert (version.count, version.labelled) == (3, 1)


async def test_what_is_still_written_to_and_what_is_no_segment_stays(store: Noted, loader: Loader, tmp_path: Path) -> None:
    for name in ("predictions-1.open", "routes.json", "predictions-1.rejected"):
        (tmp_path / name).write_text("{}")
    assert await loader.sweep() == LoadReport()
    assert store.given == []
    assert {path.name for path in tmp_path.iterdir()} >= {"predictions-1.open", "routes.json", "predictions-1.rejected"}


async def test_a_store_that_is_down_loses_nothing(store: Noted, loader: Loader, tmp_path: Path) -> None:
    path = segment(tmp_path, [predicted("a", "flights")])
    store.go_down()
    for _ in range(2):
        with pytest.raises(TemporaryError):
            await loader.sweep()
    assert (await loader.lag()).segments == 1
    store.come_back()
    assert await loader.sweep() == LoadReport(segments=1, records=1)
    assert not path.exists()


async def test_a_segment_that_is_refused_stays_and_holds_up_no_other(store: Noted, loader: Loader, tmp_path: Path) -> None:
    bad = segment(tmp_path, [predicted("a", "flights")], begun=at(1))
    good = segment(tmp_path, [predicted("b", "flights")], begun=at(2))
    store.refused = {bad}
    assert await loader.sweep() == LoadReport(segments=1, records=1, refused=1)
    assert bad.exists()
    assert not good.exists()
    assert await loader.sweep() == LoadReport(refused=1)
    assert store.given == [bad, good]  # it is not tried again at once
    bad.unlink()
    assert await loader.sweep() == LoadReport()


async def test_a_store_that_lets_nobody_in_refuses_no_segment_but_us(store: Noted, loader: Loader, tmp_path: Path) -> None:
    store.refused = {segment(tmp_path, [predicted(name, "flights")]) for name in "ab"}
    store.locked = True
    with pytest.raises(TemporaryError, match="wrong password"):
        await loader.sweep()
    assert len(store.given) == 1
    store.locked, store.refused = False, set()
    assert await loader.sweep() == LoadReport(segments=2, records=2)


async def test_rejected_lines_are_counted_and_outlive_their_segment(loader: Loader, tmp_path: Path) -> None:
    path = segment(tmp_path, [predicted("a", "flights")])
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    assert await loader.sweep() == LoadReport(segments=1, records=1, rejected=1)
    assert path.with_suffix(".rejected").read_bytes().endswith(b"\nnonsense\n")


async def test_segments_can_be_kept_in_an_archive(store: Noted, tmp_path: Path) -> None:
    path = segment(tmp_path, [predicted("a", "flights")])
    await Loader(store, tmp_path, archive=tmp_path / "kept").sweep()
    assert [kept.name for kept in (tmp_path / "kept").iterdir()] == [path.name]
    assert await Loader(store, tmp_path).sweep() == LoadReport()


async def test_a_folder_is_left_to_the_loader_that_is_at_it(store: Noted, loader: Loader, tmp_path: Path) -> None:
    segment(tmp_path, [predicted("a", "flights")])
    with (tmp_path / ".loading").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert await loader.sweep() == LoadReport()
    assert await loader.sweep() == LoadReport(segments=1, records=1)


async def test_a_folder_that_is_not_there_yet_is_empty(store: Noted, tmp_path: Path) -> None:
    loader = Loader(store, tmp_path / "soon")
    assert await loader.sweep() == LoadReport()
    assert await loader.lag() == Lag(segments=0, bytes=0, oldest=None)


async def test_lag_tells_what_waits_and_since_when_by_the_gateway_s_clock(loader: Loader, tmp_path: Path) -> None:
    paths = [segment(tmp_path, [predicted("a", "flights")], begun=at(minutes)) for minutes in (7, 3)]
    lag = await loader.lag()
    assert (lag.segments, lag.bytes) == (2, sum(path.stat().st_size for path in paths))
    assert lag.oldest == datetime(2026, 3, 2, 9, 3, tzinfo=UTC)
