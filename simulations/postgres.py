"""A PostgreSQL server of one's own for as long as a block lasts, from the programs that are installed: for drills and tests."""

import contextlib
import glob
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

START_LIMIT_S = 30


@dataclass
class PostgresServer:
    """`url` is that of the maintenance database."""

    url: str
    _names: Iterator[int] = field(default_factory=itertools.count)

    def create(self, template: str | None = None) -> str:
        """URL of a fresh database, empty or a copy of `template` (a URL from here, which nobody may be connected to)."""
        name = f"test_{os.getpid()}_{next(self._names)}"
        source = sql.Identifier(template.rsplit("/", 1)[1] if template else "template0")
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        return f"{self.url.rsplit('/', 1)[0]}/{name}"

    def drop(self, url: str) -> None:
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(url.rsplit("/", 1)[1])))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; Debian keeps them off the path."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    # glob, because the newest of several versions is wanted and Path.glob cannot start at the root by pattern.
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))  # noqa: PTH207
    return Path(found[-1]).parent if found else None


@contextlib.contextmanager
def running(folder: Path, binaries: Path) -> Iterator[PostgresServer]:
    """A server on loopback whose data, in `folder`, need not survive a power cut."""
    data = folder / "data"
    # PostgreSQL refuses to run as root; Debian's package brings a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "oppen", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "max_connections": 200,
        "fsync": "off",
        "full_page_writes": "off",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())],
            stdout=log,
            stderr=subprocess.STDOUT,
            user=user,
            cwd=folder,
        )
    try:
        server = PostgresServer(f"postgresql://oppen@127.0.0.1:{port}/postgres")
        _wait_ready(server.url, process, folder / "log")
        yield server
    finally:
        # SIGINT is the "fast" shutdown: open connections are ended.
        process.send_signal(signal.SIGINT)
        process.wait(START_LIMIT_S)


def _wait_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def throwaway() -> Iterator[PostgresServer | None]:
    """The server that `OPPEN_TEST_POSTGRES` names (its user must be allowed to create databases), or one of our own; None when
    there is neither."""
    url, binaries = os.environ.get("OPPEN_TEST_POSTGRES"), programs()
    if url:
        yield PostgresServer(url)
    elif binaries is None:
        yield None
    else:
        folder = Path(tempfile.mkdtemp(prefix="oppen-postgres-"))
        try:
            with running(folder, binaries) as server:
                yield server
        finally:
            shutil.rmtree(folder)
