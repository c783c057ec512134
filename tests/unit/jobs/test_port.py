"""Names, labels, specs and progress: laws."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.jobs import progress
from tools.jobs.manifests import label
from tools.jobs.port import MIB, JobSpec, Progress, Resources, job_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def spec(**parts: Any) -> JobSpec:
    given_ = {
        "model": "flights",
        "team": "search",
        "run_id": "run-1",
        "command": ("python", "-m", "pipelines", "train"),
        "resources": Resources(cpu=1, memory_bytes=64 * MIB),
        "deadline": timedelta(hours=1),
    }
    return JobSpec(**{**given_, **parts})


@given(st.text(min_size=1).filter(str.strip))
def test_a_key_has_one_name_that_is_a_dns_label(key: str) -> None:
    assert LABEL.fullmatch(job_name(key))
    assert job_name(key) == job_name(key)
    assert len(job_name(key)) <= 52  # room for what a pod's name adds


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_texts_stay_two_labels(one: str, other: str) -> None:
    assert VALUE.fullmatch(label(one))
    if one != other:
        assert label(one) != label(other)


def test_two_keys_have_two_names_and_none_is_an_error() -> None:
    assert job_name("flights/a") != job_name("flights-a")
    with pytest.raises(ValueError, match="key"):
        job_name("  ")


@given(st.permutations(["A", "B", "C"]))
def test_a_fingerprint_does_not_know_of_order(names: list[str]) -> None:
    first = spec(environment={"X": "1", "Y": "2"}, secrets=frozenset("ABC"))
    assert spec(environment={"Y": "2", "X": "1"}, secrets=frozenset(names)).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"model": "x"},
        {"command": ("python",)},
        {"environment": {"A": "1"}},
        {"secrets": frozenset("A")},
        {"config": {"a.yaml": "x"}},
        {"resources": Resources(cpu=2, memory_bytes=64 * MIB)},
        {"deadline": timedelta(hours=2)},
        {"retries": 1},
        {"image": "x"},
        {"keep": timedelta(hours=2)},
    ],
)
def test_every_field_is_in_the_fingerprint(other: dict[str, Any]) -> None:
    assert spec(**other).fingerprint != spec().fingerprint


def test_how_it_is_bought_is_no_part_of_what_it_is() -> None:
    """Or a repetition after the model was moved would be another job."""
    assert spec(pricing="spot").fingerprint == spec().fingerprint
    with pytest.raises(ValidationError, match="pricing"):
        spec(pricing="committed")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"deadline": timedelta(0)}, "deadline"),
        ({"grace": timedelta(hours=2)}, "grace"),
        ({"command": ()}, "command"),
        ({"command": ("",)}, "command"),
        ({"command": ("a\0b",)}, "command"),
        ({"environment": {"OPPEN_JOB": "x"}}, "OPPEN_JOB"),
        ({"environment": {"A B": "x"}}, "environment"),
        ({"environment": {"A": "x"}, "secrets": frozenset("A")}, "secrets"),
        ({"config": {"../x": "y"}}, "config"),
        ({"config": {"a": "x" * 1_000_000}}, "config"),
        ({"resources": {"cpu": 0, "memory_bytes": MIB}}, "cpu"),
    ],
)
def test_what_no_backend_could_run_is_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(**parts)


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_job_prints_is_read(line: str) -> None:
    said = progress.parse(line)
    assert said is None or Progress(**said)


@given(st.floats() | st.integers() | st.text() | st.none(), st.floats() | st.text() | st.none(), st.text() | st.integers())
def test_progress_of_any_value_fits_or_is_none(fraction: Any, eta: Any, text: Any) -> None:
    said = progress.parse(json.dumps({"progress": fraction, "eta_seconds": eta, "text": text}))
    assert said is None or 0 <= Progress(**said).fraction <= 1


@given(st.floats(min_value=0, max_value=1), st.text(max_size=50), st.none() | st.floats(min_value=0, max_value=1e9))
def test_progress_is_read_as_it_is_printed(fraction: float, text: str, eta: float | None) -> None:
    said = progress.parse(progress.line(fraction, text, eta))
    assert said == {"fraction": pytest.approx(fraction, abs=1e-4), "text": text, "eta_seconds": eta}


def test_nesting_beyond_reason_is_no_progress() -> None:
    assert progress.parse('{"progress": ' + "[" * 1900) is None
    assert progress.parse('{"progress": ' + "9" * 400 + "}") is None


def test_the_pace_of_an_attempt_says_how_long_the_rest_takes() -> None:
    seconds = iter([100.0, 100.5, 110.0, 130.0, 140.0])
    pace = progress.Pace(lambda: next(seconds))
    lefts = [(progress.parse(pace.line(at)) or {})["eta_seconds"] for at in (0.5, 0.51, 0.6, 0.8, 1.0)]
    # What an attempt before had done (the first half) took this one no time.
    assert lefts == [None, None, 40.0, 20.0, 0.0]
