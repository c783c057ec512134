"""The store over HTTP, as an API server speaks: paths, verbs, patches, watches, logs, accounts and their rights."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.kubernetes.patches import merged, patched
from tests.kubernetes.selectors import by_fields, by_labels
from tests.kubernetes.store import BY_KIND, BY_PLURAL, Object, Refusal, Resource, Store

_TICK_S = 0.05

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb: as a Role names them."""


class Node(Protocol):
    def log(self, namespace: str, pod: str) -> "Log": ...

    def evict(self, namespace: str, pod: str, message: str) -> None: ...


class Log(Protocol):
    """Lines with their times, and whether more may come."""

    lines: list[tuple[str, str]]
    open: bool


@dataclass
class ApiServer:
    """Started and stopped as a test likes, always on the same port; the store outlives it."""

    store: Store
    node: Node
    rights: dict[str, dict[str, frozenset[Right]]] = field(default_factory=dict)
    """By bearer token and namespace. Without a token everything is allowed, as for an administrator."""
    bookmarks_s: float = 0.2
    used: set[tuple[str, str, Right]] = field(default_factory=set)
    """What was asked for: by which token, in which namespace."""
    interfere: Any = None
    """Called with method, resource and name before each request: what somebody else does in between, or a Refusal to raise."""
    port: int = 0
    watching: int = 0
    opened: int = 0
    """Watches, ever."""
    _http: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None
    _connections: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._http is not None

    def start(self) -> None:
        self._http = _Http(("127.0.0.1", self.port), type("Bound", (_Handler,), {"api": self}))
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """At once: open connections break off."""
        http, self._http = self._http, None
        if http is None or self._thread is None:
            return
        http.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self.store.moved:
            self.store.moved.notify_all()
        http.server_close()  # waits for the threads of all requests

    def break_watches(self) -> None:
        """As a proxy in between does that has had enough."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True


@dataclass(frozen=True)
class _Request:
    resource: Resource
    namespace: str
    name: str | None
    subresource: str | None
    query: dict[str, str]

    def chosen(self, item: Object) -> bool:
        return by_labels(self.query.get("labelSelector", ""))(item) and by_fields(self.query.get("fieldSelector", ""))(item)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ApiServer

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.api._connections.add(self.connection)

    def finish(self) -> None:
        self.api._connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if urlsplit(self.path).path == "/version":
                return self._send(200, {"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
            request = self._request()
            self._allow(request)
            if self.api.interfere is not None:
                self.api.interfere(self.command, request.resource.plural, request.name)
            if self.command == "GET" and request.query.get("watch") in ("true", "1"):
                return self._watch(request)
            if self.command == "GET" and request.subresource == "log":
                return self._log(request)
            code, answer = self._act(request, body)
            self._send(code, answer)
        except Refusal as refusal:
            self._send(refusal.code, refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        return None

    def _request(self) -> _Request:
        parts = urlsplit(self.path)
        steps = [step for step in parts.path.split("/") if step]
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        group, rest = ("", steps[2:]) if steps[:2] == ["api", "v1"] else ("", [])
        if steps[:1] == ["apis"] and len(steps) > 3:
            group, rest = steps[1], steps[3:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        resource = BY_PLURAL.get((group, rest[0])) if rest else None
        if resource is None or (resource.namespaced and not namespace and self.command != "GET"):
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        name, subresource = [*rest, None, None][1:3]
        if subresource is not None and subresource not in resource.subresources:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        return _Request(resource, namespace, name, subresource, query)

    def _allow(self, request: _Request) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        watching = request.query.get("watch") in ("true", "1")
        many = request.name is None
        verb = {
            "GET": "watch" if watching else "list" if many else "get",
            "POST": "create",
            "PUT": "update",
            "PATCH": "patch",
            "DELETE": "deletecollection" if many else "delete",
        }[self.command]
        title = request.resource.plural + (f"/{request.subresource}" if request.subresource else "")
        right = (request.resource.group, title, verb)
        self.api.used.add((token, request.namespace, right))
        if not token:
            return
        if token not in self.api.rights:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if right not in self.api.rights[token].get(request.namespace, ()):
            group = request.resource.group
            raise Refusal(403, "Forbidden", f'cannot {verb} resource "{title}" in API group "{group}"')

    def _act(self, request: _Request, body: bytes) -> tuple[int, Object]:
        store, resource, namespace, name = self.api.store, request.resource, request.namespace, request.name
        match self.command, name, request.subresource:
            case "GET", None, None:
                limit = int(request.query.get("limit") or 0)
                everywhere = namespace if resource.namespaced and namespace else None
                items, version, following = store.page(
                    resource, everywhere, request.chosen, limit, request.query.get("continue")
                )
                bare = [{part: value for part, value in item.items() if part not in ("kind", "apiVersion")} for item in items]
                metadata = {"resourceVersion": str(version), **({"continue": following} if following else {})}
                answer = {
                    "kind": f"{resource.kind}List",
                    "apiVersion": resource.api_version,
                    "metadata": metadata,
                    "items": bare,
                }
                return 200, answer
            case "GET", str(name), "scale":
                return 200, _scale(store.get(resource, namespace, name))
            case "GET", str(name), None | "status":
                return 200, store.get(resource, namespace, name)
            case "POST", None, None:
                return 201, store.create(resource, namespace, _json(body))
            case "POST", str(name), "eviction":
                self.api.node.evict(namespace, name, "The pod was evicted by its API")
                return 201, {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}
            case "PUT" | "PATCH", str(name), "scale":
                return 200, _scale(store.update(resource, namespace, name, lambda item: self._scaled(item, body)))
            case "PUT", str(name), None | "status":
                return 200, store.update(
                    resource, namespace, name, lambda _: _json(body), status=request.subresource == "status"
                )
            case "PATCH", str(name), None | "status":
                status = request.subresource == "status"
                return 200, store.update(resource, namespace, name, lambda item: self._patched(item, body), status=status)
            case "DELETE", str(name), None:
                options = _json(body) if body else {}
                uid = (options.get("preconditions") or {}).get("uid")
                force = options.get("gracePeriodSeconds") == 0
                return 200, store.delete(resource, namespace, name, uid=uid, force=force)
            case _:
                raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _patched(self, item: Object, body: bytes) -> Object:
        change = _json(body)
        match self.headers.get("Content-Type", ""):
            case "application/merge-patch+json":
                result: Object = merged(item, change)
            case "application/json-patch+json":
                result = patched(item, change)
            case other:
                raise Refusal(415, "UnsupportedMediaType", f"this server does not know the patch {other!r}")
        return result

    def _scaled(self, item: Object, body: bytes) -> Object:
        scale = _scale(item)
        wanted = self._patched(scale, body) if self.command == "PATCH" else _json(body)
        item["metadata"]["resourceVersion"] = wanted["metadata"].get("resourceVersion", "")
        item["spec"]["replicas"] = wanted["spec"]["replicas"]
        return item

    def _watch(self, request: _Request) -> None:
        store, resource = self.api.store, request.resource
        ends = time.monotonic() + float(request.query.get("timeoutSeconds") or 1800)
        asked = request.query.get("resourceVersion")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.api.watching += 1
        self.api.opened += 1
        try:
            with store.moved:
                version = store.version if asked in (None, "", "0") else int(asked)
                first = store.find(resource, request.namespace or None, request.chosen) if asked in (None, "", "0") else []
            for item in first:
                self._event("ADDED", item)
            marked = time.monotonic()
            while time.monotonic() < ends and self.api.running:
                with store.moved:
                    changes = store.since(version)
                    if not changes:
                        store.moved.wait(_TICK_S)
                for change in changes:
                    version = change.version
                    self._tell(request, change.type, change.resource, change.object, change.before)
                due = time.monotonic() - marked > self.api.bookmarks_s
                if due and request.query.get("allowWatchBookmarks") in ("true", "1"):
                    marked = time.monotonic()
                    mark = {"resourceVersion": str(version)}
                    self._event("BOOKMARK", {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": mark})
        except Refusal as refusal:
            self._event("ERROR", refusal.status)
        finally:
            self.api.watching -= 1
        self._chunk(b"")
        if not self.api.running:
            self.close_connection = True

    def _tell(self, request: _Request, kind: str, resource: Resource, item: Object, before: Object | None) -> None:
        """An object that comes under the selector is ADDED to who watches by it, one that leaves it is DELETED."""
        if resource != request.resource or request.namespace not in ("", item["metadata"].get("namespace")):
            return
        was, is_now = before is not None and request.chosen(before), request.chosen(item)
        if kind == "MODIFIED":
            kind = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED" if was else ""
        elif not is_now:
            kind = ""
        if kind:
            self._event(kind, item)

    def _log(self, request: _Request) -> None:
        pod = self.api.store.get(request.resource, request.namespace, request.name or "")
        statuses = pod["status"].get("containerStatuses") or [{}]
        waiting = (statuses[0].get("state") or {}).get("waiting")
        if "name" not in statuses[0] or waiting is not None:
            raise Refusal(400, "BadRequest", f'container in pod "{request.name}" is waiting to start')
        if request.query.get("container") not in (None, statuses[0]["name"]):
            raise Refusal(400, "BadRequest", f"container {request.query['container']} is not valid for pod {request.name}")
        log = self.api.node.log(request.namespace, request.name or "")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for stamp, text in _asked(log, request.query, lambda: self.api.running):
            line = f"{stamp} {text}" if request.query.get("timestamps") == "true" else text
            self._chunk(f"{line}\n".encode())
        self._chunk(b"")

    def _event(self, kind: str, item: Object) -> None:
        self._chunk(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def _send(self, code: int, answer: Object) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _asked(log: Log, query: dict[str, str], running: Any) -> Iterator[tuple[str, str]]:
    place = 0
    if tail := query.get("tailLines"):
        place = max(len(log.lines) - int(tail), 0)
    since = query.get("sinceTime", "")
    left = int(query.get("limitBytes") or 1 << 40)
    while True:
        over = not log.open
        while place < len(log.lines):
            stamp, text = log.lines[place]
            place += 1
            if stamp >= since and left > 0:
                left -= len(text) + 1
                yield stamp, text
        if over or query.get("follow") != "true" or not running():
            return
        time.sleep(_TICK_S / 5)


def _scale(item: Object) -> Object:
    metadata = {name: item["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    status = {"replicas": (item.get("status") or {}).get("replicas", 0)}
    spec = {"replicas": item["spec"].get("replicas", 0)}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Refusal(400, "BadRequest", "the object provided is unrecognized") from None


NAMESPACE = BY_KIND["Namespace"]
