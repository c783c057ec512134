"""TorchServe 0.12 as it was recorded: two addresses, tokens, a folder of archives, and its answers word for word.

It really computes: an archive's handler is loaded from the archive, as a worker does it. What it does not have is processes,
metrics, batching, and the time that all of that takes.
"""

import contextlib
import importlib.util
import json
import secrets
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_KEY = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"


class Said(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"code": code, "type": kind, "message": message}


@dataclass
class _Version:
    archive: str
    workers: int
    response_timeout: int
    handler: Any = None
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Model:
    default: str
    versions: dict[str, _Version]


class TwinTorchServe:
    def __init__(self, folder: Path, *, model_api: bool = True) -> None:
        self.store = folder / "store"
        self.store.mkdir()
        self.key_file = folder / "key_file.json"
        # Any two that are free, and the same after a restart.
        self._ports = [0, 0]
        self._model_api = model_api
        self._tokens: dict[str, str] = {}
        self._models: dict[str, _Model] = {}
        self._servers: list[_Listening] = []
        self.thawed = threading.Event()
        self.thawed.set()
        self.lock = threading.RLock()
        self.renewals = 0
        self.slow: dict[str, float] = {}
        """Versions whose every answer takes so many seconds."""
        self.full: dict[str, int] = {}
        """Versions that get no more workers than so many."""

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    # What a test does to it from outside.

    def start(self) -> None:
        """With new tokens and no model, as `--ncs` says."""
        self._models = {}
        self._tokens = {kind: secrets.token_urlsafe(6) for kind in ("management", "inference", "API")}
        self._write_keys()
        answers = (self.answer_inference, self.answer_management)
        for place, answer in enumerate(answers):
            self._servers.append(_Listening(self._ports[place], self, answer))
            self._ports[place] = self._servers[place].port

    def stop(self) -> None:
        self.thaw()
        for server in self._servers:
            server.stop()
        self._servers = []

    def freeze(self) -> None:
        """It takes connections and says nothing."""
        self.thawed.clear()

    def thaw(self) -> None:
        self.thawed.set()

    def expire(self) -> None:
        """The hour is over: what the file holds is taken no more."""
        self._tokens |= {kind: secrets.token_urlsafe(6) for kind in ("management", "inference")}

    def renew(self, kind: str) -> None:
        self.renewals += 1
        self._tokens[kind] = secrets.token_urlsafe(6)
        self._write_keys()

    def _write_keys(self) -> None:
        keys = {
            kind: {"key": token, **({} if kind == "API" else {"expiration time": "2026-11-25T18:04:22.700551431Z"})}
            for kind, token in self._tokens.items()
        }
        self.key_file.write_text(json.dumps(keys, indent=2))
        self.key_file.chmod(0o600)

    # What it answers.

    def answer_inference(self, request: "_Request") -> tuple[int, Any, dict[str, str]]:
        if request.token != self._tokens["inference"]:
            raise Said(400, "InvalidKeyException", _KEY)
        match request.path:
            case ["ping"]:
                return 200, {"status": "Healthy"}, {}
            case ["predictions", model, *version]:
                return self._predict(model, version[0] if version else None, request)
            case _:
                raise Said(404, "ResourceNotFoundException", "Requested resource is not found, please refer to API document.")

    def answer_management(self, request: "_Request") -> tuple[int, Any, dict[str, str]]:
        if request.path == ["token"]:
            if request.token != self._tokens["API"]:
                raise Said(400, "InvalidKeyException", _KEY.replace("Authorization", "Authentication"))
            self.renew(request.query["type"])
            return 200, b"", {}
        if request.token != self._tokens["management"]:
            raise Said(400, "InvalidKeyException", _KEY)
        if not self._model_api and request.method in ("POST", "DELETE"):
            raise Said(405, "MethodNotAllowedException", "Requested method is not allowed, please refer to API document.")
        with self.lock:
            return 200, self._manage(request), {}

    def _manage(self, request: "_Request") -> Any:
        match request.method, request.path:
            case "GET", ["models"]:
                return self._list(int(request.query.get("limit", 100)), int(request.query.get("next_page_token", 0)))
            case "GET", ["models", name]:
                model = self._model(name)
                return [_described(name, model.default, model.versions[model.default])]
            case "GET", ["models", name, "all"]:
                return [_described(name, version, each) for version, each in self._model(name).versions.items()]
            case "POST", ["models"]:
                return self._register(request.query)
            case "PUT", ["models", name, version, "set-default"]:
                model = self._model(name)
                if version not in model.versions:
                    said = f"Model version {version} does not exist for model {name}"
                    raise Said(404, "ModelVersionNotFoundException", said)
                model.default = version
                return {"status": f'Default version successfully updated for model "{name}" to "{version}"'}
            case "PUT", ["models", name, version]:
                found = self._version(name, version)
                found.workers = int(request.query["min_worker"])
                if found.workers > self.full.get(version, found.workers):
                    said = f"Failed to start workers for model {name} version: {version}"
                    raise Said(500, "InternalServerException", said)
                self._load(name, version, found)
                return {"status": f"Workers scaled to {found.workers} for model: {name}, version: {version}"}
            case "DELETE", ["models", name, version]:
                self._version(name, version)
                return self._remove(name, version)
            case _:
                raise Said(404, "ResourceNotFoundException", "Requested resource is not found, please refer to API document.")

    def _list(self, limit: int, start: int) -> Any:
        names = sorted(self._models)
        shown = [
            {"modelName": name, "modelUrl": self._models[name].versions[self._models[name].default].archive}
            for name in names[start : start + limit]
        ]
        more = {"nextPageToken": str(start + limit)} if start + limit < len(names) else {}
        return {**more, "models": shown}

    def _register(self, query: Mapping[str, str]) -> Any:
        url = query["url"]
        if ".." in url:
            raise Said(404, "ModelNotFoundException", f"Relative path is not allowed in url: {url}")
        if not (self.store / url).is_file():
            raise Said(404, "ModelNotFoundException", f"Model not found at: {url}")
        try:
            with zipfile.ZipFile(self.store / url) as archive:
                manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        except zipfile.BadZipFile:
            raise Said(400, "InvalidModelException", "Model name is not defined.") from None
        name = manifest["model"]["modelName"]
        version = manifest["model"]["modelVersion"]
        model = self._models.get(name)
        if model and version in model.versions:
            said = f"Model version {version} is already registered for model {name}"
            raise Said(409, "ConflictStatusException", said)
        workers = int(query.get("initial_workers", 0))
        made = _Version(url, workers, int(query.get("response_timeout", 120)), manifest=manifest)
        model = self._models.setdefault(name, _Model(version, {}))
        model.versions[version] = made
        self._load(name, version, made)
        more = "" if workers else ". Use scale workers API to add workers for the model."
        return {"status": f'Model "{name}" Version: {version} registered with {workers} initial workers{more}'}

    def _load(self, name: str, version: str, made: _Version) -> None:
        if not made.workers or made.handler is not None:
            return
        folder = Path(tempfile.mkdtemp(dir=self.store.parent))
        with zipfile.ZipFile(self.store / made.archive) as archive:
            archive.extractall(folder)
        try:
            handler = _handler(folder, made.manifest["model"]["handler"])
            handler.initialize(_Context(folder, made.manifest, {}))
        except Exception:  # noqa: BLE001  whatever a handler raises
            made.workers = 0
            said = f"Failed to start workers for model {name} version: {version}"
            raise Said(500, "InternalServerException", said) from None
        made.handler = handler

    def _remove(self, name: str, version: str) -> Any:
        model = self._models[name]
        if model.default == version and len(model.versions) > 1:
            raise Said(403, "InvalidModelVersionException", f"Cannot remove default version for model {name}")
        del model.versions[version]
        if not model.versions:
            del self._models[name]
        return {"status": f'Model "{name}" unregistered'}

    def _predict(self, name: str, version: str | None, request: "_Request") -> tuple[int, Any, dict[str, str]]:
        with self.lock:
            model = self._model(name)
            found = self._version(name, version or model.default)
        if not found.workers:
            said = f'Model "{name}" Version {version}" has no worker to serve inference request.'
            raise Said(503, "ServiceUnavailableException", said)
        time.sleep(self.slow.get(version or "", 0.0))
        context = _Context(Path(), found.manifest, request.headers)
        body: Any = json.loads(request.body) if request.headers.get("content-type") == "application/json" else request.body
        try:
            (answer,) = found.handler.handle([{"body": body}], context)
        except Exception:  # noqa: BLE001
            raise Said(503, "InternalServerException", "Prediction failed") from None
        return context.status, answer, context.answer_headers

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            raise Said(404, "ModelNotFoundException", f"Model not found: {name}")
        return self._models[name]

    def _version(self, name: str, version: str) -> _Version:
        model = self._model(name)
        if version not in model.versions:
            said = f"Model version: {version} does not exist for model: {name}"
            raise Said(404, "ModelVersionNotFoundException", said)
        return model.versions[version]


def _described(name: str, version: str, made: _Version) -> dict[str, Any]:
    workers = [
        {"id": str(9000 + n), "startTime": "2026-11-25T17:05:48.846Z", "status": "READY", "memoryUsage": 0, "pid": 30298 + n}
        for n in range(made.workers)
    ]
    return {
        "modelName": name,
        "modelVersion": version,
        "modelUrl": made.archive,
        "runtime": "python",
        "minWorkers": made.workers,
        "maxWorkers": made.workers,
        "batchSize": 1,
        "maxBatchDelay": 100,
        "responseTimeout": made.response_timeout,
        "startupTimeout": 120,
        "deviceType": "cpu",
        "loadedAtStartup": False,
        "workers": workers,
        "jobQueueStatus": {"remainingCapacity": 100, "pendingRequests": 0},
    }


def _handler(folder: Path, name: str) -> Any:
    """The one class of the file, as TorchServe looks for it."""
    spec = importlib.util.spec_from_file_location(f"handler_{folder.name}", folder / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (found,) = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    return found()


class _Context:
    def __init__(self, folder: Path, manifest: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.system_properties = {"model_dir": str(folder)}
        self.manifest = manifest
        self.status = 200
        self.answer_headers: dict[str, str] = {}
        self._headers = headers

    def get_all_request_header(self, place: int) -> Mapping[str, str]:
        return self._headers

    def set_response_status(self, code: int, phrase: str, place: int) -> None:
        self.status = code

    def set_response_header(self, place: int, name: str, value: str) -> None:
        self.answer_headers[name] = value

    def set_response_content_type(self, place: int, value: str) -> None:
        self.answer_headers["content-type"] = value


@dataclass(frozen=True)
class _Request:
    method: str
    path: list[str]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class _Listening:
    """One address. Stopping it cuts every connection, as a process that dies does."""

    def __init__(self, port: int, twin: TwinTorchServe, answer: Any) -> None:
        connections: set[socket.socket] = set()
        self._connections = connections

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in two packets would wait for each other's acknowledgement.
            wbufsize = -1
            disable_nagle_algorithm = True

            def setup(self) -> None:
                connections.add(self.request)
                super().setup()

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                twin.thawed.wait(30)
                parts = urlsplit(self.path)
                path = [unquote(part) for part in parts.path.split("/")[1:]]
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status, said, more = answer(_Request(self.command, path, query, headers, body))
                except Said as refusal:
                    status, said, more = refusal.code, refusal.body, {"content-type": "application/json"}
                content = said if isinstance(said, bytes) else json.dumps(said, indent=2).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in {"content-type": "application/json", **more}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in mid-answer is its own affair."""
