"""ClickHouse's HTTP interface over the embedded engine, as far as clickhouse-connect speaks it: `python -m ... FOLDER`.

A ClickHouse server cannot be installed from a package index; the engine can. So the client, its requests and the formats on the
wire are the real ones, and so is what executes the SQL; only the HTTP front is the tests' own. Prints its port, then serves
until it is killed.
"""

import re
import sys
import tempfile
import threading
from base64 import b64decode
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame  # type: ignore[import-untyped]

USER, PASSWORD = "oppen", "p@ss/w:rd"
_OF_HTTP = {
    "database", "query", "session_id", "query_id", "compress", "decompress", "enable_http_compression", "buffer_size", "role",
    "wait_end_of_query", "client_protocol_version", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
}  # fmt: skip
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)
_ERROR = re.compile(r"Code:\s*(\d+)")


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    engine: Any
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._reply(200, b"Ok.\n")

    def do_POST(self) -> None:
        body = self._body()
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic" or b64decode(given).decode() != f"{USER}:{PASSWORD}":
            self._reply(403, b"Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", code="516")
            return
        given_parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if (kind := self.headers.get("Content-Type", "")).startswith("multipart/form-data"):
            # So a client sends what is too long for an address.
            given_parameters |= _fields(kind, body)
            body = b""
        settings = {k: v for k, v in given_parameters.items() if k not in _OF_HTTP and not k.startswith("param_")}
        parameters = {k.removeprefix("param_"): v for k, v in given_parameters.items() if k.startswith("param_")}
        statement, data = given_parameters.get("query", "").encode(), body
        if not statement:
            statement, _, data = body.partition(b"\n") if body.startswith(b"INSERT") else (body, b"", b"")
        with self.lock:
            try:
                content = self._run(statement.decode(), data, settings, parameters)
            except RuntimeError as error:
                message = str(error)
                code = _ERROR.search(message)
                self._reply(500, message.encode(), code=code[1] if code else "1002")
            else:
                answered = _FORMAT.search(statement.decode())
                self._reply(200, content, kind=answered[1] if answered else "TabSeparated" if content else None)

    def _run(self, statement: str, data: bytes, settings: dict[str, str], parameters: dict[str, str]) -> bytes:
        try:
            for name, value in settings.items():
                self.engine.query(f"SET {name} = '{value}'")
            if data:
                with tempfile.NamedTemporaryFile() as file:
                    file.write(data)
                    file.flush()
                    at = _FORMAT.search(statement)
                    assert at is not None, statement
                    statement = f"{statement[: at.start()]} FROM INFILE '{file.name}' {at[0]}"
                    return bytes(self.engine.query(statement, "TabSeparated", params=parameters).bytes() or b"")
            return bytes(self.engine.query(statement, "TabSeparated", params=parameters).bytes() or b"")
        finally:
            for name in settings:
                self.engine.query(f"SET {name} = DEFAULT")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return lz4.frame.decompress(body) if self.headers.get("Content-Encoding") == "lz4" else body

    def _reply(self, status: int, content: bytes, *, kind: str | None = None, code: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in {"X-ClickHouse-Format": kind, "X-ClickHouse-Exception-Code": code}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


def _fields(kind: str, body: bytes) -> dict[str, str]:
    form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    found = {}
    for part in form.iter_parts():
        value = part.get_payload(decode=True)
        assert isinstance(value, bytes)
        found[str(part.get_param("name", header="content-disposition"))] = value.decode()
    return found


def main() -> None:
    Front.engine = chdb.connect(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    print(server.server_port, flush=True)  # noqa: T201 - whoever started it reads it
    server.serve_forever(poll_interval=0.01)


if __name__ == "__main__":
    main()
