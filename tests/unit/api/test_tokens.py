"""Tokens that the service sends."""

import pytest

from api import settings
from api.settings import WrongSettings


@pytest.mark.parametrize("name", ["OPPEN_GATEWAY_TOKEN", "OPPEN_PROMETHEUS_TOKEN", "OPPEN_OPENCOST_TOKEN"])
def test_a_token_with_a_newline_at_its_end_is_without_it_and_one_with_blanks_is_refused_unquoted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "well-kept\n")
    token = getattr(settings.read(), name.removeprefix("OPPEN_").lower())
    assert token.get_secret_value() == "well-kept"
    monkeypatch.setenv(name, "well\nkept")
    with pytest.raises(WrongSettings, match=name) as told:
        settings.read()
    assert "kept" not in str(told.value)
