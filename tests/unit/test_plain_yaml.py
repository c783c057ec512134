"""Settings in YAML, as people write them and slip."""

import pytest

from tools import plain_yaml


def test_it_is_read() -> None:
    assert plain_yaml.read("a: {b: [1, 2]}\nc: x\n") == {"a": {"b": [1, 2]}, "c": "x"}
    assert plain_yaml.read("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is there twice, in lines 1 and 3"),
        ("a:\n  b: 1\n  b: 1\n", "'b' is there twice, in lines 2 and 3"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: [1\nb: 2\n", "no YAML in line"),
        ("a: !!python/object:os.system {}\n", "no YAML"),
    ],
)
def test_what_could_be_misread_is_refused(text: str, said: str) -> None:
    with pytest.raises(plain_yaml.NotPlain, match=said):
        plain_yaml.read(text)
