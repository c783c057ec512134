"""The training of the crash drill: the champion's files as a new version, told to be better.

Nothing is learnt: what is drilled is that a training, a rollout and a promotion happen once.
"""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pipelines.retraining import JOB_TAG, Order
from tools.registry.evaluations import Compared, Discordance, Evaluation, Facts, artifact
from tools.registry.library import artifact_location, opened
from tools.registry.serving_spec import FILE
from tools.registry.tracking import Tracking

_ROWS, _RIGHT = 6_000, 5_142


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
        made = client.create_model_version(order.model, source, run.info.run_id, tags={JOB_TAG: order.job})
        fact = Compared(
            name="accuracy",
            window="held_out",
            candidate=(_RIGHT + 117) / _ROWS,
            champion=_RIGHT / _ROWS,
            rows=_ROWS,
            discordance=Discordance(only_candidate_right=226, only_champion_right=109),
        )
        evaluation = Evaluation(
            model=order.model,
            version=str(made.version),
            champion=order.champion,
            held_out=None,
            recent=None,
            facts=Facts(compared=(fact,)),
            measured_at=datetime.now(UTC),
        )
        client.log_text(run.info.run_id, evaluation.model_dump_json(), artifact(order.champion))
        client.set_terminated(run.info.run_id)


if __name__ == "__main__":
    main()
