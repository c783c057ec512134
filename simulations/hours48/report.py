"""The report of the 48 hours: `report.html` for people and `report.json` for programs, of one record."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from simulations.checks import Checks
from simulations.hours48.charts import Chart, Curve, drawn
from simulations.hours48.outcome import decisions, stand_off
from simulations.hours48.record import Record
from simulations.hours48.timeline import Judged, judge
from simulations.hours48.world import FEATURES, HOURS

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1e293b; max-width: 920px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: .35rem .5rem; border-bottom: 1px solid #e2e8f0; vertical-align: top; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.met { color: #047857; } .missed { color: #b91c1c; font-weight: 600; } .absent { color: #64748b; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: #475569; }
svg .grid { stroke: #e2e8f0; } svg .mark { stroke: #94a3b8; stroke-dasharray: 3 3; }
small { color: #64748b; }
"""


def write(folder: Path, record: Record, checks: Checks, details: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = json.loads(checks.as_json(details)) | {"record": json.loads(record.as_json())}
    (folder / "report.json").write_text(json.dumps(told, indent=1))
    (folder / "report.html").write_text(page(record, checks))


def page(record: Record, checks: Checks) -> str:
    rows = judge(record)
    differ = [each for each in rows if each.verdict != "met"]
    said = (
        "Every row of the timeline came about within its tolerance."
        if not differ
        else "It differs in: " + "; ".join(f"{each.says} ({_differs(each)})" for each in differ) + "."
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>48 hours of a shop</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>48 hours of a shop, seed {record.seed}</h1>",
        f"<p>{escape(said)} Played in {record.seconds:.0f} s; the machine's load was {record.load:.1f} at the end.</p>",
        "<h2>The timeline beside what came about</h2>",
        _timeline(rows),
        "<h2>Checks</h2>",
        _checks(checks),
        "<h2>Over the 48 hours</h2>",
        *(drawn(each) for each in charts(record)),
        "<h2>What was decided</h2>",
        _listed(decisions(record)),
    ]
    if standing := stand_off(record):
        parts += ["<h2>Where it stands</h2>", _listed(standing)]
    parts += [
        "<h2>Incidents</h2>",
        _listed(
            [f"hour {record.hour(each['opened_at']):.1f}: {each['title']} ({each['status']})" for each in record.incidents]
        ),
        "<p><small>Only time and the world are simulated: customers, what becomes of them, when it is known, prices, and an "
        "operator who decides over REST. What each figure is measured by is in docs/simulation.md; report.json has all that "
        "was recorded.</small></p></body></html>",
    ]
    return "\n".join(parts)


def charts(record: Record) -> list[Chart]:
    hours, marks = range(HOURS), _marks(record)
    accuracy = [
        Curve(
            f"version {version}",
            [(hour + 0.5, 100 * found) for hour in hours if (found := record.accuracy([hour], version)) is not None],
        )
        for version in record.versions
    ]
    split = [
        Curve(
            f"version {version}",
            [(hour + 0.5, 100 * found) for hour in hours if (found := record.share(hour, version)) is not None],
        )
        for version in record.versions
    ]
    drift = [
        Curve(name, [(each["hour"] - 0.5, score) for each in record.drift if (score := each["scores"].get(name)) is not None])
        for name in FEATURES
    ]
    most = max((value for curve in drift for _, value in curve.points), default=1.0)
    cost = [Curve("whole", [(each["hour"] + 0.5, 24 * float(each["cost"])) for each in record.costs])]
    dearest = max((value for _, value in cost[0].points), default=60.0)
    return [
        Chart("Accuracy of each hour's answers, as their clients saw it", "%", accuracy, 70, 100, marks),
        Chart(
            "Drift of each feature from what it was before the shift",
            "standard deviations",
            drift,
            0,
            max(1.0, round(most + 0.5)),
            marks,
        ),
        Chart("Split of the traffic", "%", split, 0, 100, marks),
        Chart(
            "Cost by the ledger, hour by hour",
            "$ a day",
            cost,
            0,
            max(60.0, round(dearest + 10, -1)),
            marks,
            "Not measured: nothing was booked." if not record.costs else "",
        ),
    ]


def _marks(record: Record) -> list[tuple[float, str]]:
    found = [(record.hour(each["opened_at"]), each["title"]) for each in record.incidents]
    found += [
        (record.hour(each["at"]), f"{each['data']['weight']:.0%} of the traffic")
        for each in record.events
        if each["name"] == "rollout.stage"
    ]
    return found


def _differs(row: Judged) -> str:
    return "not measured" if row.value is None else f"{row.value:g} where {row.wanted:g} was told, unit {row.unit}"


def _timeline(rows: Sequence[Judged]) -> str:
    cells = "".join(
        f'<tr><td class="number">{each.hour:g}</td><td>{escape(each.says)}</td>'
        f'<td class="number">{each.wanted:g} ± {each.tolerance:g} {escape(each.unit)}</td>'
        f'<td class="number">{"" if each.value is None else f"{each.value:.2f}"}</td>'
        f'<td class="{each.verdict}">{each.verdict}</td><td><small>{escape(each.reason)}</small></td></tr>'
        for each in rows
    )
    head = "".join(f"<th>{name}</th>" for name in ("hour", "the seed says", "wanted", "came about", "", "why so much"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"


def _checks(checks: Checks) -> str:
    cells = "".join(
        f'<tr><td>{escape(each.name)}</td><td class="number">{escape(str(each.value))} {escape(each.unit)}</td>'
        f'<td class="number">{escape(str(each.limit))}</td><td class="{"met" if each.ok else "missed"}">'
        f"{'ok' if each.ok else 'FAIL'}</td></tr>"
        for each in checks.entries
    )
    return f"<table><thead><tr><th>check</th><th>value</th><th>limit</th><th></th></tr></thead><tbody>{cells}</tbody></table>"


def _listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else "<p>None.</p>"
