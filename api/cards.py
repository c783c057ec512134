"""Approvals and incidents as an operator reads them in a terminal.

What came from outside is put in as plain text: nothing in it is taken for markup, colour or a control sequence of the terminal.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.narrative import plain

_OPEN, _GOOD, _BAD = "yellow", "green", "red"
_COLOURS = {
    "pending": _OPEN,
    "approved": _GOOD,
    "resolved": _GOOD,
    "self_resolved": _GOOD,
    "rejected": _BAD,
    "expired": _BAD,
    "escalated": _BAD,
}


def approval(shown: dict[str, Any]) -> RenderableType:
    """The question with everything that it takes to answer it."""
    proposal, status = shown["proposal"], shown["status"]
    finding, impact = proposal["finding"], proposal["impact"]
    parts: list[RenderableType] = [
        _said(f"Cause: {finding['cause'].replace('_', ' ')}. ", finding["summary"]),
        Text(),
        _evidence(finding),
        Text(),
        _facts(
            ("Effect", impact["expected_effect"]),
            ("Touches", impact["blast_radius"]),
            ("Risk", impact["risk"]),
            ("Undo", impact["undo"]),
            ("Runbook", f"docs/runbooks/{impact['runbook']}.md"),
            ("Asked by", f"{shown['requested_by']}, judged by policies {shown['policy_version']}"),
            ("Needs", "one approval" if shown["quorum"] == 1 else f"{shown['quorum']} approvals"),
            ("Expires", shown["expires_at"]),
            ("Fingerprint", shown["fingerprint"]),
        ),
    ]
    if finding["missing"]:
        missing = ", ".join(f"{each['source']} ({each['reason']})" for each in finding["missing"])
        parts.insert(3, _said("Not read: ", missing))
    colour = _COLOURS.get(status, "dim")
    panel = Panel(
        Group(*parts),
        title=_text(proposal["title"], "bold"),
        subtitle=Text(status, colour),
        border_style=colour,
        padding=(1, 2),
    )
    if status != "pending":
        verdict = shown["verdict"]
        return Group(panel, _said("Decided by: ", ", ".join(verdict["decided_by"]) if verdict else status))
    return panel


def curl(shown: dict[str, Any], url: str) -> str:
    """The key stays in the environment of whoever pastes it."""
    body = json.dumps({"decision": "approve", "fingerprint": shown["fingerprint"]})
    target = shlex.quote(f"{url}/v1/approvals/{shown['id']}/decision")
    headers = '-H "Authorization: Bearer $OPPEN_KEY" -H "Content-Type: application/json"'
    return f"curl -sS -X POST {target} {headers} -d {shlex.quote(body)}"


def incident(shown: dict[str, Any]) -> RenderableType:
    """What is wrong, what was found, and how far it is."""
    colour = _COLOURS.get(shown["status"], _OPEN)
    facts = [
        ("Subject", shown["subject"]),
        ("Severity", shown["severity"]),
        ("Cause", (shown["cause"] or "being looked for").replace("_", " ")),
        ("Summary", shown["summary"] or ""),
        ("Opened", shown["opened_at"]),
        ("Closed", shown["closed_at"] or "still open"),
        ("Alerts", ", ".join(sorted({f"{each['name']} ({each['status']})" for each in shown["alerts"]}))),
        *((f"Approval {each['status']}", f"{each['id']}  {each['proposal']['title']}") for each in shown["approvals"]),
        *((f"Action {each['state']}", f"{each['key']}  {each['proposal']['title']}") for each in shown["actions"]),
    ]
    return Panel(
        _facts(*facts),
        title=_text(shown["title"], "bold"),
        subtitle=Text(shown["status"].replace("_", " "), colour),
        border_style=colour,
        padding=(1, 2),
    )


def _evidence(finding: dict[str, Any]) -> Table:
    """For and against the leading hypothesis, then what else was measured."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for name, justify in (("", "left"), ("evidence", "left"), ("measured", "right"), ("limit", "right"), ("samples", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for word, each in _ordered(finding):
        measured = f"{_number(each['value'])} {each['unit']}".strip()
        samples = "" if each["sample_size"] is None else str(each["sample_size"])
        colour = {"for": _BAD, "against": _GOOD}.get(word, "dim")
        table.add_row(Text(word, colour), _text(each["statement"]), _text(measured), _number(each["limit"]), samples)
    return table


def _ordered(finding: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    known = {each["id"]: each for each in finding["evidence"]}
    leading = finding["hypotheses"][0] if finding["hypotheses"] else {"supporting": [], "against": []}
    for word, ids in (("for", leading["supporting"]), ("against", leading["against"])):
        for each in ids:
            if each in known:
                yield word, known.pop(each)
    for rest in known.values():
        yield "", rest


def _facts(*facts: tuple[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    # A fingerprint is of use only when it can be read to its end.
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name, "dim"), _text(value))
    return table


def _said(head: str, text: str) -> Text:
    return Text(head, "bold").append(plain(text, 2_000), "not bold")


def _text(value: object, style: str = "") -> Text:
    return Text(plain(str(value), 1_000), style)


def _number(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else plain(str(value), 60)
