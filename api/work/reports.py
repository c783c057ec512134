"""Evidently's reports on a model's traffic, drawn when somebody asks, one at a time, and kept for who asks again.

The service only hands samples over: the prediction store writes them to files, and another process draws. Nothing is decided
by a report, so what is lost of them is drawn again.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from api.problems import NotFound, NotInstalledHere, Overloaded
from tools.predictions.port import PredictionReader
from tools.reports.evidently import NotInstalled, draw, require_evidently
from tools.reports.port import MOST_ROWS, Made, Side
from tools.values import LeftOut, Window

log = structlog.get_logger()

_KEPT = 50
"""Files; each is some megabytes."""
_AGAIN_S = 15
"""About as long as a report takes."""

Draw = Callable[[tuple[Path, Side], tuple[Path, Side], Path], Awaitable[Made]]


class Reports:
    def __init__(self, predictions: PredictionReader, folder: Path, drawing: Draw = draw) -> None:
        self._predictions = predictions
        self._folder = folder
        self._draw = drawing
        self._at_work: dict[str, asyncio.Task[Path]] = {}

    async def of(
        self, model: str, version: str | None, reference: Window, current: Window, without: Sequence[LeftOut] = ()
    ) -> Path:
        """An HTML file. Whoever asks for one that is being drawn waits for the same.

        Raises Overloaded while another is being drawn, NotFound for windows without predictions, NotInstalledHere.
        """
        asked = [model, version, *(each.model_dump(mode="json") for each in (reference, current, *without))]
        name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        path = self._folder / f"{name}.html"
        if path.exists():
            return path
        if name not in self._at_work:
            if self._at_work:
                raise Overloaded("another report is being drawn", retry_after_s=_AGAIN_S)
            work = self._drawn(model, version, reference, current, without, path)
            task = self._at_work[name] = asyncio.create_task(work, name="report")
            task.add_done_callback(lambda done: self._ended(name, done))
        # Who goes away does not take it from those who wait as well.
        return await asyncio.shield(self._at_work[name])

    async def close(self) -> None:
        for task in list(self._at_work.values()):
            task.cancel()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    def _ended(self, name: str, task: asyncio.Task[Path]) -> None:
        del self._at_work[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Those who wait are told; nobody may be left who does.
            log.info("report.failed", reason=str(error)[:300])

    async def _drawn(
        self, model: str, version: str | None, reference: Window, current: Window, without: Sequence[LeftOut], path: Path
    ) -> Path:
        try:
            require_evidently()
        except NotInstalled as error:
            raise NotInstalledHere(str(error)) from error
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".samples-", dir=self._folder) as folder:
            sides = [
                await self._sampled(model, version, window, left_out, Path(folder) / f"{word}.parquet")
                for word, window, left_out in (("reference", reference, without), ("current", current, ()))
            ]
            await self._draw(sides[0], sides[1], path)
        await asyncio.to_thread(self._tidy)
        return path

    async def _sampled(
        self, model: str, version: str | None, window: Window, without: Sequence[LeftOut], to: Path
    ) -> tuple[Path, Side]:
        found = await self._predictions.sample(model, window, to, most=MOST_ROWS, version=version, without=without)
        span = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
        if not found.sampled:
            raise NotFound(f"there are no predictions of {model[:200]} from {span}")
        of = f"{model}{f' version {version}' if version is not None else ''}, {span}"
        name = f"{of}, without what is quarantined of it" if without else of
        return to, Side(name=name, rows=found.rows, sampled=found.sampled)

    def _tidy(self) -> None:
        """The oldest go."""
        found = sorted(self._folder.glob("*.html"), key=lambda path: path.stat().st_mtime)
        for path in found[:-_KEPT]:
            path.unlink(missing_ok=True)
