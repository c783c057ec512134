"""Where people are told that the service is."""

import pytest

from api import settings
from api.addresses import url
from api.settings import Settings, WrongSettings


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("oppen.internal", "http://oppen.internal:8000"),
        ("::1", "http://[::1]:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("", "http://localhost:8000"),
    ],
)
def test_a_url_is_one_that_can_be_called_from_this_machine(host: str, reached: str) -> None:
    assert url(host, 8000) == reached


def test_people_are_sent_to_the_public_address_where_there_is_one() -> None:
    assert Settings(port=8001).address == "http://127.0.0.1:8001"
    assert Settings(public_url="https://oppen.example/").address == "https://oppen.example"


def test_a_public_address_is_a_web_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPEN_PUBLIC_URL", "oppen.example")
    with pytest.raises(WrongSettings) as wrong:
        settings.read()
    assert [variable for variable, _ in wrong.value.faults] == ["OPPEN_PUBLIC_URL"]
