"""MLflow as a library, imported late (seconds) and made to keep to itself.

Whoever imports it, a child process of the adapter or a training program, does so through `library`: MLflow reads these switches
when it is imported. May not be called in a process that serves requests: MLflow is synchronous and holds the interpreter.
"""

import fcntl
import os
from pathlib import Path
from typing import Any

_SWITCHES = {
    # It would report its use to its makers over the network.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Progress bars of downloads, on the stderr of a service.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Finding out the author's commit by a library that is not installed warns on every run.
    "GIT_PYTHON_REFRESH": "quiet",
}
_SQLITE = "sqlite:///"


def library() -> Any:
    """The module `mlflow`."""
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


def opened(tracking_uri: str) -> Any:
    """The module, pointed at this registry. An embedded one is created where there is none, by one process at a time: MLflow's
    own migrations, run by two at once, leave neither with a database."""
    mlflow = library()
    mlflow.set_tracking_uri(tracking_uri)
    database = embedded_database(tracking_uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        with database.with_name(f"{database.name}-creation.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri).search_experiments(max_results=1)
    return mlflow


def embedded_database(tracking_uri: str) -> Path | None:
    """The file behind a `sqlite:///` address; None for a tracking server."""
    return Path(tracking_uri.removeprefix(_SQLITE)).absolute() if tracking_uri.startswith(_SQLITE) else None


def artifact_location(tracking_uri: str) -> str | None:
    """Where a new experiment keeps its artifacts: a folder beside an embedded database; None: as the server has it."""
    database = embedded_database(tracking_uri)
    return (database.parent / "artifacts").as_uri() if database is not None else None
