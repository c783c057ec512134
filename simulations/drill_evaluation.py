"""The evaluation of the crash drill: signed as the platform's own is, of figures that nobody has measured.

What is drilled is that a training, its evaluation, a rollout and a promotion happen once.
"""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pipelines.examination import Order
from tools.registry.evaluations import Compared, Discordance, Evaluation, Facts, signed_artifact
from tools.registry.library import opened
from tools.registry.signing import digest, sign
from tools.registry.tracking import Tracking

_ROWS, _RIGHT = 6_000, 5_142


def main() -> None:
    order = Order.read(os.environ)
    tracking = Tracking(order.tracking_uri)
    run_id = tracking.version(order.model, order.candidate).run_id
    if run_id is None:
        raise SystemExit(f"{order.model} {order.candidate} was registered by no run")
    with tempfile.TemporaryDirectory() as cache:
        artefact, champion_artefact = (
            digest(tracking.fetch(order.model, each, Path(cache)).folder) for each in (order.candidate, order.champion)
        )
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
        version=order.candidate,
        champion=order.champion,
        held_out=None,
        recent=None,
        facts=Facts(compared=(fact,)),
        measured_at=datetime.now(UTC),
        asked_at=order.asked_at,
        job=order.job,
        artefact=artefact,
        champion_artefact=champion_artefact,
    )
    client = opened(order.tracking_uri).MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.tracking_uri)
    client.log_text(run_id, sign(evaluation, order.key), signed_artifact(order.champion))


if __name__ == "__main__":
    main()
