"""What is signed binds a candidate and a champion by their files."""

from datetime import UTC, datetime

import pytest

from tools.errors import PermanentError
from tools.registry import signing
from tools.registry.evaluations import Evaluation, Facts, champion_of, signed_artifact

KEY = "the platform's own"
OURS, THEIRS = "a" * 64, "b" * 64


def evaluation(**more: object) -> Evaluation:
    given: dict[str, object] = {
        "model": "flights",
        "version": "4",
        "champion": "3",
        "held_out": None,
        "recent": None,
        "facts": Facts(compared=()),
        "measured_at": datetime(2026, 1, 1, tzinfo=UTC),
        "job": "oppen-evaluation-1",
        "artefact": OURS,
        "champion_artefact": THEIRS,
        **more,
    }
    return Evaluation.model_validate(given)


def read(text: str) -> Evaluation:
    return signing.verified(text, KEY, model="flights", version="4", champion="3")


@pytest.mark.parametrize("lacking", ["job", "artefact", "champion_artefact"])
def test_what_is_bound_to_nothing_is_not_signed(lacking: str) -> None:
    with pytest.raises(ValueError, match="can be signed"):
        signing.sign(evaluation(**{lacking: ""}), KEY)


def test_both_versions_have_to_have_the_files_that_were_measured() -> None:
    found = read(signing.sign(evaluation(), KEY))
    signing.bind(found, artefact=OURS, champion_artefact=THEIRS)
    with pytest.raises(PermanentError, match="the files of flights 4 have been changed"):
        signing.bind(found, artefact=THEIRS, champion_artefact=THEIRS)
    with pytest.raises(PermanentError, match="the files of flights 3 have been changed"):
        signing.bind(found, artefact=OURS, champion_artefact=OURS)


def test_one_that_was_signed_before_champions_were_bound_is_not_believed() -> None:
    text = evaluation(champion_artefact="").model_dump_json(exclude={"champion_artefact"})
    signed = signing._Signed(evaluation=text, signature=signing._hmac(text, KEY))
    with pytest.raises(PermanentError, match="earlier build"):
        read(signed.model_dump_json())


def test_whose_evaluation_a_file_is_is_told_by_its_name() -> None:
    assert champion_of(signed_artifact("3")) == "3"
    for other in ("evaluations/beside-3.json", "evaluations/signed-beside-3", "signed-beside-3.json", "evaluations/x.json", ""):
        assert champion_of(other) is None
