"""GET, from one host only, with bounds on tries, time and size; what is sent to prove who asks is in no message."""

import email.utils
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from tools.errors import PermanentError, TemporaryError
from tools.sources.secrets import shown

_TRIES = 5
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 60.0
"""A server that asks for more is left alone: TemporaryError says for how long."""
_MOST_BYTES = 64 << 20
_REDIRECTS = 5
_WHOLE = 10
"""An answer may take so many times the time-out, which is for a silence."""
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Gone(PermanentError):
    """404."""


class Client:
    def __init__(
        self, origin: str, headers: Mapping[str, str], silence: timedelta, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`origin`: any URL of the only host that is asked; the headers go nowhere else."""
        self._origin = _origin(origin)
        self._pause = pause
        self._silence_s = silence.total_seconds()
        logging.getLogger("httpx").addFilter(_masked)
        self._client = httpx.Client(headers=dict(headers), timeout=self._silence_s, follow_redirects=False)

    def get(self, url: str) -> tuple[bytes, dict[str, str]]:
        """Body, and links by `rel`. Raises Gone, PermanentError, and TemporaryError when the server stays away."""
        for tried in range(1, _TRIES + 1):
            try:
                return self._redirected(url)
            except TemporaryError as error:
                wait_s = error.retry_after.total_seconds()
                if tried == _TRIES or wait_s > _LONGEST_WAIT_S:
                    raise
                self._pause(max(wait_s, _FIRST_WAIT_S * 2 ** (tried - 1)))
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        self._client.close()

    def _redirected(self, url: str) -> tuple[bytes, dict[str, str]]:
        for _ in range(_REDIRECTS + 1):
            if _origin(url) != self._origin:
                raise PermanentError(
                    f"the API leads to another host, {urlsplit(url).netloc.rpartition('@')[2]}: it is not asked"
                )
            body, answer = self._once(url)
            if answer.next_request is None:
                return body, {rel: link["url"] for rel, link in answer.links.items() if rel and "url" in link}
            url = urljoin(url, answer.headers["location"])
        raise PermanentError(f"{shown(url)}: redirected more than {_REDIRECTS} times")

    def _once(self, url: str) -> tuple[bytes, httpx.Response]:
        deadline = time.monotonic() + self._silence_s * _WHOLE
        try:
            with self._client.stream("GET", url) as answer:
                _judge(url, answer)
                body = bytearray()
                for block in answer.iter_bytes():
                    body += block
                    if len(body) > _MOST_BYTES:
                        raise PermanentError(f"{shown(url)}: answers with over {_MOST_BYTES >> 20} MiB: ask for smaller pages")
                    if time.monotonic() > deadline:
                        raise TemporaryError(f"{shown(url)}: its answer takes more than {self._silence_s * _WHOLE:.0f} s")
                return bytes(body), answer
        except httpx.TransportError as error:
            # Their text is of the connection, and has no URL in it.
            raise TemporaryError(f"{shown(url)}: {type(error).__name__}: {error}", retry_after=timedelta(0)) from error
        except (httpx.InvalidURL, httpx.DecodingError, UnicodeError) as error:
            raise PermanentError(f"{shown(url)}: {type(error).__name__}") from error


def _masked(record: logging.LogRecord) -> bool:
    """httpx tells the log what it asks for, parameters and all."""
    if isinstance(record.args, tuple):
        record.args = tuple(shown(str(each)) if isinstance(each, httpx.URL) else each for each in record.args)
    return True


def _judge(url: str, answer: httpx.Response) -> None:
    status = answer.status_code
    if answer.is_success or answer.next_request is not None:
        return
    said = f"{shown(url)}: {status} {answer.reason_phrase}".rstrip()
    if status in _MAY_PASS:
        raise TemporaryError(said, retry_after=_retry_after(answer))
    if status == httpx.codes.NOT_FOUND:
        raise Gone(said)
    hint = ": is a header missing or out of date?" if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) else ""
    raise PermanentError(said + hint)


def _retry_after(answer: httpx.Response) -> timedelta:
    said = answer.headers.get("retry-after", "")
    if said.isdecimal():
        return timedelta(seconds=min(int(said), 10**8))
    try:
        return max(email.utils.parsedate_to_datetime(said).astimezone(UTC) - datetime.now(UTC), timedelta(0))
    except ValueError:
        return timedelta(0)


def _origin(url: str) -> tuple[Any, ...]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise PermanentError(f"{shown(url)}: its port is none") from error
    return parts.scheme, parts.username, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
