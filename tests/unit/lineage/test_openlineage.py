"""What is told is OpenLineage: by its library's own classes, there and back."""

import importlib
import re
import typing
from typing import Any, get_args, get_type_hints

import attr
import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from tests.unit.lineage import stories
from tools.lineage import facets
from tools.lineage.openlineage import PRODUCER, as_openlineage

EVENTS = [as_openlineage(event) for event in stories.story()]
_OF_OPENLINEAGE = re.compile(r"https://openlineage\.io/spec/facets/[\d-]+/(\w+)\.json#/\$defs/(\w+)")
_OURS = {
    each._get_schema(): each
    for each in vars(facets).values()
    if isinstance(each, type) and each.__module__ == facets.__name__ and hasattr(each, "_get_schema")
}


def built(kind: type[Any], value: dict[str, Any]) -> Any:
    """An object of that class, which refuses fields that it does not know and lacks none that it needs."""
    hints = get_type_hints(kind, vars(importlib.import_module(kind.__module__)), vars(typing))
    given = {}
    for name, each in value.items():
        parts = [part for outer in (hints[name], *get_args(hints[name])) for part in (outer, *get_args(outer))]
        inner = next((part for part in parts if isinstance(part, type) and attr.has(part)), None)
        match each:
            case list() if inner is not None:
                given[name] = [built(inner, one) for one in each]
            case dict() if inner is not None:
                given[name] = {key: built(inner, one) for key, one in each.items()}
            case _:
                given[name] = each
    return kind(**given)


def facet(value: dict[str, Any]) -> Any:
    """As the class that its schema names makes it."""
    schema = value["_schemaURL"]
    form = _OF_OPENLINEAGE.fullmatch(schema)
    if form is not None:
        module = next(each for each in _modules() if hasattr(each, form[2]) and getattr(each, form[2])._get_schema() == schema)
        kind = getattr(module, form[2])
    else:
        kind = _OURS[schema]
    made = built(kind, {name: each for name, each in value.items() if not name.startswith("_")})
    assert made._get_schema() == schema
    return made


def _modules() -> list[Any]:
    from openlineage.client import facet_v2

    return [each for each in vars(facet_v2).values() if getattr(each, "__name__", "").startswith("openlineage")]


def of(parts: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: facet(each) for name, each in parts.get(key, {}).items()}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event['job']['name']} {event['eventType']}")
def test_an_event_is_what_the_library_makes_of_it(event: dict[str, Any]) -> None:
    again = RunEvent(
        eventType=RunState[event["eventType"]],
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=Run(event["run"]["runId"], of(event["run"], "facets")),
        job=Job(event["job"]["namespace"], event["job"]["name"], of(event["job"], "facets")),
        inputs=[
            InputDataset(each["namespace"], each["name"], facets=of(each, "facets"), inputFacets=of(each, "inputFacets"))
            for each in event.get("inputs", ())
        ],
        outputs=[
            OutputDataset(each["namespace"], each["name"], facets=of(each, "facets"), outputFacets=of(each, "outputFacets"))
            for each in event.get("outputs", ())
        ],
    )
    assert again.schemaURL == event["schemaURL"]
    assert {"eventTime", "producer", "schemaURL", "run", "job"} <= event.keys()


def test_every_facet_says_who_made_it() -> None:
    found = [each for event in EVENTS for each in _facets(event)]
    assert {each["_producer"] for each in found} == {PRODUCER}
    assert {"oppen_code", "oppen_batches", "oppen_window", "oppen_mlflow"} <= {
        each["_schemaURL"].split(":")[3] for each in found if each["_schemaURL"].startswith("urn:")
    }


def test_the_same_event_is_the_same_text() -> None:
    (event, *_) = stories.story()
    assert as_openlineage(event) == as_openlineage(event.model_copy(deep=True))


def _facets(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [each for one in value for each in _facets(one)]
    if not isinstance(value, dict):
        return []
    return ([value] if "_schemaURL" in value else []) + [each for one in value.values() for each in _facets(one)]
