"""Definitions: what is none says why, and a version is what the code does, not how it is written."""

import importlib
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import flight_features
from pipelines.features import Aggregate, definitions
from tests.pipelines.feature_cases import HOUR, of_facts, over_windows
from tools.errors import PermanentError

_MODULE = '''
"""Written in several ways."""
import pyarrow as pa
LIMIT = {limit}
{comment}
def helper(raw):
    return raw.slice({start})
def unused(raw):
    return {unused}
def transform(raw):
    {docstring}
    return helper(raw).filter(pa.compute.greater(raw["value"], LIMIT))
'''


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The version of a definition whose module is written so."""
    monkeypatch.syspath_prepend(tmp_path)

    def version(**more: object) -> str:
        given: dict[str, object] = {"limit": 3, "comment": "", "start": 0, "unused": 1, "docstring": '"""Says this."""'}
        (tmp_path / "written_so.py").write_text(_MODULE.format(**{**given, **more}))
        sys.modules.pop("written_so", None)
        importlib.invalidate_caches()
        # Else the old code is read from its cache when both were written within a second and are of one size.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        module = importlib.import_module("written_so")
        found = of_facts(transform=module.transform).version
        import linecache

        linecache.clearcache()
        return found

    return version


def test_a_version_changes_with_what_the_code_does(written: Callable[..., str]) -> None:
    first = written()
    assert written(limit=4) != first, "a constant that it names"
    assert written(start=1) != first, "a function that it calls"
    assert written(comment="# a remark", docstring="'''Says that.'''") == first
    assert written(unused=2) == first
    assert written() == first


@pytest.mark.parametrize(
    "change",
    [
        {"ttl": 9 * HOUR},
        {"event_time": "value"},
        {"source": "others"},
        {"entities": {"key": "integer"}},
        {"features": {"value": "integer"}},
    ],
)
def test_a_version_changes_with_the_definition(change: dict[str, Any]) -> None:
    assert of_facts(**change).version != of_facts().version


def test_who_owns_it_and_what_is_said_of_it_makes_no_version() -> None:
    assert of_facts(owner="others", description="more").version == of_facts().version


def test_a_window_makes_a_version() -> None:
    aggregates = {**over_windows().aggregates, "count_3h": Aggregate("count", 2 * HOUR)}
    assert over_windows(aggregates=aggregates).version != over_windows().version


@pytest.mark.parametrize(
    ("make", "change", "said"),
    [
        (of_facts, {"features": {}}, "either features or aggregates"),
        (of_facts, {"owner": ""}, "who answers for it"),
        (of_facts, {"features": {"key": "text"}}, "either an entity or a feature"),
        (of_facts, {"features": {"created": "text"}}, "created: a column of ours"),
        (of_facts, {"transform": lambda raw: raw}, "made with def"),
        (of_facts, {"ttl": timedelta(0)}, "longer than nothing"),
        (over_windows, {"ttl": 2 * HOUR}, "at least the longest window"),
        (over_windows, {"every": timedelta(minutes=50)}, "has to be a multiple"),
        (over_windows, {"aggregates": {"x": Aggregate("mean", HOUR)}}, "the mean of which column"),
    ],
)
def test_what_is_no_definition_says_why(make: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(**change)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("no.such.module", "is it on PYTHONPATH"),
        ("tests.pipelines.feature_cases", "has to have VIEWS"),
        ("not a module", "write it as package.module"),
    ],
)
def test_a_module_without_definitions_says_so(module: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        definitions(module)


def test_the_reference_definitions_are_read_by_their_name() -> None:
    found = definitions("pipelines.flight_features")
    assert {each.name for each in found} == {
        "carrier_delays",
        "origin_delays",
        "route_delays",
        "origin_departures",
        "origin_weather",
    }
    assert found == flight_features.VIEWS


def test_lateness_goes_by_the_landing() -> None:
    """The label of a flight is in no feature before it has landed."""
    assert {each.event_time for each in flight_features.VIEWS if each.transform is flight_features.landed} == {"arrived"}
    with pytest.raises(KeyError):
        flight_features.departed(pa.table({"origin": ["JFK"], "carrier": ["UA"], "departed": [0], "dep_delay": [1.0]}))["late"]
