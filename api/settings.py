"""Where things are: read from `OPPEN_*` once, by `api/container.py` and the command line. What is acceptable is policy.

Everything has a default that runs on a laptop with nothing installed: state in `.oppen`, SQLite, embedded engines, loopback.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from api import addresses
from pipelines.feature_jobs import Job
from tools.errors import PermanentError
from tools.features.addresses import Place
from tools.jobs.manifests import Settings as ClusterJobs
from tools.registry.library import artifact_location
from tools.rollouts.canaries import Settings as ClusterRollouts
from tools.serving.replicas import Settings as ClusterServing
from tools.values import Frozen

PREFIX = "OPPEN_"
SOURCES = ("alertmanager", "grafana", "cloudevents", "generic", "flagger")

_NOT_OURS = ("OPPEN_GATEWAY_", "OPPEN_TEST_", "OPPEN_URL", "OPPEN_KEY")
"""Read by the gateway, the tests and the commands that call the service."""


class WrongSettings(Exception):
    """`faults`: for each, the variable and what to do about it. Values are left out: they may be secrets."""

    def __init__(self, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__("\n".join(f"{variable}: {what}" for variable, what in faults))
        self.faults = faults


class Sender(Frozen):
    """How one source of alerts proves who it is: exactly one of these."""

    bearer: SecretStr | None = None
    basic: SecretStr | None = None
    """`user:password`."""
    hmac: SecretStr | None = None
    """Key of HMAC-SHA256 over `{X-Timestamp}.{body}`, sent as `X-Signature`, in hexadecimal."""
    github: SecretStr | None = None
    """Key of HMAC-SHA256 over the body, sent as `X-Hub-Signature-256: sha256=HEX`. Who sees a delivery can send it again."""
    canary: SecretStr | None = None
    """Key that the password of each Canary is made of; its user is `NAMESPACE.NAME`, and it speaks for that one only. For
    `flagger`, which can send nothing but the user of a URL."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [secret for secret in (self.bearer, self.basic, self.hmac, self.github, self.canary) if secret is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of bearer, basic, hmac, github and canary")
        if not given[0].get_secret_value():
            raise ValueError("an empty secret lets everybody in")
        if self.basic is not None and ":" not in self.basic.get_secret_value():
            raise ValueError("basic is written user:password")
        return self


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    home: Path = Path(".oppen")
    """State of everything embedded. One service at a time."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str = ""
    """What people's messages link to, such as `https://oppen.example`; default: the host and port above."""

    database_url: str = ""
    """`sqlite:///PATH` or `postgresql://...`; default: SQLite in `home`. The engine and the checkpoints follow it."""
    mlflow_uri: str = ""
    """`sqlite:////absolute/mlflow.db` or a tracking server's URL; default: SQLite in `home`."""
    predictions_url: str = ""
    """`chdb:///absolute/folder` or `clickhouse://user:password@host:8123/database`; default: the embedded engine in `home`."""
    lake: str = ""
    """Raw data, whose tables are watched and that features are computed from: a folder of Parquet, `chdb:///absolute/folder` or
    `clickhouse://user@host:8123/database`. Empty: none."""
    lake_password: SecretStr | None = None
    """Of the server, unless the URL has one."""
    segments: Path | None = None
    """Folder of the gateway's segment files to load; default: `home/gateway/segments`."""
    gateway_url: str = "http://127.0.0.1:8080"
    gateway_token: SecretStr | None = None
    jobs: str = Field(default="local", pattern=r"^(local|kubernetes:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$")
    """What runs trainings: `local`, processes of this machine in `home/jobs`; or `kubernetes:NAMESPACE`."""
    jobs_cluster: ClusterJobs | None = None
    """What the cluster offers to jobs, e.g. `{"image": "..."}`; needed with `kubernetes:`."""
    job_secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Variables that a policy's training may ask for by name; on a cluster they are in its Secret."""
    evaluation_key: SecretStr | None = Field(default=None, min_length=16)
    """What the evaluations of candidates are signed with; the jobs that evaluate get it, trainings do not. Default: one is made
    in `home/evaluation-key`. Several replicas share one; on a cluster it is in the jobs' Secret too."""
    rollouts: str = Field(default="gateway", pattern=r"^(gateway|flagger:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$")
    """What moves the traffic of rollouts: `gateway`, our own; or `flagger:NAMESPACE`, Flagger's Canaries there."""
    rollouts_cluster: ClusterRollouts | None = None
    """What Flagger reaches and how it is set, e.g. `{"hooks": "http://oppen:8000", "prometheus": "http://prometheus:9090"}`;
    needed with `flagger:`, as is `{"flagger": {"canary": "..."}}` among the senders."""
    scaling: str = Field(default="workers", pattern=r"^(workers|kubernetes:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$")
    """What `Scale` changes: `workers`, of the gateway's process; or `kubernetes:NAMESPACE`, replicas of Deployments there."""
    scaling_cluster: ClusterServing = ClusterServing()
    """Which Deployments, e.g. `{"deployment": "{model}-primary", "most": 8}`; looked at with `kubernetes:`."""
    kubeconfig: Path | None = None
    """How the cluster of `kubernetes:` and `flagger:` is reached from outside; none: as a pod, by its service account."""
    prometheus_url: str = ""
    """Empty: no metrics system, and investigations say so."""
    prometheus_token: SecretStr | None = None
    opencost_url: SecretStr | None = None
    """OpenCost's API, or Kubecost's, which bills are held against, e.g. `http://opencost.opencost:9003`; with `/model` where it
    is behind that. Empty: there is nothing to hold it against, and the service says so."""
    opencost_token: SecretStr | None = None
    """Sent as `Authorization: Bearer`, where something before it asks for that."""
    opencost_currency: str = Field(default="", pattern=r"^([A-Z]{3})?$")
    """Which it reckons in, ISO 4217: it does not say so itself. Default: the price book's."""
    opencost_controllers: dict[str, str] = Field(default_factory=dict)
    """Our workload -> the controller that it runs under, where that has another name, e.g. `{"gateway": "oppen", "gateway
    (idle)": "oppen", "gateway (shadow)": "oppen"}`."""
    channels: dict[str, list[SecretStr]] = Field(default_factory=dict)
    """Channel -> Apprise URLs, e.g. `{"ops": ["slack://..."]}`; default: everything goes to `home/outbox.jsonl`."""
    features: Path | None = None
    """Folder of the feature store; none: there is no feature store, and the service says so."""
    features_registry: SecretStr | None = None
    """`postgresql://...` or `sqlite:///PATH`, to share definitions; default: a file in `features`."""
    features_online: SecretStr | None = None
    """`redis://[user:password@]host:port/number` (`rediss://`: TLS); default: SQLite in `features`."""
    feature_definitions: str = Field(default="pipelines.flight_features", pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    """Module whose `VIEWS` are computed. It is imported and run."""
    policies: Path | None = None
    """YAML file; default: the documented defaults."""
    prices: Path | None = None
    """YAML file of what things cost; default: list-like prices in USD, the same as infra/prices/default.yaml."""
    load_balancers: int = Field(default=0, ge=0, le=1000)
    """How many are paid for by the hour in front of the gateway; none on a laptop."""
    lineage: str = ""
    """Where jobs tell what came from where: a file, which the service takes in, or an address; default: `home/lineage.jsonl`.
    `off`: the commands tell nothing."""
    clock: str = Field(default="system", pattern="^(system|shared:.+)$")
    """`system`, or `shared:PATH` in a demo."""
    senders: dict[str, Sender] = Field(default_factory=dict)
    """Source -> credentials, e.g. `{"alertmanager": {"bearer": "..."}}`. A source that is not named here cannot post."""
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    intake_in_flight: int = Field(default=64, ge=1)
    """Deliveries taken at once; beyond it 503 and Retry-After."""
    executor: str = "local"
    """Stable name of this replica: after a crash its workflows are taken up by the process of the same name."""

    @model_validator(mode="after")
    def _cluster(self) -> Self:
        if self.jobs != "local" and self.jobs_cluster is None:
            raise ValueError('jobs_cluster: say what the cluster offers, at least its image: {"image": "..."}')
        if self.jobs != "local" and self.evaluation_key is None:
            raise ValueError("evaluation_key: on a cluster it is in the jobs' Secret (OPPEN_EVALUATION_KEY); give it here too")
        return self

    @model_validator(mode="after")
    def _flagger(self) -> Self:
        if self.rollouts != "gateway":
            if self.rollouts_cluster is None:
                raise ValueError('rollouts_cluster: say where Flagger reaches us: {"hooks": "...", "prometheus": "..."}')
            if self.canary_key is None:
                raise ValueError('senders: Flagger asks before each step, so it needs a key: {"flagger": {"canary": "..."}}')
        return self

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        try:
            if url and make_url(url).get_backend_name() not in ("sqlite", "postgresql"):
                raise ValueError("use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")
        except ArgumentError as error:
            raise ValueError("this is no URL: use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE") from error
        return url

    @field_validator("mlflow_uri")
    @classmethod
    def _mlflow(cls, uri: str) -> str:
        return _of_scheme(uri, "sqlite", "http", "https")

    @field_validator("predictions_url")
    @classmethod
    def _predictions(cls, url: str) -> str:
        return _of_scheme(url, "chdb", "clickhouse", "clickhouses", "http", "https")

    @field_validator("lake")
    @classmethod
    def _lake(cls, url: str) -> str:
        return _of_scheme(url, "", "file", "chdb", "clickhouse", "clickhouses", "http", "https")

    @field_validator("features", "segments", "policies", "prices", "kubeconfig", mode="before")
    @classmethod
    def _unset(cls, path: object) -> object:
        """Empty is not the folder that one happens to be in."""
        return None if path == "" else path

    @field_validator("features_registry")
    @classmethod
    def _registry(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _of_scheme(url.get_secret_value(), "sqlite", "postgresql")
        return url

    @field_validator("features_online")
    @classmethod
    def _online(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _of_scheme(url.get_secret_value(), "redis", "rediss")
        return url

    @field_validator("opencost_url")
    @classmethod
    def _opencost(cls, url: SecretStr | None) -> SecretStr | None:
        if not url:
            return None
        from tools.costs.opencost import address

        try:
            address(url.get_secret_value())
        except PermanentError as error:
            raise ValueError(f"{error}: write http://HOST:PORT, with /model where it is behind that") from error
        return url

    @field_validator("gateway_token", "prometheus_token", "opencost_token")
    @classmethod
    def _token(cls, token: SecretStr | None) -> SecretStr | None:
        """What is no header would be told in the error about it. That a file's last line ends with a newline is none of it."""
        said = token.get_secret_value().strip() if token else ""
        if not all("!" <= letter <= "~" for letter in said):
            raise ValueError("a token is of letters, digits and signs, without blanks")
        return SecretStr(said) if said else None

    @field_validator("gateway_url", "prometheus_url", "public_url")
    @classmethod
    def _web(cls, url: str) -> str:
        return _of_scheme(url, "http", "https").rstrip("/")

    @field_validator("senders")
    @classmethod
    def _sources(cls, senders: dict[str, Sender]) -> dict[str, Sender]:
        unknown = sorted(senders.keys() - set(SOURCES))
        if unknown:
            raise ValueError(f"there is no source {', '.join(unknown)}: use {', '.join(SOURCES)}")
        return senders

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
    def address(self) -> str:
        """Where people reach the service, without a slash at the end."""
        return self.public_url or addresses.url(self.host, self.port)

    @property
    def canary_key(self) -> SecretStr | None:
        sender = self.senders.get("flagger")
        return None if sender is None else sender.canary

    @property
    def first_key(self) -> Path:
        """Where the first start leaves an admin key."""
        return self.home.absolute() / "first-admin-key"

    @property
    def lineage_file(self) -> Path | None:
        """The file of events that the service takes in; None where jobs send them to an address, or nowhere."""
        if self.lineage == "off" or self.lineage.startswith(("http://", "https://")):
            return None
        return Path(self.lineage.removeprefix("file://")).expanduser() if self.lineage else self.home / "lineage.jsonl"

    @property
    def feature_place(self) -> Place | None:
        if self.features is None:
            return None
        registry, online = (
            given.get_secret_value() if given else "" for given in (self.features_registry, self.features_online)
        )
        return Place(self.features.absolute(), registry, online)

    @property
    def feature_job(self) -> Job | None:
        """None: there is no feature store."""
        if (place := self.feature_place) is None:
            return None
        password = self.lake_password.get_secret_value() if self.lake_password else None
        lineage = self.lineage or str(self.home.absolute() / "lineage.jsonl")
        return Job(place, self.lake, self.feature_definitions, self.clock, password, lineage, self.home.absolute())

    @property
    def artifact_folder(self) -> Path | None:
        """Of MLflow's artifacts, where they are beside an embedded database."""
        location = artifact_location(self.mlflow)
        return Path(unquote(urlsplit(location).path)) if location is not None else None

    @property
    def lake_folder(self) -> Path | None:
        """Where the lake lies on this machine."""
        kind, path = urlsplit(self.lake).scheme, unquote(urlsplit(self.lake).path)
        return Path(path).absolute() if path and kind in ("", "file", "chdb") else None

    @property
    def segment_folder(self) -> Path:
        return self.segments or self.home / "gateway" / "segments"


def read() -> Settings:
    """From the environment. Raises WrongSettings, which names the variables."""
    try:
        return Settings()
    except ValidationError as error:
        raise WrongSettings(
            tuple(_fault(fault["loc"], _plain(fault["msg"])) for fault in error.errors(include_input=False))
        ) from error
    except SettingsError as error:
        # A value that should be JSON and is none. The library's words name the field; its cause quotes the value.
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise WrongSettings(((f"{PREFIX}{field.upper()}", "this is no JSON"),)) from None


def unknown() -> list[str]:
    """Variables that look like settings and are none: a slip of the pen would else be a default in silence."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(
        name for name in os.environ if name.startswith(PREFIX) and name not in known and not name.startswith(_NOT_OURS)
    )


def _fault(location: tuple[int | str, ...], message: str) -> tuple[str, str]:
    """What is wrong between several fields says in its words which one is to be set."""
    if location:
        return _variable(location), message
    field, _, what = message.partition(": ")
    return _variable((field,)), what


def _variable(location: tuple[int | str, ...]) -> str:
    field, *rest = location
    return ".".join([f"{PREFIX}{field}".upper(), *map(str, rest)])


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _of_scheme(url: str, *schemes: str) -> str:
    if url and urlsplit(url).scheme not in schemes:
        raise ValueError(f"use {', '.join(f'{scheme}://...' for scheme in schemes)}")
    return url


def _beside(url: str, name: str) -> str:
    folder = Path(make_url(url).database or "").parent
    return f"sqlite:///{folder / name}"
