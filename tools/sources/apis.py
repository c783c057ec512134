"""Items of an HTTP API, page by page.

The mark is the last page that was read, and digests of its items: the next reading asks for that page again, takes what is new
on it, and goes on. So a page that grows, as the last one does, is read once per item. The API must list oldest first.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pyarrow as pa

from tools.errors import Misused, PermanentError
from tools.sources import lines, secrets
from tools.sources.asking import Client, Gone
from tools.sources.paging import Page, at, paging, with_parameters
from tools.sources.port import Chunk
from tools.sources.reading import HttpReading
from tools.sources.watermarks import MOST_SEEN, Seen, digest
from tools.values import Frozen

_BATCH_BYTES = 64 << 20
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Of a header."""


class _Mark(Frozen):
    at: str
    """URL of the page, without parameters that are secrets."""
    seen: tuple[str, ...] = ()


class Api:
    """`Source`."""

    def __init__(
        self,
        url: str,
        reading: HttpReading,
        *,
        batch_rows: int,
        commit_rows: int,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise PermanentError(
                "an account in the URL of an API would be in marks and messages: use --header 'Authorization: …'"
            )
        if not parts.hostname:
            raise PermanentError(f"{secrets.shown(url)}: it has no host")
        query = parse_qsl(parts.query, keep_blank_values=True)
        self._secrets = {name: secrets.expand(value) for name, value in query if secrets.is_secret(name, value)}
        apart = sorted(each for each in query if secrets.is_secret(*each) and secrets.may_tell_apart(*each))
        self._url = with_parameters(urlunsplit(parts._replace(fragment="")), {}, without=frozenset(self._secrets))
        self._reading = reading
        self._paging = paging(reading.paging)
        self._headers = _headers(reading.headers)
        self._batch_rows = batch_rows
        self._commit_rows = commit_rows
        self._pause = pause
        self.name = f"http:{self._url}" + (f"#{reading.items}" if reading.items else "")
        if apart:
            # Another value may be another API, and must not go on from this one's mark; what it is stays untold.
            self.name += f"~{hashlib.sha256(json.dumps(apart).encode()).hexdigest()[:12]}"
        self.label = next((part for part in reversed(parts.path.split("/")) if part), "")
        self.ordered = self._paging is not None
        self.held_back: dict[str, int] = {}

    def batches(self, mark: str | None) -> Iterator["ItemBatch"]:
        client = Client(self._url, self._headers, self._reading.silence, self._pause)
        try:
            if self._paging is None:
                _, items = self._page(client, self._url)
                yield self._batch([_written(each) for each in items], self._url, None)
                return
            yield from self._collected(client, _Mark.model_validate_json(mark) if mark is not None else None)
        finally:
            client.close()

    def close(self) -> None:
        """Nothing is held between readings."""

    def _collected(self, client: Client, before: _Mark | None) -> Iterator["ItemBatch"]:
        waiting: list[bytes] = []
        size, start, after = 0, before.at if before else self._url, before
        for mark, items in self._pages(client, before):
            waiting += items
            size, after = size + sum(map(len, items)), mark
            if len(waiting) >= self._commit_rows or size >= _BATCH_BYTES:
                yield self._batch(waiting, start, after)
                waiting, size, start = [], 0, after.at
        if waiting:
            yield self._batch(waiting, start, after)

    def _pages(self, client: Client, before: _Mark | None) -> Iterator[tuple[_Mark, list[bytes]]]:
        """What is new on each page, and the mark after it."""
        assert self._paging is not None
        url: str | None = before.at if before else self._paging.first(self._url)
        seen = Seen(before.seen if before else ())
        first, asked = True, set[str]()
        while url is not None:
            if url in asked:
                raise PermanentError(f"{secrets.shown(url)}: the pages of the API go round in a circle")
            asked.add(url)
            try:
                page, items = self._page(client, url)
                digests = [_digest(each) for each in items]
            except Gone:
                if first or not self._paging.missing_is_end:
                    raise
                return
            after = self._paging.next(page)
            after = with_parameters(after, {}, without=frozenset(self._secrets)) if after is not None else None
            if self._paging.counted:
                mark = _Mark(at=after or url)
            elif len(items) > MOST_SEEN:
                raise PermanentError(f"{secrets.shown(url)}: a page of more than {MOST_SEEN:,} items: ask for smaller ones")
            else:
                mark = _Mark(at=url, seen=tuple(digests))
            # An empty page is no place to go on from: it may be after the last one.
            if items:
                new = [each for each, found in zip(items, digests, strict=True) if not seen.has(found)]
                yield mark, [_written(each) for each in new]
            url, seen, first = after, Seen(()), False

    def _page(self, client: Client, url: str) -> tuple[Page, list[Any]]:
        content, links = client.get(with_parameters(url, self._secrets) if self._secrets else url)
        try:
            body = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise PermanentError(f"{secrets.shown(url)}: its answer is no JSON: {error}") from None
        items = at(body, self._reading.items)
        if not isinstance(items, list):
            there = f"; the body has {', '.join(list(body)[:10])}" if isinstance(body, dict) else ""
            raise PermanentError(f"{secrets.shown(url)}: there is no list at {self._reading.items or 'its top'!r}{there}")
        return Page(url, body, links, len(items)), items

    def _batch(self, items: list[bytes], start: str, mark: _Mark | None) -> "ItemBatch":
        after = mark.model_dump_json() if mark is not None else None
        identity = hashlib.sha256(f"{self.name}\n{start}\n{after}\n".encode())
        for each in items:
            identity.update(each)
        name = f"{secrets.shown(start)}" + (f" and on, {len(items):,} items" if mark is not None else "")
        return ItemBatch(name, f"http:{identity.hexdigest()}", after, items, self._batch_rows)


class ItemBatch:
    """`Batch`."""

    def __init__(self, name: str, key: str, mark: str | None, items: list[bytes], batch_rows: int) -> None:
        self.name = name
        self.key: str | None = key
        self.mark = mark
        self._items = items
        self._batch_rows = batch_rows

    def schema(self) -> pa.Schema:
        try:
            return lines.schema_of(self._items)
        except pa.ArrowInvalid as error:
            raise PermanentError(f"{self.name}: no item is an object: {error}") from error

    def chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        return lines.chunks(self._items, schema, self._batch_rows)


def _written(item: Any) -> bytes:
    return json.dumps(item, separators=(",", ":")).encode() + b"\n"


def _digest(item: Any) -> str:
    """Whatever the order in which the server writes its fields."""
    return digest((json.dumps(item, sort_keys=True),))


def _headers(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, Any] = {"Accept": "application/json", "User-Agent": "oppen"}
    for each in given:
        name, colon, value = each.partition(":")
        if not colon or not _NAME.fullmatch(name.strip()):
            raise Misused("a header is written 'Name: value'")
        found[name.strip()] = secrets.expand(value.strip())
        if not found[name.strip()].isascii() or not found[name.strip()].isprintable():
            raise Misused(f"the header {name.strip()} has characters that no header can have")
    return found
