"""What is made of 48 hours that are over: the timeline, the checks of each story, the report."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simulations.hours48.outcome import Told, decisions, judged
from simulations.hours48.record import Record
from simulations.hours48.report import write
from simulations.hours48.timeline import ROWS, judge
from tests.unit.simulations.recorded import at, record

REFUSED = {
    "incidents": [
        {
            "id": "inc_1",
            "title": "Concept drift",
            "status": "escalated",
            "summary": "the proposal was rejected; accuracy stays below",
            "opened_at": at(6.8),
            "alerts": [{"labels": {"monitor": "drift"}}],
            "approvals": [{"status": "rejected", "proposal": {"finding": {"evidence": []}}}],
        }
    ],
    "events": [],
    "jobs": [],
    "rollouts": [],
    "decisions": [{"action": "retrain", "decision": "rejected"}],
    "aliases": {"champion": "5"},
}


def test_each_row_says_why_it_may_be_so_far_off() -> None:
    assert all(row.reason and row.tolerance > 0 for row in ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_what_came_about_as_told_is_met_and_what_nobody_measured_is_absent() -> None:
    found = {each.name: each.verdict for each in judge(record())}
    assert {name for name, verdict in found.items() if verdict == "met"} == {
        "accuracy.v5",
        "drift.detected",
        "training.begun",
        "accuracy.evaluated",
        "canary.10",
        "canary.50",
        "canary.100",
        "accuracy.day2",
    }
    assert {verdict for name, verdict in found.items() if name.startswith(("cost", "int8"))} == {"absent"}


def test_what_is_absent_is_not_met() -> None:
    checks, _ = judged(record(), Told())
    assert not checks.ok
    assert [each.name for each in checks.entries if not each.ok] == ["timeline.absent"]


def test_a_canary_that_comes_too_late_is_missed() -> None:
    late = [{"incident_id": "inc_1", "name": "rollout.stage", "at": at(10), "data": {"weight": 0.1}}]
    found = {each.name: each.verdict for each in judge(record(events=late))}
    assert (found["canary.10"], found["canary.50"]) == ("missed", "absent")


def test_costs_are_of_a_day_and_a_trainings_is_its_own() -> None:
    costs = [{"hour": hour, "cost": "2.0", "training": "4.5" if hour == 7 else "0"} for hour in range(48)]
    found = {each.name: each.value for each in judge(record(costs=costs))}
    assert (found["cost.before"], found["cost.training"], found["cost.day2"]) == (48.0, 4.5, 48.0)


@pytest.mark.parametrize(("drift", "ok"), [(False, False), (True, True)])
def test_without_the_fault_nothing_may_be_trained(drift: bool, ok: bool) -> None:
    told = record() if not drift else record(incidents=[], jobs=[], rollouts=[], aliases={"champion": "5"}, events=[])
    checks, _ = judged(told, Told(drift=False))
    assert checks.ok is ok


def test_a_refusal_is_a_stand_off_that_is_said() -> None:
    checks, _ = judged(record(**REFUSED), Told(refuse=True))
    assert checks.ok, [each for each in checks.entries if not each.ok]
    silent = {**REFUSED, "incidents": []}
    checks, _ = judged(record(**silent), Told(refuse=True))
    assert not checks.ok


def test_decisions_name_no_moments_so_that_two_runs_of_a_seed_have_the_same() -> None:
    assert decisions(record()) == [
        "operator: approved retrain",
        "rollout of 6 beside 5: promoted",
        "champion: version 6",
    ]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "line", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("line", "rect", "polyline"):
            return
        assert self.open.pop() == tag


def test_the_report_is_written_from_a_record_alone(tmp_path: Path) -> None:
    read = Record.read(record().as_json())
    checks, details = judged(read, Told())
    write(tmp_path, read, checks, details)
    page = _Page()
    html = (tmp_path / "report.html").read_text()
    page.feed(html)
    assert page.open == []
    assert page.seen.count("svg") == 3  # of the cost nothing was measured, and that is said
    assert "Not measured" in html
    assert "x moved &lt;as well&gt;" in html
    assert html.count("<script") == 0
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["ok"] is False
    assert [row["name"] for row in told["timeline"]] == [row.name for row in sorted(ROWS, key=lambda row: row.hour)]
    assert Record.read(json.dumps(told["record"])) == read
