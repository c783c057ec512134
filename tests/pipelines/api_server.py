"""A real HTTP API on loopback, of items in pages, for as long as a block lasts."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, dict[str, str], bytes]


class ApiServer:
    """`items` in pages of two, in every way of paging. What it is to say instead may be put into `instead`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.items: list[Any] = [{"id": n, "who": f"w{n}"} for n in range(5)]
        self.size = 2
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.instead: list[Answer] = []
        """Given once each, first of all."""
        self.routes: dict[str, Callable[[dict[str, str]], Answer]] = {
            "/plain": lambda _: self._json(self.items),
            "/link": self._link,
            "/next": self._next,
            "/cursor": self._cursor,
            "/page": self._page,
            "/offset": self._offset,
        }

    def answer(self, target: str, headers: dict[str, str]) -> Answer:
        self.asked.append(target)
        self.headers.append(headers)
        if self.instead:
            return self.instead.pop(0)
        parts = urlsplit(target)
        route = self.routes.get(parts.path)
        return route(dict(parse_qsl(parts.query))) if route else (404, {}, b"{}")

    def _stretch(self, first: int) -> tuple[list[Any], int | None]:
        end = first + self.size
        return self.items[first:end], end if end < len(self.items) else None

    def _link(self, query: dict[str, str]) -> Answer:
        items, after = self._stretch(int(query.get("from", "0")))
        links = {"Link": f'</link?from={after}>; rel="next"'} if after is not None else {}
        return self._json(items, links)

    def _next(self, query: dict[str, str]) -> Answer:
        items, after = self._stretch(int(query.get("from", "0")))
        # Some repeat what they were asked for, secrets too.
        link = f"{self.url}/next?from={after}&api_key={query.get('api_key', '')}" if after is not None else None
        return self._json({"data": {"items": items}, "paging": {"next": link}})

    def _cursor(self, query: dict[str, str]) -> Answer:
        items, after = self._stretch(int(query.get("after", "0")))
        return self._json({"items": items, "meta": {"cursor": after}})

    def _page(self, query: dict[str, str]) -> Answer:
        items, _ = self._stretch((int(query["p"]) - 1) * self.size)
        return self._json({"items": items}) if items else (404, {}, b'{"detail": "Invalid page."}')

    def _offset(self, query: dict[str, str]) -> Answer:
        first, size = int(query["skip"]), int(query["take"])
        return self._json({"items": self.items[first : first + size]})

    def _json(self, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return 200, headers or {}, json.dumps(body).encode()


@contextlib.contextmanager
def serving() -> Iterator[ApiServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = api.answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that waited no longer."""

    server = Server(("127.0.0.1", 0), Handler)
    api = ApiServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
