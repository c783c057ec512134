"""Where things are: read from `OPPEN_*` once, by `api/container.py` and the command line. What is acceptable is policy.

Everything has a default that runs on a laptop with nothing installed: state in `.oppen`, SQLite, embedded engines, loopback.
"""

from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url

from tools.values import Frozen


class Sender(Frozen):
    """How one source of alerts proves who it is: exactly one of the three."""

    bearer: SecretStr | None = None
    basic: SecretStr | None = None
    """`user:password`."""
    hmac: SecretStr | None = None
    """Key of HMAC-SHA256 over `{X-Timestamp}.{body}`, sent as `X-Signature: sha256=HEX`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(secret is not None for secret in (self.bearer, self.basic, self.hmac)) != 1:
            raise ValueError("give exactly one of bearer, basic and hmac")
        return self


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OPPEN_", frozen=True)

    home: Path = Path(".oppen")
    """State of everything embedded. One service at a time."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)

    database_url: str = ""
    """`sqlite:///PATH` or `postgresql://...`; default: SQLite in `home`. The engine and the checkpoints follow it."""
    mlflow_uri: str = ""
    """`sqlite:////absolute/mlflow.db` or a tracking server's URL; default: SQLite in `home`."""
    predictions_url: str = ""
    """`chdb:///absolute/folder` or `clickhouse://user:password@host:8123/database`; default: the embedded engine in `home`."""
    segments: Path | None = None
    """Folder of the gateway's segment files to load; default: `home/gateway/segments`."""
    gateway_url: str = "http://127.0.0.1:8080"
    gateway_token: SecretStr | None = None
    prometheus_url: str = ""
    """Empty: no metrics system, and investigations say so."""
    prometheus_token: SecretStr | None = None
    channels: dict[str, list[SecretStr]] = Field(default_factory=dict)
    """Channel -> Apprise URLs, e.g. `{"ops": ["slack://..."]}`; default: everything goes to `home/outbox.jsonl`."""
    policies: Path | None = None
    """YAML file; default: the documented defaults."""
    clock: str = "system"
    senders: dict[str, Sender] = Field(default_factory=dict)
    """Source -> credentials, e.g. `{"alertmanager": {"bearer": "..."}}`. A source that is not named here cannot post."""
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    intake_in_flight: int = Field(default=64, ge=1)
    """Deliveries taken at once; beyond it 503 and Retry-After."""
    executor: str = "local"
    """Stable name of this replica: after a crash its workflows are taken up by the process of the same name."""

    @cached_property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'oppen.db'}"

    @property
    def on_sqlite(self) -> bool:
        return make_url(self.database).get_backend_name() == "sqlite"

    @property
    def engine(self) -> str:
        """SQLite: a file of its own, so that its writers do not wait for ours."""
        return _beside(self.database, "engine.db") if self.on_sqlite else self.database

    @property
    def checkpoints(self) -> str:
        return _beside(self.database, "checkpoints.db") if self.on_sqlite else self.database

    @property
    def mlflow(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.home.absolute() / 'mlflow.db'}"

    @property
    def predictions(self) -> str:
        return self.predictions_url or f"chdb://{self.home.absolute() / 'predictions'}"

    @property
    def segment_folder(self) -> Path:
        return self.segments or self.home / "gateway" / "segments"


def _beside(url: str, name: str) -> str:
    folder = Path(make_url(url).database or "").parent
    return f"sqlite:///{folder / name}"
