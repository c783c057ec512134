"""Replays events at their own time against the gateway: a request when the flight departs, its label when it has arrived."""

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from pipelines.flights import Flight, Flights
from tools.clock import Clock
from tools.values import Window

_PAUSE_S = 0.01
"""Between two requests of steady traffic: some 60 a second."""


@dataclass(frozen=True)
class Event:
    """One request to come. `label` arrives at `labelled_at`."""

    at: datetime
    entity: str
    features: dict[str, float | str | None]
    label: str
    labelled_at: datetime


def events(flights: Flights, window: Window, shift: timedelta) -> Iterator[Event]:
    """The flights of the window as requests, moved by whole weeks so that weekdays and hours stay what they were."""
    for flight in flights.departing(window):
        yield Event(
            at=flight.departed + shift,
            entity=flight.number,
            features=flight.features,
            label=flight.label,
            labelled_at=flight.arrived + shift,
        )


@dataclass(frozen=True)
class Answer:
    at: datetime
    labelled_at: datetime
    version: str
    correct: bool


@dataclass
class Tally:
    """What the replay has seen with its own eyes, to hold the platform's figures against."""

    answers: list[Answer] = field(default_factory=list)
    failed: int = 0

    def accuracy(self, *, version: str, since: datetime, now: datetime) -> tuple[float | None, int]:
        """Over the answers of `version` since then whose label has come by `now`: the share that was right, and how many."""
        right = [a.correct for a in self.answers if a.version == version and a.at >= since and a.labelled_at <= now]
        return (sum(right) / len(right), len(right)) if right else (None, 0)


class Replay:
    """Sends `events` (ordered by time) at their moments on the clock until stopped; at most `in_flight` requests at once."""

    def __init__(self, gateway: str, model: str, events: Iterable[Event], clock: Clock, *, in_flight: int = 32) -> None:
        self._model = model
        self._events = iter(events)
        self._clock = clock
        self._slots = asyncio.Semaphore(in_flight)
        self._client = httpx.AsyncClient(base_url=gateway, timeout=10)
        self._due: list[tuple[datetime, str, str]] = []
        self.tally = Tally()

    async def run(self, stop: asyncio.Event) -> None:
        async with self._client, asyncio.TaskGroup() as group:
            for event in self._events:
                await self._until(event.at, stop, group)
                if stop.is_set():
                    break
                await self._slots.acquire()
                group.create_task(self._ask(event))

    async def _until(self, at: datetime, stop: asyncio.Event, group: asyncio.TaskGroup) -> None:
        """Wait for the clock to reach `at`, handing labels in as they fall due; the clock's rate may change meanwhile."""
        while not stop.is_set():
            now = self._clock.now()
            self._hand_in(now, group)
            remaining = at - now
            if remaining <= timedelta(0):
                return
            pause = min(self._clock.real_seconds(remaining), 0.02)
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue

    def _hand_in(self, now: datetime, group: asyncio.TaskGroup) -> None:
        labels = []
        while self._due and self._due[0][0] <= now:
            _, prediction, label = heapq.heappop(self._due)
            labels.append({"id": prediction, "label": label})
        if labels:
            group.create_task(self._label(labels))

    async def _ask(self, event: Event) -> None:
        try:
            response = await self._client.post(f"/v2/models/{self._model}/infer", json=_request(event))
            if response.status_code != httpx.codes.OK:
                self.tally.failed += 1
                return
            body = response.json()
        except httpx.HTTPError:
            self.tally.failed += 1
            return
        finally:
            self._slots.release()
        predicted = next(output["data"][0] for output in body["outputs"] if output["name"] == "prediction")
        heapq.heappush(self._due, (event.labelled_at, body["parameters"]["prediction_ids"][0], event.label))
        self.tally.answers.append(
            Answer(event.at, event.labelled_at, str(body["model_version"]), str(predicted) == event.label)
        )

    async def _label(self, labels: list[dict[str, str]]) -> None:
        response = await self._client.post(f"/v2/models/{self._model}/feedback", json={"labels": labels})
        response.raise_for_status()


async def steady(gateway: str, model: str, flights: Iterable[Flight], stop: asyncio.Event, labelled: Counter[str]) -> None:
    """Request after request with its label straight behind it, until stopped; `labelled` counts them by version."""
    async with httpx.AsyncClient(base_url=gateway, timeout=10) as client:
        for flight in flights:
            if stop.is_set():
                return
            event = Event(flight.departed, flight.number, flight.features, flight.label, flight.arrived)
            # A machine that is busy with something else for a while costs answers, and does not end the traffic.
            with contextlib.suppress(httpx.TransportError):
                response = await client.post(f"/v2/models/{model}/infer", json=_request(event))
                if response.is_success:
                    answer = response.json()
                    labels = {"labels": [{"id": answer["parameters"]["prediction_ids"][0], "label": flight.label}]}
                    await client.post(f"/v2/models/{model}/feedback", json=labels)
                    labelled[answer["model_version"]] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PAUSE_S)


def _request(event: Event) -> dict[str, Any]:
    """An Open Inference Protocol request of one row: one tensor per feature."""
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [value],
        }
        for name, value in event.features.items()
    ]
    return {"inputs": inputs, "parameters": {"entity_id": event.entity}}
