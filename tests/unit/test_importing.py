"""Libraries that change the environment of the process are imported without that."""

import os
import subprocess
import sys

import pytest

from tools.importing import environment_kept


def test_what_a_block_does_to_the_environment_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPEN_TEST_THERE", "before")
    monkeypatch.setenv("OPPEN_TEST_REMOVED", "before")
    with environment_kept():
        os.environ["OPPEN_TEST_THERE"] = os.environ["OPPEN_TEST_NEW"] = "changed"
        del os.environ["OPPEN_TEST_REMOVED"]
    assert "OPPEN_TEST_NEW" not in os.environ
    assert (os.environ["OPPEN_TEST_THERE"], os.environ["OPPEN_TEST_REMOVED"]) == ("before", "before")


@pytest.mark.parametrize(
    "load",
    ["from pipelines.validation.library import pandera; pandera()", "from tools.features.library import load; load()"],
)
def test_our_libraries_leave_it_as_it_was(load: str) -> None:
    """In a process of its own: a second import changes nothing."""
    program = (
        f"import os\nbefore = dict(os.environ)\n{load}\nassert dict(os.environ) == before, set(os.environ) ^ set(before)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr[-2_000:]
