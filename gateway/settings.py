"""Where the gateway listens, keeps its state and finds the registry, and how much it takes on.

Read from `OPPEN_GATEWAY_*` (the clock and the registry also from `OPPEN_*`, which all programs share); a flag of the same name
wins, e.g. `--max-workers 4`. Lists are JSON in the environment and repeated flags (`--model a --model b`) on the command line.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.completions.servers import CompletionServer
from tools.serving.tokens import TokenPrices

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ENVIRONMENT = ("token", "inference_token", "completion_servers", "token_prices")
_REPEATED = {"models": "--model", "allow_pickle": "--allow-pickle", "runtimes": "--runtime"}
_FORMS = {"runtimes": "MODEL=RUNTIME"}


def _pairs(value: object) -> object:
    """`MODEL=RUNTIME` as flags have it; what else comes is left to pydantic."""
    if isinstance(value, list):
        return dict(str(pair).rpartition("=")[::2] for pair in value)
    return value


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OPPEN_GATEWAY_", frozen=True, populate_by_name=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0: any free one; the log says which."""
    home: Path = Path(".oppen/gateway")
    """Routes, segments and model files. One gateway at a time."""
    models: tuple[str, ...] = ()
    """Models that get a route to their champion if they have none yet."""
    tracking_uri: str = Field(
        default="sqlite:///.oppen/mlflow.db",
        validation_alias=AliasChoices("OPPEN_GATEWAY_TRACKING_URI", "OPPEN_MLFLOW_URI"),
    )
    clock: str = Field(default="system", validation_alias=AliasChoices("OPPEN_GATEWAY_CLOCK", "OPPEN_CLOCK"))
    token: SecretStr | None = None
    """For admin calls. May be left out on loopback only."""
    inference_token: SecretStr | None = None
    """For inference and feedback; none: anybody who reaches the port."""
    allow_pickle: tuple[str, ...] = ()
    """Models whose pickles may be loaded, as policy says. A pickle runs its author's code here."""

    runtimes: Annotated[dict[str, Literal["torchserve"]], BeforeValidator(_pairs)] = {}
    """Models that are not computed in this process, and by what instead."""
    torchserve_url: str | None = None
    """Its inference address."""
    torchserve_management_url: str | None = None
    torchserve_store: Path | None = None
    """The folder that TorchServe has as its `model_store`, as it is seen from here."""
    torchserve_key_file: Path | None = None
    """The `key_file.json` that TorchServe writes where it is started; none: it was started with --disable-token-auth."""
    torchserve_timeout_s: float = Field(default=5.0, ge=0.1, le=600)
    """The longest that a batch is waited for; TorchServe restarts a worker that takes longer."""

    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    max_rows: int = Field(default=4096, ge=1)
    """Rows, or labels, per request."""
    batch_rows: int = Field(default=64, ge=1)
    """Computed together at most, of models that have been told no other number; at most half of `queue_rows` can be told."""
    max_batch_wait_ms: float = Field(default=100.0, ge=0, le=1000)
    """The longest that a model's batches may be told to wait for more rows."""
    queue_rows: int = Field(default=1024, ge=1)
    """Rows waiting per version; beyond it 503."""
    mirror_rows: int = Field(default=1024, ge=1)
    """Rows of requests copied to a model's shadow that wait or are computed; beyond it copies are dropped."""
    mirror_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    """Of those requests' bodies; beyond it copies are dropped, too. Decoded they take up to eight times as much (numbers of two
    digits), so that a quarter of a gibibyte per model is the most that waits; 1024 rows of a hundred features are 1 MiB."""
    max_workers: int = Field(default=8, ge=1, le=1024)
    grace_s: float = Field(default=60.0, ge=0)
    """How long a version stays in memory after it lost its traffic; a rollback within it is instant."""
    drain_s: float = Field(default=1.0, ge=0)
    """How long the gateway goes on answering after SIGTERM while it says that it is not ready."""

    completion_servers: dict[str, CompletionServer] = {}
    """Language-model servers by the name that `serving.json` has: `{"large": {"url": "http://10.0.0.7:8000", "key": "..."}}`.
    From the environment only, because of the keys."""
    token_prices: dict[str, dict[str, TokenPrices]] = {}
    """Of a million tokens, by model and version, `*` for any other version, as decimals in quotes:
    `{"chat": {"*": {"currency": "USD", "input": "0.15", "output": "0.60"}}}`. From the environment only."""
    completion_timeout_s: float = Field(default=600.0, gt=0)
    """A language model's answer may take, its client's own slowness apart."""
    completion_idle_s: float = Field(default=60.0, gt=0)
    """Between two pieces of a stream, the first one included."""
    completion_send_s: float = Field(default=30.0, gt=0)
    """For a client to take a piece of an answer; beyond it the client counts as gone."""
    completion_connections: int = Field(default=256, ge=1)
    """To one server at once; beyond it 503."""
    completion_answer_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Of an answer that is no stream, which is held in memory as a whole."""

    log_records: int = Field(default=50_000, ge=1)
    """Predictions in memory that are not written yet; beyond it 503."""
    log_flush_s: float = Field(default=0.02, gt=0)
    """A line is with the operating system this much after its answer at most."""
    segment_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    segment_age_s: float = Field(default=10.0, gt=0)
    """Predictions can be seen in the store about this long after they were made, at the latest."""
    backlog_bytes: int = Field(default=8 * 1024**3, ge=1024)
    """Complete segments waiting for the loader; beyond it 503."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token is None and self.host not in _LOOPBACK:
            raise ValueError(f"token: set OPPEN_GATEWAY_TOKEN to listen on {self.host}; only loopback goes without")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for model, runtime in self.runtimes.items():
            for needed in ("torchserve_url", "torchserve_management_url", "torchserve_store"):
                if getattr(self, needed) is None:
                    raise ValueError(f"{needed}: set it, for runtimes says {runtime} for {model}")
        return self


def read(arguments: Sequence[str]) -> Settings:
    """Raises pydantic's ValidationError; exits with 2 on an unknown flag."""
    parser = argparse.ArgumentParser("python -m gateway", description="Serve versions of models from the registry.")
    for name, field in Settings.model_fields.items():
        if name in _ENVIRONMENT:
            continue  # every process of the machine can read a command line
        if name in _REPEATED:
            parser.add_argument(_REPEATED[name], dest=name, action="append", metavar=_FORMS.get(name, "MODEL"))
        else:
            parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=f"default: {field.default}")
    given: dict[str, Any] = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return Settings(**given)
