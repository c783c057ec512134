"""A champion whose files are others than those that the platform has evaluated is no measure for a candidate."""

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.examination import held_as_evaluated
from tests.mlflow import Outside, fresh_model
from tools.errors import PermanentError
from tools.registry.evaluations import Evaluation, Facts, signed_artifact
from tools.registry.signing import sign
from tools.registry.tracking import Tracking

pytestmark = pytest.mark.xdist_group("mlflow")

KEY = "the platform's own"
AS_IT_WAS, CHANGED = "a" * 64, "b" * 64
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def evaluation(model: str, beside: str, artefact: str, *, hours: int, version: str = "1") -> Evaluation:
    return Evaluation(
        model=model,
        version=version,
        champion=beside,
        held_out=None,
        recent=None,
        facts=Facts(compared=()),
        measured_at=BEGUN + timedelta(hours=hours),
        job=f"oppen-evaluation-{hours}",
        artefact=artefact,
        champion_artefact="c" * 64,
    )


def _held(uri: str, model: str, artefact: str) -> None:
    held_as_evaluated(Tracking(uri, KEY), model, "1", artefact)


class Champion:
    def __init__(self, process: ProcessPoolExecutor, uri: str, folder: Path) -> None:
        (folder / "serving.json").write_text("{}")
        self._process, self._uri = process, uri
        self._outside = Outside(process, uri)
        self.model = fresh_model()
        self._outside.publish(self.model, folder)

    def left(self, beside: str, text: str) -> None:
        self._outside.leave(self.model, "1", signed_artifact(beside), text)

    def held(self, artefact: str) -> None:
        self._process.submit(_held, self._uri, self.model, artefact).result(60)


@pytest.fixture
def champion(mlflow_process: ProcessPoolExecutor, mlflow_uri: str, tmp_path: Path) -> Champion:
    folder = tmp_path / "files"
    folder.mkdir()
    return Champion(mlflow_process, mlflow_uri, folder)


def test_it_is_held_to_the_newest_evaluation_of_its_own(champion: Champion) -> None:
    champion.held(CHANGED)  # nothing is on record
    champion.left("7", sign(evaluation(champion.model, "7", CHANGED, hours=1), KEY))
    champion.held(CHANGED)
    champion.left("6", sign(evaluation(champion.model, "6", AS_IT_WAS, hours=2), KEY))
    champion.held(AS_IT_WAS)
    with pytest.raises(PermanentError, match="the champion, have been changed since oppen-evaluation-2 evaluated them"):
        champion.held(CHANGED)


def test_what_is_not_the_platforms_own_is_no_record(champion: Champion) -> None:
    model = champion.model
    champion.left("2", sign(evaluation(model, "2", AS_IT_WAS, hours=1), "another"))
    champion.left("3", "nothing of ours")
    champion.left("4", sign(evaluation(model, "4", AS_IT_WAS, hours=1, version="9"), KEY))
    champion.left("5", sign(evaluation(model, "6", AS_IT_WAS, hours=1), KEY))
    champion.held(CHANGED)
