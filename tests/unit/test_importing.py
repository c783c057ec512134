"""Libraries that change the environment of the process are imported without that."""

import importlib
import os
import subprocess
import sys

import pytest
import typeguard

from tools.importing import absent, arguments_unchecked, environment_kept


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
    [
        "from pipelines.validation.library import pandera; pandera()",
        "from tools.features.library import load; load(); import sys; assert 'torch' not in sys.modules, 'it takes a second'",
    ],
)
def test_our_libraries_leave_it_as_it_was(load: str) -> None:
    """In a process of its own: a second import changes nothing."""
    program = (
        f"import os\nbefore = dict(os.environ)\n{load}\nassert dict(os.environ) == before, set(os.environ) ^ set(before)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr[-2_000:]


def test_a_module_is_absent_for_a_block_unless_it_is_loaded() -> None:
    def there(module: str) -> bool:
        try:
            importlib.import_module(module)
        except ImportError:
            return False
        return True

    sys.modules.pop("colorsys", None)
    with absent("colorsys"):
        assert not there("colorsys")
    assert there("colorsys")
    with absent("colorsys"):
        assert there("colorsys")


def test_arguments_are_checked_again_behind_the_block() -> None:
    with arguments_unchecked():

        @typeguard.typechecked
        def plain(number: int) -> int:
            return number

        @typeguard.typechecked(collection_check_strategy=None)
        def given(number: int) -> int:
            return number

    assert (plain("a"), given("b")) == ("a", "b")  # type: ignore[arg-type,comparison-overlap]

    @typeguard.typechecked
    def checked(number: int) -> int:
        return number

    with pytest.raises(typeguard.TypeCheckError):
        checked("a")  # type: ignore[arg-type]
