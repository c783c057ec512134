"""Curves over 48 hours as SVG, without a library: what is drawn is text, and the text can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from simulations.hours48.world import HOURS

_WIDTH, _HEIGHT = 860, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 130, 14, 30
_COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#475569")
_TICKS = 4


@dataclass(frozen=True)
class Curve:
    name: str
    points: Sequence[tuple[float, float]]
    """Hour and value."""


@dataclass(frozen=True)
class Chart:
    title: str
    unit: str
    curves: Sequence[Curve]
    low: float
    high: float
    marks: Sequence[tuple[float, str]] = ()
    """Hours at which something happened, and what."""
    note: str = ""


def drawn(chart: Chart) -> str:
    if not any(curve.points for curve in chart.curves):
        return f'<figure><figcaption>{escape(chart.title)}</figcaption><p class="absent">{escape(chart.note)}</p></figure>'
    label = escape(f"{chart.title}, {chart.unit}")
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">']
    for step in range(_TICKS + 1):
        value = chart.low + (chart.high - chart.low) * step / _TICKS
        y = _y(value, chart)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += [
        f'<text x="{_x(hour):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{hour} h</text>' for hour in range(0, HOURS + 1, 6)
    ]
    for hour, what in chart.marks:
        x = _x(hour)
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}">'
            f"<title>{escape(what)}</title></line>"
        )
    for place, curve in enumerate(chart.curves):
        colour = _COLOURS[place % len(_COLOURS)]
        points = " ".join(f"{_x(hour):.1f},{_y(value, chart):.1f}" for hour, value in curve.points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        line = _TOP + 14 + 18 * place
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 14}" y="{line - 9}" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 32}" y="{line - 3}">{escape(curve.name)}</text>')
    parts.append("</svg>")
    note = f"<p>{escape(chart.note)}</p>" if chart.note else ""
    return f"<figure><figcaption>{escape(chart.title)} ({escape(chart.unit)})</figcaption>{''.join(parts)}{note}</figure>"


def _x(hour: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * hour / HOURS


def _y(value: float, chart: Chart) -> float:
    part = (min(max(value, chart.low), chart.high) - chart.low) / (chart.high - chart.low)
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * part
