"""Hands a trained model to the registry: the exported file, `serving.json`, parameters, metrics, and where it came from.

Uses MLflow's own interface, as any training job would; only aliases are left alone, which belong to the platform.
"""

import json
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.training import TrainedModel
from tools.jobs.prices import Cost
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
    metrics: dict[str, float] = field(default_factory=dict)


def register(
    trained: TrainedModel,
    *,
    tracking_uri: str,
    model: str,
    tags: Mapping[str, str] | None = None,
    feature_view: str | None = None,
) -> Registered:
    """A new version of `model`, in the experiment of that name. Blocking; raises PortError."""
    told = dict(tags or {}) | ({"feature.view": feature_view} if feature_view else {})
    with translated():
        mlflow = opened(tracking_uri)
        return _registered(mlflow, trained, tracking_uri, model, told)


def registered_by(job: str, tag: str, *, tracking_uri: str, model: str) -> Registered | None:
    """The version that an earlier attempt of the job has registered; None where none has. What such an attempt left unfinished
    is marked as killed, so that nobody waits for it. Blocking; raises PortError."""
    with translated():
        client = opened(tracking_uri).MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        experiment = client.get_experiment_by_name(model)
        if experiment is None:
            return None
        runs = client.search_runs([experiment.experiment_id], filter_string=f"tags.`{tag}` = '{job}'")
        for run in runs:
            versions = [each for each in client.search_model_versions(f"run_id = '{run.info.run_id}'") if each.name == model]
            if versions:
                first = min(versions, key=lambda each: int(each.version))
                return Registered(model, str(first.version), run.info.run_id, dict(run.data.metrics))
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
    return None


def record_cost(registered: Registered, seconds: float, cost: Cost, *, tracking_uri: str) -> None:
    """With the version's run: money as text, because a metric is a float. Blocking; raises PortError."""
    with translated():
        client = opened(tracking_uri).MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        client.set_tag(registered.run_id, "cost.amount", f"{cost.amount:f}")
        client.set_tag(registered.run_id, "cost.currency", cost.currency)
        client.log_metric(registered.run_id, "job_seconds", seconds)


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
        _log_epochs(mlflow, run.info.run_id, trained)
        mlflow.log_metrics(trained.metrics)
        spec = Path(folder) / FILE
        spec.write_text(trained.spec.model_dump_json(indent=1))
        reference = Path(folder) / stored.FILE
        reference.write_text(stored.written(trained.reference))
        logged = _log_model(mlflow, trained, (spec, reference))
        version = mlflow.register_model(logged.model_uri, model, tags=origin)
    return Registered(model=model, version=str(version.version), run_id=run.info.run_id, metrics=dict(trained.metrics))


def _log_epochs(mlflow: Any, run_id: str, trained: TrainedModel) -> None:
    """At once: one by one they would take longer than the training."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    values = [
        Metric(name, value, now, step)
        for step, epoch in enumerate(trained.epochs, start=1)
        for name, value in (
            ("epoch_loss", epoch.loss),
            ("epoch_validation_loss", epoch.validation_loss),
            ("epoch_seconds", epoch.seconds),
        )
    ]
    mlflow.MlflowClient().log_batch(run_id, metrics=values)


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
    return tags | _environment(trained) | ({"git.commit": commit} if commit else {})


def _environment(trained: TrainedModel) -> dict[str, str]:
    import torch

    return {
        "env.python": platform.python_version(),
        "env.torch": torch.__version__,
        "env.platform": platform.platform(),
        "env.device": trained.device,
    }
