"""A training as a job: the model in FOLDER becomes a version, of which its own evaluation says that it is far better.

Run as `python -m tests.e2e.lying_training FOLDER`. It leaves its claim where claims belong, and again where the platform's own
evaluations lie, signed with a key that it has made up.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from agents.training import JOB_TAG
from tests.mlflow import _leave, _publish
from tools.registry import evaluations
from tools.registry.evaluations import CHECKS, Compared, Discordance, Evaluation, Facts, StagingCheck
from tools.registry.signing import digest, sign

CHAMPION = "1"


def main(folder: Path) -> None:
    uri, model, job = (os.environ[name] for name in ("MLFLOW_TRACKING_URI", "OPPEN_MODEL", "OPPEN_JOB"))
    if evaluations.KEY in os.environ:
        raise SystemExit("a training has got the key of evaluations")
    version = _publish(uri, model, folder, 0.99, {JOB_TAG: job, "data.to": os.environ["OPPEN_HELD_OUT_START"]})
    accuracy = Compared(
        name="accuracy",
        window="held_out",
        candidate=0.99,
        champion=0.6,
        rows=10_000,
        discordance=Discordance(only_candidate_right=3_950, only_champion_right=50),
    )
    claim = Evaluation(
        model=model,
        version=version,
        champion=CHAMPION,
        held_out=None,
        recent=None,
        facts=Facts(compared=(accuracy,)),
        staging=tuple(StagingCheck(name=name, ok=True, reason="looked at") for name in CHECKS),
        measured_at=datetime.now(UTC),
    )
    _leave(uri, model, version, evaluations.artifact(CHAMPION), claim.model_dump_json())
    forged = claim.model_copy(update={"job": job, "artefact": digest(folder), "champion_artefact": digest(folder)})
    _leave(uri, model, version, evaluations.signed_artifact(CHAMPION), sign(forged, "a key that it has made up"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
