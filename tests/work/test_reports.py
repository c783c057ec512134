"""Reports are drawn one at a time, once for everybody who asks for the same."""

import asyncio
import importlib.util
from datetime import timedelta
from pathlib import Path

import pytest

from api.problems import NotFound, NotInstalledHere, Overloaded
from api.work import reports
from api.work.reports import Reports
from simulations.drift_worlds import World
from tests.twins.clock import SteppedClock
from tests.twins.predictions import TwinPredictions
from tools.errors import PermanentError
from tools.reports.port import Made, Side
from tools.values import LeftOut, Window

NOW = SteppedClock().now()
DAY = timedelta(days=1)
CURRENT = Window(start=NOW - DAY, end=NOW)
REFERENCE = Window(start=CURRENT.start - 7 * DAY, end=CURRENT.start)


class Drawing:
    """Waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[Side, Side]] = []
        self.free = asyncio.Event()
        self.begun = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, reference: tuple[Path, Side], current: tuple[Path, Side], out: Path) -> Made:
        self.asked.append((reference[1], current[1]))
        self.begun.set()
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        out.write_text("drawn")
        return Made(bytes=5, columns=1, left_out=())


@pytest.fixture
def drawing() -> Drawing:
    return Drawing()


@pytest.fixture
def drawn(drawing: Drawing, tmp_path: Path) -> Reports:
    store, world = TwinPredictions(), World(3, "none")
    world.model = "loans"
    store.add(world.draw(REFERENCE, 200, 0.5, hit=False))
    store.add(world.draw(CURRENT, 100, 0.5, hit=True))
    return Reports(store, tmp_path / "reports", drawing)


async def test_what_was_drawn_is_not_drawn_again(drawn: Reports, drawing: Drawing) -> None:
    drawing.free.set()
    first = await drawn.of("loans", None, REFERENCE, CURRENT)
    assert await drawn.of("loans", None, REFERENCE, CURRENT) == first
    assert first.read_text() == "drawn"
    assert [(ours.rows, theirs.sampled) for ours, theirs in drawing.asked] == [(200, 100)]
    assert [path.name for path in first.parent.iterdir()] == [first.name]


async def test_what_is_quarantined_is_another_report_and_says_so(drawn: Reports, drawing: Drawing) -> None:
    drawing.free.set()
    whole = await drawn.of("loans", "1", REFERENCE, CURRENT)
    left_out = LeftOut(window=Window(start=REFERENCE.start, end=REFERENCE.start + 3 * DAY))
    assert await drawn.of("loans", "1", REFERENCE, CURRENT, [left_out]) != whole
    reference, current = drawing.asked[-1]
    assert reference.rows < 200
    assert "without what is quarantined" in reference.name
    assert "without" not in current.name


async def test_who_asks_for_what_is_being_drawn_waits_for_the_same_and_another_is_put_off(
    drawn: Reports, drawing: Drawing
) -> None:
    two = [asyncio.create_task(drawn.of("loans", None, REFERENCE, CURRENT)) for _ in range(2)]
    await drawing.begun.wait()
    with pytest.raises(Overloaded) as refused:
        await drawn.of("loans", "1", REFERENCE, CURRENT)
    assert refused.value.retry_after_s == 15
    two[0].cancel()
    drawing.free.set()
    assert (await two[1]).exists()
    assert len(drawing.asked) == 1
    assert (await drawn.of("loans", "1", REFERENCE, CURRENT)).exists()


async def test_what_fails_is_said_and_tried_again_by_who_asks_again(drawn: Reports, drawing: Drawing) -> None:
    drawing.failure = PermanentError("no column in common")
    drawing.free.set()
    with pytest.raises(PermanentError, match="no column"):
        await drawn.of("loans", None, REFERENCE, CURRENT)
    drawing.failure = None
    assert (await drawn.of("loans", None, REFERENCE, CURRENT)).exists()


async def test_windows_without_predictions_have_no_report(drawn: Reports) -> None:
    with pytest.raises(NotFound, match="no predictions of loans"):
        await drawn.of("loans", "9", REFERENCE, CURRENT)


async def test_the_oldest_files_go(drawn: Reports, drawing: Drawing) -> None:
    drawing.free.set()
    found = [
        await drawn.of("loans", None, REFERENCE.shifted(timedelta(minutes=minute)), CURRENT)
        for minute in range(reports._KEPT + 3)
    ]
    assert sum(path.exists() for path in found) == reports._KEPT


async def test_a_service_that_ends_leaves_none_half(drawn: Reports, drawing: Drawing) -> None:
    asked = asyncio.create_task(drawn.of("loans", None, REFERENCE, CURRENT))
    await drawing.begun.wait()
    await drawn.close()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_without_evidently_that_is_said(drawn: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotInstalledHere, match="not installed here"):
        await drawn.of("loans", None, REFERENCE, CURRENT)
