"""Waking readers of this process when something they follow was committed. A hint, never the truth: who is woken reads SQL."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Signals:
    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listen(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set by each `wake`; clear it before reading, so that what comes meanwhile is not missed."""
        news = asyncio.Event()
        self._listeners.setdefault(topic, set()).add(news)
        try:
            yield news
        finally:
            self._listeners[topic].discard(news)
            if not self._listeners[topic]:
                del self._listeners[topic]

    def listeners(self, topic: str) -> int:
        """How many follow it in this process."""
        return len(self._listeners.get(topic, ()))

    def wake(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for news in self._listeners.get(topic, ()):
                news.set()
