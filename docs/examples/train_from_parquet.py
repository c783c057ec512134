"""A training of your own, as the platform runs it: scikit-learn on a Parquet file, registered as a file without code.

It uses nothing of OPPEN, so it can live in an image of its own. What a job finds and what it has to leave is in
docs/training.md. In the policies:

    models:
      flights:
        training:
          command: [python, /opt/training/train_from_parquet.py]
          environment: {TRAINING_DATA: /data/flights.parquet, LABEL: label, TIME: departed}

Every column but the label and the time is a feature: numbers may be missing, anything else is a category.
"""

import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

TAG = "oppen.job"
MOST_CATEGORIES = 100


class Scorer(torch.nn.Module):
    """What was learnt, as a graph: raw features in, the logit of the second class out."""

    def __init__(self, median: np.ndarray, scale: np.ndarray, weights: np.ndarray, bias: float, sizes: list[int]) -> None:
        super().__init__()
        numeric = len(median)
        self.register_buffer("median", torch.tensor(median, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("linear", torch.tensor(weights[:numeric], dtype=torch.float32))
        self.register_buffer("bias", torch.tensor(bias, dtype=torch.float32))
        # One weight for each category; the first is that of an unknown one.
        parts = np.split(weights[numeric:], np.cumsum(sizes)[:-1])
        self.tables = torch.nn.ModuleList(
            torch.nn.Embedding.from_pretrained(torch.tensor(np.concatenate([[0.0], part])[:, None], dtype=torch.float32))
            for part in parts
        )

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        known = torch.where(torch.isnan(numeric), self.median, numeric)
        logit = ((known - self.median) / self.scale) @ self.linear + self.bias
        for place, table in enumerate(self.tables):
            logit = logit + table(categorical[:, place])[:, 0]
        return logit


def progress(fraction: float, text: str) -> None:
    """A line that is a JSON object with `progress` is shown to people."""
    print(json.dumps({"progress": fraction, "text": text}), flush=True)


def learnt_until(asked: dict[str, Any]) -> str:
    return asked.get("held_out_start") or asked["window_end"]


def rows(asked: dict[str, Any], time: str) -> pd.DataFrame:
    """Of the window that was approved, and of no other, without what it will be held to and what is in quarantine."""
    frame = pd.read_parquet(os.environ["TRAINING_DATA"])
    moments = pd.to_datetime(frame[time], utc=True)
    start, end = (datetime.fromisoformat(moment) for moment in (asked["window_start"], learnt_until(asked)))
    chosen = (moments >= start) & (moments < end)
    for each in asked.get("left_out", []):
        start, end = (datetime.fromisoformat(each["window"][name]) for name in ("start", "end"))
        chosen &= ~((moments >= start) & (moments < end))
    return frame[chosen].sort_values(time)


def registered(client: mlflow.MlflowClient, model: str, job: str) -> bool:
    """Whether an attempt before this one got so far and was killed then."""
    return any(version.tags.get(TAG) == job for version in client.search_model_versions(f"name = '{model}'"))


def experiment(client: mlflow.MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    # Beside an embedded database; MLflow's own choice would be the working folder, which is deleted after the job.
    database = uri.removeprefix("sqlite:///")
    return client.create_experiment(name, None if database == uri else (Path(database).parent / "artifacts").as_uri())


def main() -> None:
    asked = json.loads((Path(os.environ["OPPEN_JOB_CONFIG"]) / "training.json").read_text())
    job, uri, model = os.environ["OPPEN_JOB"], os.environ["MLFLOW_TRACKING_URI"], asked["model"]
    label, time = os.environ.get("LABEL", "label"), os.environ.get("TIME", "time")
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    if registered(client, model, job):
        progress(1.0, "an earlier attempt has registered its version")
        return

    frame = rows(asked, time)
    features = frame.drop(columns=[label, time])
    numeric = list(features.select_dtypes("number"))
    categories = {
        name: sorted(map(str, features[name].value_counts().index[:MOST_CATEGORIES]))
        for name in features
        if name not in numeric
    }
    classes = sorted(map(str, frame[label].unique()))
    if len(classes) != 2:
        raise SystemExit(
            f"{label}: {len(classes)} classes from {asked['window_start']} to {asked['window_end']}, two are needed"
        )
    progress(0.2, f"{len(frame)} rows")

    values = features[numeric].to_numpy(np.float32)
    median = np.nan_to_num(np.nanmedian(values, axis=0))
    scale = np.nan_to_num(np.nanstd(values, axis=0), nan=1.0)
    scale[scale == 0] = 1.0
    codes = np.stack(
        [pd.Categorical(features[name].astype(str), categories=known).codes + 1 for name, known in categories.items()], axis=1
    ).astype(np.int64)
    hot = [codes[:, place : place + 1] == np.arange(1, len(known) + 1) for place, known in enumerate(categories.values())]
    inputs = np.hstack([(np.where(np.isnan(values), median, values) - median) / scale, *hot])
    truth = (frame[label].astype(str) == classes[1]).to_numpy()

    split = int(len(inputs) * 0.8)  # the end of the window: what comes next is like it
    fitted = LogisticRegression(max_iter=300).fit(inputs[:split], truth[:split])
    auc = roc_auc_score(truth[split:], fitted.predict_proba(inputs[split:])[:, 1])
    progress(0.6, f"AUC {auc:.4f}")

    sizes = [len(known) for known in categories.values()]
    scorer = Scorer(median, scale, fitted.coef_[0], float(fitted.intercept_[0]), sizes).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)  # an export without it takes batches of two rows only
    example = (torch.from_numpy(values[:2]), torch.from_numpy(codes[:2]))
    program = torch.export.export(scorer, example, dynamic_shapes=({0: batch}, {0: batch}))
    spec = {
        "features": [{"kind": "numeric", "name": name} for name in numeric]
        + [{"kind": "categorical", "name": name, "categories": known} for name, known in categories.items()],
        "task": "binary",
        "classes": classes,
    }

    run = client.create_run(experiment(client, model, uri), tags={TAG: job})
    try:
        with tempfile.TemporaryDirectory() as folder:
            torch.export.save(program, Path(folder) / "model.pt2")
            (Path(folder) / "serving.json").write_text(json.dumps(spec))
            client.log_artifacts(run.info.run_id, folder, "model")
        client.log_param(run.info.run_id, "model", "logistic regression")
        client.log_metric(run.info.run_id, "auc", float(auc))
        tags = {TAG: job, "data.from": asked["window_start"], "data.to": learnt_until(asked), "data.rows": str(len(frame))}
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        # Last, and with the tag at once: a version that is there is complete.
        made = client.create_model_version(model, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id)
    progress(1.0, f"version {made.version}")


if __name__ == "__main__":
    main()
