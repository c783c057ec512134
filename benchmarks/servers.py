"""The three servers of `benchmarks.gateway`, each on the same weights, each asked in its own words for the same rows."""

import json
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.net import FEATURES, build
from simulations.processes import Program, Programs, free_port
from tools.registry.serving_spec import FILE, NumericFeature, ServingSpec

MODEL = "bench"
SPEC = ServingSpec(
    features=tuple(NumericFeature(name=f"f{n}") for n in range(FEATURES)), task="binary", classes=("on_time", "late")
)
_READY_S = 120.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For all three, because the cores are needed by the client."""


@dataclass(frozen=True)
class Server:
    name: str
    program: Program
    port: int
    path: str
    bodies: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def rows(count: int) -> list[list[float]]:
    random.seed(7)
    return [[round(random.gauss(0, 1), 3) for _ in range(FEATURES)] for _ in range(count)]


def publish(home: Path) -> str:
    """Register the model in a fresh embedded MLflow, in MLflow's own flavour, with `serving.json`; returns the tracking URI.

    Blocking, and imports MLflow: run it in a process that is not measured.
    """
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from tools.registry.library import artifact_location, library

    uri = f"sqlite:///{home.absolute() / 'mlflow.db'}"
    mlflow = library()
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment(MODEL, artifact_location=artifact_location(uri))
    net = build().eval()
    torch.save(net.state_dict(), home / "weights.pt")
    (home / FILE).write_text(SPEC.model_dump_json())
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, FEATURES))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, 1))]),
    )
    for _ in range(2):  # the second is loaded under load
        with mlflow.start_run(experiment_id=experiment):
            mlflow.pytorch.log_model(
                net,
                name="model",
                serialization_format="pt2",
                input_example=torch.zeros(4, FEATURES).numpy(),
                signature=signature,
                extra_files=[str(home / FILE)],
                pip_requirements=[f"torch=={torch.__version__}"],
                registered_model_name=MODEL,
            )
    mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", "1")
    return uri


def start_ours(programs: Programs, home: Path, uri: str, asked: list[list[float]]) -> Server:
    port = free_port()
    flags = ["--port", str(port), "--home", str(home / "gateway"), "--tracking-uri", uri, "--model", MODEL]
    program = programs.start("gateway", ["gateway", *flags], _ONE_THREAD, home / "gateway.log")
    program.wait_ready(f"http://127.0.0.1:{port}/v2/health/ready", _READY_S)
    bodies = [json.dumps(_protocol(row, entity)) for entity, row in enumerate(asked)]
    return Server("ours", program, port, f"/v2/models/{MODEL}/infer", bodies)


def _protocol(row: list[float], entity: int) -> dict[str, Any]:
    inputs = [{"name": f"f{n}", "shape": [1], "datatype": "FP32", "data": [value]} for n, value in enumerate(row)]
    return {"inputs": inputs, "parameters": {"entity_id": f"customer-{entity}"}}


def start_bare(programs: Programs, home: Path, asked: list[list[float]]) -> Server:
    port = free_port()
    program = programs.start("bare", ["benchmarks.bare", str(home / "weights.pt"), str(port)], _ONE_THREAD, home / "bare.log")
    program.wait_ready(f"http://127.0.0.1:{port}/ready", _READY_S)
    return Server("bare", program, port, "/predict", [json.dumps({"rows": [row]}) for row in asked])


def start_mlflow(programs: Programs, home: Path, uri: str, asked: list[list[float]]) -> Server:
    port = free_port()
    arguments = ["mlflow", "models", "serve", "-m", f"models:/{MODEL}/1", "-h", "127.0.0.1", "-p", str(port)]
    # It starts `uvicorn` by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**_ONE_THREAD, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    program = programs.start("mlflow", [*arguments, "--env-manager", "local"], environment, home / "mlflow.log")
    program.wait_ready(f"http://127.0.0.1:{port}/ping", _READY_S)
    return Server("mlflow", program, port, "/invocations", [json.dumps({"inputs": [row]}) for row in asked])
