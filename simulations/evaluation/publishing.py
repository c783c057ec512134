"""What a training job does with what it has made. It runs where MLflow does, so it imports no platform."""

from tools.registry.library import artifact_location
from tools.registry.tracking import Tracking


def publish(tracking: Tracking, uri: str, model: str, version: str, tags: dict[str, str]) -> str:
    """As a training job registers what it has made. Runs where MLflow is."""
    client = tracking._client
    experiment = client.get_experiment_by_name("worlds")
    place = (
        experiment.experiment_id if experiment else client.create_experiment("worlds", artifact_location=artifact_location(uri))
    )
    run = client.create_run(place)
    client.log_param(run.info.run_id, "version", version)
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    made = client.create_model_version(model, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    return str(made.version)
