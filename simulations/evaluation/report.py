"""Scores as people read them."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from simulations.checks import Checks
from simulations.evaluation.scoring import Score


def table(scores: Sequence[Score]) -> Table:
    found = Table(
        "scenario", "seed", "cause", "action", "minutes", "alerts", "USD", "", title="Judgement, scenario by scenario"
    )
    for each in scores:
        cause = each.cause if each.top1 else f"{each.cause} (was {' or '.join(each.expected_cause)})"
        action = each.action if each.acted_right else f"{each.action} (right: {' or '.join(each.expected_action)})"
        minutes = "" if each.minutes is None else f"{each.minutes:.0f}"
        name = f"{each.scenario} *" if each.held_out else each.scenario
        found.add_row(name, str(each.seed), cause, action, minutes, str(each.alerts), each.cost, "ok" if each.ok else "WRONG")
    return found


def closing(summary: dict[str, Any], checks: Checks, seconds: float) -> str:
    minutes = summary["minutes_to_action"]
    took = f", {minutes['median']:.0f} simulated minutes to the action in the middle" if minutes else ""
    lines = [
        f"{summary['scenarios']} scenarios in {seconds:.0f} s: cause first in {summary['cause_top1']:.0%}, among the first "
        f"three in {summary['cause_top3']:.0%}, action right in {summary['action_right']:.0%}{took}; "
        f"{summary['alerts_per_incident']} alerts an incident, {summary['cost']} {summary['currency']}. (* held out)"
    ]
    lines += [
        f"{'ok  ' if each.ok else 'FAIL'}  {each.name}: {each.value} (bar {each.limit}) {each.unit}".rstrip()
        for each in checks.entries
    ]
    return "\n".join(lines)
