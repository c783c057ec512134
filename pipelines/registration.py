"""Hands a trained model to the registry: the exported file, `serving.json`, parameters, metrics, and where it came from.

Uses MLflow's own interface, as any training job would; only aliases are left alone, which belong to the platform.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.training import TrainedModel
from tools.lineage.code import code_version
from tools.registry.library import artifact_location, opened
from tools.registry.serving_spec import FILE, CategoricalFeature, NumericFeature
from tools.registry.tracking import translated
from tools.tables import stored


@dataclass(frozen=True)
class Registered:
    model: str
    version: str
    run_id: str


def register(trained: TrainedModel, *, tracking_uri: str, model: str, tags: Mapping[str, str] | None = None) -> Registered:
    """A new version of `model`, in the experiment of that name. Blocking; raises PortError."""
    with translated():
        mlflow = opened(tracking_uri)
        return _registered(mlflow, trained, tracking_uri, model, dict(tags or {}))


def _registered(mlflow: Any, trained: TrainedModel, tracking_uri: str, model: str, tags: dict[str, str]) -> Registered:
    experiment = mlflow.get_experiment_by_name(model)
    experiment_id = (
        experiment.experiment_id
        if experiment is not None
        else mlflow.create_experiment(model, artifact_location=artifact_location(tracking_uri))
    )
    origin = _origin(trained) | tags
    with mlflow.start_run(experiment_id=experiment_id, tags=origin) as run, tempfile.TemporaryDirectory() as folder:
        mlflow.log_params(asdict(trained.recipe))
        mlflow.log_metrics(trained.metrics)
        spec = Path(folder) / FILE
        spec.write_text(trained.spec.model_dump_json(indent=1))
        reference = Path(folder) / stored.FILE
        reference.write_text(stored.written(trained.reference))
        logged = _log_model(mlflow, trained, (spec, reference))
        version = mlflow.register_model(logged.model_uri, model, tags=origin)
    return Registered(model=model, version=str(version.version), run_id=run.info.run_id)


def _log_model(mlflow: Any, trained: TrainedModel, beside: tuple[Path, ...]) -> Any:
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    numeric = sum(isinstance(feature, NumericFeature) for feature in trained.spec.features)
    categorical = sum(isinstance(feature, CategoricalFeature) for feature in trained.spec.features)
    # The -1 is what makes the exported graph take batches of any size.
    signature = ModelSignature(
        inputs=Schema(
            [
                TensorSpec(np.dtype("float32"), (-1, numeric), "numeric"),
                TensorSpec(np.dtype("int64"), (-1, categorical), "categorical"),
            ]
        ),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1,), "logit")]),
    )
    return mlflow.pytorch.log_model(
        trained.network,
        name="model",
        serialization_format="pt2",
        input_example=tuple(torch.from_numpy(part) for part in trained.example),
        signature=signature,
        extra_files=[str(path) for path in beside],
        # Named, because finding them out means loading the model in an environment of its own: a minute.
        pip_requirements=[f"torch=={torch.__version__}"],
    )


def _origin(trained: TrainedModel) -> dict[str, str]:
    """What an investigator will want to know of a version."""
    tags = {
        "data.from": trained.window.start.isoformat(),
        "data.to": trained.window.end.isoformat(),
        "data.rows": str(int(trained.metrics["rows"])),
        "features": json.dumps([feature.name for feature in trained.spec.features]),
    }
    commit = code_version().commit
    return tags | ({"git.commit": commit} if commit else {})
