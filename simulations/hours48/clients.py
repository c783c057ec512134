"""The clients of the shop's model: every five minutes they ask about whoever came, and hand in what came true once it is known.

They keep book of the answers with their own eyes, to hold the platform's figures against.
"""

import asyncio
import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
import msgspec
import numpy as np

from simulations.hours48.world import CLASSES, FEATURES, HOURS, Rows
from tools.clock import Clock

_HOUR = timedelta(hours=1)
TURN = timedelta(minutes=5)
"""Policy (`quantization.rows`) counts on the 200 customers who come within it."""
_TURN_MICROS = TURN // timedelta(microseconds=1)
_TURNS = HOURS * _HOUR // TURN
_IN_FLIGHT = 2
"""Of requests: where the clock has run ahead, what they make up for fits into the gateway's queue."""
_LONGEST_NAP_S = 0.02


@dataclass
class Seen:
    """Answers, by the hour in which they were asked for (0 to 47)."""

    answered: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Hour -> version -> rows."""
    right: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    failed: int = 0

    def accuracy(self, hours: range, version: str | None = None) -> float | None:
        """Over all that was asked in these hours, whenever its outcome came."""
        asked = sum(self._of(self.answered, hour, version) for hour in hours)
        return sum(self._of(self.right, hour, version) for hour in hours) / asked if asked else None

    @staticmethod
    def _of(counts: dict[int, dict[str, int]], hour: int, version: str | None) -> int:
        by_version = counts.get(hour, {})
        return by_version.get(version, 0) if version is not None else sum(by_version.values())


class Clients:
    def __init__(self, gateway: str, model: str, rows: Rows, start: datetime, clock: Clock) -> None:
        self._model, self._rows, self._start, self._clock = (
            model,
            rows.between(timedelta(0), timedelta(hours=HOURS)),
            start,
            clock,
        )
        self._edges = np.searchsorted(self._rows.at, np.arange(_TURNS + 1) * _TURN_MICROS)
        self._client = httpx.AsyncClient(base_url=gateway, timeout=30)
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._due: list[tuple[int, str, str]] = []
        self.seen = Seen()
        self.asked_until = start
        """What has come in until then has been asked about, or is being."""

    async def run(self, stop: asyncio.Event) -> None:
        async with self._client, asyncio.TaskGroup() as group:
            for turn in range(_TURNS):
                await self._until(self._start + (turn + 1) * TURN, stop)
                if stop.is_set():
                    break
                await self._slots.acquire()
                group.create_task(self._ask(turn))
                self.asked_until = self._start + (turn + 1) * TURN
                if labels := self._known((turn + 1) * _TURN_MICROS):
                    await self._slots.acquire()
                    group.create_task(self._label(labels))

    async def _until(self, at: datetime, stop: asyncio.Event) -> None:
        """The clock's rate may change meanwhile."""
        while not stop.is_set() and (remaining := at - self._clock.now()) > timedelta(0):
            try:
                await asyncio.wait_for(stop.wait(), min(self._clock.real_seconds(remaining), _LONGEST_NAP_S))
            except TimeoutError:
                continue

    async def _ask(self, turn: int) -> None:
        rows = self._rows.part(slice(self._edges[turn], self._edges[turn + 1]))
        hour, count = turn * TURN // _HOUR, len(rows.at)
        try:
            if not count:
                return
            response = await self._client.post(f"/v2/models/{self._model}/infer", content=request(rows))
            if response.status_code != httpx.codes.OK:
                self.seen.failed += count
                return
            body = msgspec.json.decode(response.content)
        except httpx.TransportError:
            self.seen.failed += count
            return
        finally:
            self._slots.release()
        predicted = next(output["data"] for output in body["outputs"] if output["name"] == "prediction")
        told = body["parameters"]
        versions = told.get("model_versions") or [body["model_version"]] * count
        ids = told["prediction_ids"]
        for place in range(count):
            truth, version = CLASSES[int(rows.positive[place])], str(versions[place])
            heapq.heappush(self._due, (int(rows.known[place]), ids[place], truth))
            self.seen.answered[hour][version] += 1
            self.seen.right[hour][version] += predicted[place] == truth

    def _known(self, now: int) -> list[dict[str, str]]:
        labels = []
        while self._due and self._due[0][0] <= now:
            _, prediction, label = heapq.heappop(self._due)
            labels.append({"id": prediction, "label": label})
        return labels

    async def _label(self, labels: list[dict[str, str]]) -> None:
        try:
            body = msgspec.json.encode({"labels": labels})
            (await self._client.post(f"/v2/models/{self._model}/feedback", content=body)).raise_for_status()
        finally:
            self._slots.release()


def request(rows: Rows) -> bytes:
    count = len(rows.at)
    inputs = [
        {"name": name, "shape": [count], "datatype": "FP64", "data": rows.features[:, place].tolist()}
        for place, name in enumerate(FEATURES)
    ]
    entities = [f"customer-{each}" for each in rows.customer]
    return msgspec.json.encode({"inputs": inputs, "parameters": {"entity_id": entities}})
