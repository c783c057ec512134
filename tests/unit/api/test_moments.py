import pytest

from api.moments import moment
from api.terminal import WrongUse


def test_a_day_begins_at_midnight_of_utc() -> None:
    assert moment("2026-11-01", "--from") == "2026-11-01T00:00:00+00:00"
    assert moment("2026-11-01T06:00:00+02:00", "--from") == "2026-11-01T06:00:00+02:00"
    assert moment("", "--from") is None


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-01T06:00:00", "01.11.2026"])
def test_what_is_no_moment_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(WrongUse, match="--to"):
        moment(text, "--to")
