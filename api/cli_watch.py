"""`oppen jobs watch` and `oppen rollouts watch`: how something stands, as the service tells it, until it is over."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import typer

from api.cli_remote import refusal, request_error
from api.terminal import Refused, WrongUse

_SILENCE_S = 60.0
"""The service sends a sign of life each 15 s: after this long the connection is dead."""
_PATIENCE_S = 60.0
"""For a service that is away, restarting perhaps."""
_PAUSE_S = 2.0
_WIDTH = 24


def watch(url: str, key: str, path: str, line: Callable[[dict[str, Any]], str], as_json: bool) -> dict[str, Any]:
    """Prints each state, on a terminal over the one before, and returns the last. With `as_json` each is a line.

    Raises Refused when the service says no, or is away for a minute.
    """
    last: dict[str, Any] = {}
    if as_json:
        for last in states(url, key, path):
            typer.echo(json.dumps(last))
        return last
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        for last in states(url, key, path):
            typer.echo(line(last))
        return last
    with Live(Text(""), console=console, auto_refresh=False) as shown:
        for last in states(url, key, path):
            shown.update(Text(line(last)), refresh=True)
    return last


def states(url: str, key: str, path: str, pause_s: float = _PAUSE_S) -> Iterator[dict[str, Any]]:
    """Each once, through connections that break: it goes on after the last that came."""
    import httpx

    if not key:
        raise WrongUse("set OPPEN_KEY to an API key; `oppen keys create` makes one")
    seen: str | None = None
    heard = time.monotonic()
    with httpx.Client(timeout=httpx.Timeout(30, read=_SILENCE_S)) as client:
        while True:
            headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
            try:
                with client.stream(
                    "GET", f"{url.rstrip('/')}{path}", headers=headers | ({"Last-Event-ID": seen} if seen else {})
                ) as answer:
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return
                    if not answer.is_success and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        answer.read()
                        raise refusal(url, answer)
                    for name, value in _fields(answer.iter_lines()):
                        heard = time.monotonic()
                        if name == "id":
                            seen = value
                        elif name == "data":
                            yield json.loads(value)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise request_error(url, error) from error
            except httpx.HTTPError as error:
                if time.monotonic() - heard > _PATIENCE_S or seen is None:
                    raise request_error(url, error) from error
            if time.monotonic() - heard > _PATIENCE_S:
                raise Refused(f"{url} has told nothing for {_PATIENCE_S:.0f} s")
            time.sleep(pause_s)


def bar(fraction: float) -> str:
    done = round(min(max(fraction, 0.0), 1.0) * _WIDTH)
    return f"[{'#' * done}{'.' * (_WIDTH - done)}] {fraction:4.0%}"


def left(seconds: float) -> str:
    """`2:05:00`, `1:30`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _fields(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for text in lines:
        name, _, value = text.partition(": ")
        yield name, value
