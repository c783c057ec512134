"""Whatever order events come in, and how often, the graph is the same."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lineage import stories
from tools.lineage import names
from tools.lineage.memory import Memory
from tools.lineage.openlineage import as_openlineage
from tools.lineage.port import Direction, Event, NotKnown, Query, RunState
from tools.lineage.projection import Facts, Unreadable, facts

STORY = [as_openlineage(event) for event in stories.story()]


def together(events: list[dict[str, Any]]) -> Facts:
    found = Facts()
    for event in events:
        found.add(facts(event))
    return found


@given(st.permutations(STORY), st.lists(st.sampled_from(STORY), max_size=5))
def test_order_and_repetition_change_nothing(events: list[dict[str, Any]], again: list[dict[str, Any]]) -> None:
    assert together(events + again) == together(STORY)


def test_a_run_without_its_start_is_there() -> None:
    event = next(each for each in STORY if each["eventType"] == "COMPLETE")
    (node, *_) = Memory(facts(event)).graph(Query(node=names.run(event["run"]["runId"]))).nodes
    assert (node.state, node.started_at) == ("COMPLETE", None)
    assert node.ended_at == stories.START + timedelta(minutes=1, seconds=9)


def test_a_run_that_has_not_ended_is_running() -> None:
    (node, *_) = Memory(facts(STORY[0])).graph(Query(node=names.run(STORY[0]["run"]["runId"]))).nodes
    assert (node.state, node.ended_at, node.job) == ("RUNNING", None, "job:oppen/ingest.trips")


def test_a_run_that_failed_says_why() -> None:
    event = Event(run=stories.run(1, "ingest"), state=RunState.FAIL, at=stories.START, error="no space left")
    (node, *_) = Memory(facts(as_openlineage(event))).graph(Query(node=names.run(event.run.id))).nodes
    assert (node.state, node.facets["errorMessage"]["message"]) == ("FAIL", "no space left")


def test_the_newest_of_a_facet_stands_and_a_deleted_one_goes() -> None:
    def event(minute: int, facet: dict[str, Any]) -> dict[str, Any]:
        data = {"namespace": "s3://raw", "name": "trips", "facets": {"documentation": facet}}
        return outside(outputs=[data], eventTime=f"2026-03-02T09:{minute:02}:00Z")

    def documented(*events: dict[str, Any]) -> object:
        (node, *_) = Memory(together(list(events))).graph(Query(node="dataset:s3://raw/trips")).nodes
        return node.facets.get("documentation")

    old, new, gone = event(1, {"description": "old"}), event(2, {"description": "new"}), event(3, {"_deleted": True})
    assert documented(new, old) == {"description": "new"}
    assert documented(gone, new, old) is None


def test_what_other_tools_tell_is_joined_by_dataset_and_their_parent_is_shown() -> None:
    spark = outside(
        run={"runId": "00000000-0000-0000-0000-0000000000A1", "facets": {"parent": PARENT}},
        inputs=[{"namespace": "s3://raw", "name": "trips", "facets": {"version": {"datasetVersion": "5"}}}],
        outputs=[{"namespace": "s3://clean", "name": "trips", "facets": None}],
    )
    load = outside(run={"runId": "00000000-0000-0000-0000-0000000000A2"}, outputs=[{"namespace": "s3://raw", "name": "trips"}])
    found = Memory(together([spark, load])).graph(Query(node="dataset:s3://clean/trips", direction=Direction.UP))
    assert {node.id for node in found.nodes} == {
        "dataset:s3://clean/trips",
        "run:00000000-0000-0000-0000-0000000000a1",
        "job:spark/load",
        "run:00000000-0000-0000-0000-0000000000ff",
        "dataset:s3://raw/trips",
        "run:00000000-0000-0000-0000-0000000000a2",
    }


PARENT = {"run": {"runId": "00000000-0000-0000-0000-0000000000ff"}, "job": {"namespace": "airflow", "name": "daily"}}


def outside(**changes: Any) -> dict[str, Any]:
    event = {
        "eventType": "COMPLETE",
        "eventTime": "2026-03-02T09:00:00Z",
        "producer": "https://example.org/spark",
        "run": {"runId": "00000000-0000-0000-0000-0000000000a1"},
        "job": {"namespace": "spark", "name": "load"},
        "inputs": None,
    }
    return event | changes


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventTime": "yesterday"}, "eventTime"),
        ({"eventTime": "2026-03-02T09:00:00"}, "eventTime"),
        ({"eventType": "DONE"}, "eventType"),
        ({"run": {"runId": "seven"}}, "run.runId"),
        ({"job": {"namespace": "spark"}}, "job.name"),
        ({"job": {"namespace": "", "name": "x"}}, "job.namespace"),
        ({"outputs": [{"namespace": "a", "name": "b" * 3_000}]}, "outputs[0].name"),
        ({"run": {"runId": "00000000-0000-0000-0000-0000000000a1", "facets": {"parent": {}}}}, "run.facets.parent.run"),
        (
            {"inputs": [{"namespace": "lake", "name": "trips", "facets": {"oppen_batches": {"batches": [{}]}}}]},
            "inputs[0].facets.oppen_batches.batches[0].key",
        ),
        (
            {"inputs": [{"namespace": "lake", "name": "trips", "facets": {"version": {}}}]},
            "inputs[0].facets.version.datasetVersion",
        ),
    ],
)
def test_what_is_no_event_is_refused_by_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Unreadable) as refused:
        facts(outside(**change))
    assert field in [where for where, _ in refused.value.faults]


def test_what_nobody_told_of_is_not_known() -> None:
    with pytest.raises(NotKnown):
        Memory(together(STORY)).graph(Query(node="model:flights/9"))
