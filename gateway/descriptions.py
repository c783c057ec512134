"""What the gateway tells about itself and its models: the protocol's metadata, and the state for operators."""

from importlib.metadata import version as installed
from typing import Any

from gateway.models import Model
from gateway.versions import Version
from tools.registry.serving_spec import NumericFeature


def server() -> dict[str, Any]:
    return {"name": "oppen-gateway", "version": installed("oppen"), "extensions": []}


def model(model: Model, version: str | None) -> dict[str, Any]:
    """Metadata of one version, of the main one where none is named. Raises NotFound or NotReady."""
    described = model.main if version is None else model.pinned(version)
    described.require_ready()
    return {
        "name": model.name,
        "versions": [v.version for v in model.versions if v.state == "ready"],
        "platform": described.platform,
        "inputs": _inputs(described),
        "outputs": _outputs(described),
    }


def state(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "ready": model.ready,
        "route": model.route.model_dump(),
        "versions": [served.model_dump() for served in model.served()],
        "capacity": model.capacity.model_dump(),
    }


def _inputs(version: Version) -> list[dict[str, Any]]:
    if version.upstream is not None:
        return []
    return [
        {"name": f.name, "datatype": "FP32" if isinstance(f, NumericFeature) else "BYTES", "shape": [-1]}
        for f in version.spec.features
    ]


def _outputs(version: Version) -> list[dict[str, Any]]:
    if version.upstream is not None:
        return []
    score = {"name": "score", "datatype": "FP64", "shape": [-1]}
    prediction = {"name": "prediction", "datatype": "BYTES", "shape": [-1]}
    return [score] if version.spec.task == "regression" else [prediction, score]
