"""The model card of a version: what it is, what it was made from, how it did, and what nobody has looked at. Markdown.

After Mitchell et al. (2019), Model cards for model reporting, FAT*. Everything in it was measured or is on record; what is not
known is said to be unknown. Names and texts come from outside, and are shown, never interpreted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tools.registry.evaluations import Compared, Evaluation
from tools.registry.serving_spec import CategoricalFeature, NumericFeature, ServingSpec
from tools.values import Window

FILE = "model-card.md"
_MARKUP = str.maketrans({each: f"\\{each}" for each in "\\`*_{}[]<>|#!"} | {"\n": " ", "\r": " "})
_SHOWN_CATEGORIES = 12
_LINEAGE = (
    "oppen.job",
    "quantized_from",
    "format",
    "quantized.recipe",
    "data.from",
    "data.to",
    "data.rows",
    "data.source",
    "feature.view",
    "git.commit",
)
_ENVIRONMENT = ("env.python", "env.torch", "env.platform", "env.device")


@dataclass(frozen=True)
class Made:
    """The run that made the version, as the registry has it."""

    run_id: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def card(
    evaluation: Evaluation,
    spec: ServingSpec | None,
    made: Made,
    *,
    data: str,
    champion_run: str | None,
    claim: Evaluation | None = None,
) -> str:
    """`data`: where the rows of the evaluation come from. `claim`: what the training itself says."""
    title = f"# {plain(evaluation.model)}, version {plain(evaluation.version)}"
    parts = (
        title,
        f"Held beside champion {plain(evaluation.champion)} on {evaluation.measured_at:%Y-%m-%d %H:%M} UTC"
        + (f" by the platform's job {plain(evaluation.job)}." if evaluation.job else "."),
        "## What it answers",
        *_answers(spec),
        "## How it was made",
        *_making(evaluation, made, champion_run),
        "## How it does",
        *_measures(evaluation, data),
        *_claimed(claim),
        "## Checks of its files",
        table(
            ("check", "", "what was looked at"),
            [(c.name, "passed" if c.ok else "**failed**", c.reason) for c in evaluation.staging],
        )
        if evaluation.staging
        else "None on record.",
        "## Limits",
        *_limits(evaluation),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _answers(spec: ServingSpec | None) -> Iterable[str]:
    if spec is None:
        yield "Unknown: it has no `serving.json` that can be read."
        return
    answers = f"one of {', '.join(map(plain, spec.classes))}" if spec.classes else "a number"
    threshold = f" The second is said from a probability of {spec.threshold:g} on." if spec.task == "binary" else ""
    yield f"{spec.task.capitalize()}: {answers}.{threshold}"
    yield table(
        ("feature", "kind", "values"),
        [(f.name, f.kind, "missing is allowed" if isinstance(f, NumericFeature) else _categories(f)) for f in spec.features],
    )


def _categories(feature: CategoricalFeature) -> str:
    shown = ", ".join(feature.categories[:_SHOWN_CATEGORIES])
    more = len(feature.categories) - _SHOWN_CATEGORIES
    return f"{shown}{f' and {more} more' if more > 0 else ''}; any other is unknown"


def _making(evaluation: Evaluation, made: Made, champion_run: str | None) -> Iterable[str]:
    rows = [("run", made.run_id), *([("SHA-256 of its files", evaluation.artefact)] if evaluation.artefact else [])]
    rows += [(name, made.tags[name]) for name in (*_LINEAGE, *_ENVIRONMENT) if name in made.tags]
    rows += [(f"parameter {name}", value) for name, value in sorted(made.params.items())]
    rows += [(f"in training: {name}", f"{value:.6g}") for name, value in sorted(made.metrics.items())]
    if "cost.amount" in made.tags:
        rows.append(("cost until then", f"{made.tags['cost.amount']} {made.tags.get('cost.currency', '')}"))
    rows.append((f"run of champion {evaluation.champion}", champion_run or "unknown"))
    yield table(("", ""), rows)
    if "git.commit" not in made.tags:
        yield "The version of its code is not on record."


def _measures(evaluation: Evaluation, data: str) -> Iterable[str]:
    yield f"On {plain(data)}; held out: {when(evaluation.held_out)}; recent: {when(evaluation.recent)}."
    whole = [each for each in evaluation.facts.compared if ":" not in each.name]
    parts = [each for each in evaluation.facts.compared if ":" in each.name]
    if not whole:
        yield "Not measured."
    for caption, facts in (("", whole), ("By slice and group:", parts)):
        if facts:
            yield caption
            yield table(("measure", "rows of", "number", "candidate", "champion"), map(_compared, facts))
    if evaluation.facts.limited:
        yield "What it needs:"
        cells = [(each.name, f"{each.candidate:.6g}", f"{each.champion:.6g}") for each in evaluation.facts.limited]
        yield table(("measure", "candidate", "champion"), cells)
    if evaluation.facts.fairness:
        yield "Largest difference between groups:"
        gaps = [
            (each.name, f"{each.candidate:.4f}", f"{each.champion:.4f}", str(each.smallest_group))
            for each in evaluation.facts.fairness
        ]
        yield table(("measure", "candidate", "champion", "rows of the smallest group"), gaps)


def _claimed(claim: Evaluation | None) -> Iterable[str]:
    whole = [each for each in claim.facts.compared if ":" not in each.name] if claim is not None else []
    if whole:
        yield "What its training claims of it, which nobody has checked:"
        yield table(("measure", "rows of", "number", "candidate", "champion"), map(_compared, whole))


def _compared(fact: Compared) -> tuple[str, ...]:
    return fact.name, fact.window.replace("_", " "), f"{fact.rows:,}", f"{fact.candidate:.4f}", f"{fact.champion:.4f}"


def _limits(evaluation: Evaluation) -> Iterable[str]:
    facts = evaluation.facts
    said = []
    if any(not check.ok for check in evaluation.staging):
        said.append("It failed a check of its files and may not be served.")
    if not facts.fairness:
        said.append("No groups of people were named, so fairness was not looked at.")
    if evaluation.recent is None:
        said.append("Recent traffic was not looked at by itself.")
    if evaluation.seen_until is not None:
        until = f"{evaluation.seen_until:%Y-%m-%d %H:%M} UTC"
        said.append(f"It has learnt from data up to {until}: on rows before, its figures are too good.")
    if evaluation.unread_end:
        said.append(
            f"Its tag data.to is no time ({evaluation.unread_end}): whether it has learnt from these rows is not known."
        )
    if evaluation.held_out is None:
        said.append("From when the rows are is not on record, nor that the model has not seen them in training.")
    worse = [
        f"{f.name} ({f.window.replace('_', ' ')})"
        for f in facts.compared
        if (f.candidate < f.champion) == (f.better == "higher") and f.candidate != f.champion
    ]
    if worse:
        count = f"{len(worse)} of {len(facts.compared)} measures"
        said.append(f"By the plain figure it is below the champion in {count}: {', '.join(worse)}.")
    said.append("Offline figures: what it does to those who get its answers is not in them.")
    yield "\n".join(f"- {plain(each)}" for each in said)


def when(window: Window | None) -> str:
    return f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC" if window is not None else "not on record"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell if cell == "**failed**" else plain(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def plain(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text).translate(_MARKUP)
