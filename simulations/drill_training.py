"""The training of the crash drill: the champion's files as a new version.

Nothing is learnt: what is drilled is that a training, its evaluation, a rollout and a promotion happen once.
"""

import os
import tempfile
from pathlib import Path

from pipelines.retraining import JOB_TAG, Order
from tools.registry.library import artifact_location, opened
from tools.registry.serving_spec import FILE
from tools.registry.tracking import Tracking


def main() -> None:
    order = Order.read(os.environ)
    with tempfile.TemporaryDirectory() as cache:
        files = Tracking(order.tracking_uri).fetch(order.model, order.champion, Path(cache))
        mlflow = opened(order.tracking_uri)
        client = mlflow.MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.tracking_uri)
        found = client.get_experiment_by_name("drill")
        experiment = (
            found.experiment_id
            if found is not None
            else client.create_experiment("drill", artifact_location=artifact_location(order.tracking_uri))
        )
        run = client.create_run(experiment)
        for path in files.folder.iterdir():
            client.log_artifact(run.info.run_id, str(path), "model" if path.name == FILE else "model/data")
        source = f"{run.info.artifact_uri}/model"
        client.create_model_version(order.model, source, run.info.run_id, tags={JOB_TAG: order.job})
        client.set_terminated(run.info.run_id)


if __name__ == "__main__":
    main()
