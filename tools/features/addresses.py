"""Where a feature store is: a folder, and for what is shared a registry and an online store by URL."""

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tools.errors import PermanentError
from tools.features import library

PROJECT = "oppen"
_CACHE_S = 600
"""Of Feast's own look at its registry. Ours (`feast.py`) is shorter, and what a reader goes by."""
_TIMEOUT_S = 2
"""A lookup that waits longer is of no use to who asked."""


@dataclass(frozen=True)
class Place:
    folder: Path
    """Absolute. Rows of all views; registry and online store too unless they are elsewhere."""
    registry: str = field(default="", repr=False)
    """`sqlite:///PATH` or `postgresql://...`; empty: a file in the folder."""
    online: str = field(default="", repr=False)
    """`redis://[user:password@]host:port/database`, `rediss://` with TLS; empty: SQLite in the folder."""

    @property
    def offline(self) -> Path:
        return self.folder / "offline"

    @property
    def registry_file(self) -> Path:
        """Unless the registry is elsewhere."""
        return self.folder / "registry.db"

    @property
    def online_digest(self) -> str:
        """Tells this online store from others; without its password, which may change."""
        parts = urlsplit(self.online)
        name = f"{parts.hostname}:{parts.port}{parts.path}" if self.online else "embedded"
        return hashlib.sha256(name.encode()).hexdigest()[:12]

    def settle(self) -> None:
        """Let readers of the embedded online store read while another process writes to it."""
        if not self.online:
            with closing(sqlite3.connect(self.folder / "online.db")) as connection:
                connection.execute("PRAGMA journal_mode=WAL")


def config(place: Place) -> Any:
    """Feast's `RepoConfig`. Raises PermanentError."""
    library.load()
    from feast.repo_config import RegistryConfig, RepoConfig

    registry: dict[str, Any] = {"registry_type": "file", "path": str(place.registry_file)}
    if place.registry:
        # Feast speaks to PostgreSQL by psycopg 3, and wants that said.
        url = place.registry.replace("postgresql://", "postgresql+psycopg://", 1)
        registry = {"registry_type": "sql", "path": url, "sqlalchemy_config_kwargs": {"pool_pre_ping": True}}
    online: dict[str, Any] = {"type": "sqlite", "path": str(place.folder / "online.db")}
    if place.online:
        # Feast drops a row whose event time is stored already, and with it every correction; which row is right is known here.
        online = {"type": "redis", "connection_string": redis_connection(place.online), "skip_dedup": True}
    if registry["registry_type"] == "sql":
        from feast.infra.registry.sql import SqlRegistryConfig

        registry_config: Any = SqlRegistryConfig(**registry, cache_ttl_seconds=_CACHE_S)
    else:
        registry_config = RegistryConfig(**registry, cache_ttl_seconds=_CACHE_S)
    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry=registry_config,
        offline_store={"type": "dask"},
        online_store=online,
        entity_key_serialization_version=3,
    )


def redis_connection(url: str) -> str:
    """As Feast writes it: `host:port,name=value,...`. Raises PermanentError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 6379
        database = int(parts.path.strip("/") or 0)
    except ValueError as error:
        raise PermanentError("the online store: write redis://USER:PASSWORD@HOST:PORT/NUMBER") from error
    if parts.scheme not in ("redis", "rediss"):
        raise PermanentError("the online store: write redis://... or rediss://...")
    options: dict[str, Any] = {"db": database, "socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    if parts.scheme == "rediss":
        options["ssl"] = True
    for name in ("username", "password"):
        if value := unquote(getattr(parts, name) or ""):
            if "," in value:
                raise PermanentError(f"the online store: Feast cannot take a {name} with a comma in it")
            options[name] = value
    # As JSON, or a password of digits would be a number.
    return ",".join([f"{host}:{port}", *(f"{name}={json.dumps(value)}" for name, value in options.items())])
