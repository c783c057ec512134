"""What `oppen doctor` says of the key that evaluations are signed with."""

from pathlib import Path
from typing import Any

import pytest

from api import doctor, evaluation_key
from api.settings import Settings

KEY = "sixteen characters or more"


async def told(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, doctor.Finding]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return {each.name: each for each in await doctor.examine()}


async def test_without_a_key_on_a_cluster_it_says_which_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = await told(
        monkeypatch, OPPEN_HOME=str(tmp_path), OPPEN_JOBS="kubernetes:oppen-jobs", OPPEN_JOBS_CLUSTER='{"image": "oppen"}'
    )
    assert list(found) == ["OPPEN_EVALUATION_KEY"]
    assert (found["OPPEN_EVALUATION_KEY"].ok, found["OPPEN_EVALUATION_KEY"].needed) == (False, True)
    assert "jobs' Secret" in found["OPPEN_EVALUATION_KEY"].detail


@pytest.mark.parametrize(
    ("cluster", "ok", "said"),
    [({"image": "oppen"}, False, "names no secret"), ({"image": "oppen", "secret": "jobs"}, True, "'jobs'")],
)
def test_on_a_cluster_jobs_need_a_secret_with_the_same_key(cluster: Any, ok: bool, said: str, tmp_path: Path) -> None:
    found = doctor._signing(Settings(home=tmp_path, jobs="kubernetes:jobs", jobs_cluster=cluster, evaluation_key=KEY))
    assert (found.ok, said in found.detail, KEY in found.detail) == (ok, True, False)


def test_on_one_machine_the_key_is_made_and_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert "made at the first start" in doctor._signing(settings).detail
    key = evaluation_key.of(settings)
    found = doctor._signing(settings)
    assert (found.ok, key in found.detail) == (True, False)
    (tmp_path / evaluation_key.FILE).write_text("")
    assert (doctor._signing(settings).ok, doctor._signing(settings).needed) == (False, False)
    assert doctor._signing(Settings(home=tmp_path, evaluation_key=KEY)).ok
