"""A version beside the champion by whoever trained it: its files checked, both asked about the same rows, and what was found
left with its run, as a claim. What is believed is measured by the platform's own job (`pipelines/examination.py`)."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.card import Made
from pipelines.evaluating import contender, measure
from pipelines.inspection import stage
from pipelines.labelled import Sample
from tools.errors import PermanentError
from tools.registry.evaluations import Evaluation, Facts, artifact
from tools.registry.library import opened
from tools.registry.port import Alias, ModelVersion
from tools.registry.serving_spec import ServingSpec
from tools.registry.tracking import Tracking, translated
from tools.values import Window

_DATA_END = "data.to"
"""The tag with the end of what a version has learnt from."""
_SHOWN = 100


@dataclass(frozen=True)
class Pair:
    model: str
    candidate: str
    champion: str
    tracking_uri: str


def champion_of(model: str, tracking_uri: str) -> str:
    """Raises PermanentError when it has none."""
    found = Tracking(tracking_uri).carried(model).get(Alias.CHAMPION)
    if found is None:
        raise PermanentError(f"{model} has no champion: name the version to hold the candidate against with --champion")
    return found


def evaluate(
    pair: Pair,
    sample: Callable[[ServingSpec], Sample],
    *,
    groups: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Evaluation:
    """`sample`: the rows, for a model that takes what the champion takes. Repeating it replaces what lies there.

    A candidate that cannot be loaded is no error but a failed check. Blocking, some ten seconds. Raises PortError; a
    PermanentError when the champion cannot be loaded, or the rows do not fit it.
    """
    tracking = Tracking(pair.tracking_uri)
    candidate = tracking.version(pair.model, pair.candidate)
    run_id = candidate.run_id
    if run_id is None:
        raise PermanentError(
            f"{pair.model} {pair.candidate} was registered by no run: there is nowhere to leave its evaluation"
        )
    with tempfile.TemporaryDirectory() as cache:
        ours, theirs = (tracking.fetch(pair.model, each, Path(cache)) for each in (pair.candidate, pair.champion))
        champion = contender(theirs)
        rows = sample(champion.spec)
        progress(0.1, "checking its files")
        staged = stage(ours, champion, max((part.table for part in rows.parts.values()), key=len))
        facts = Facts(compared=())
        if staged.contender is not None:
            progress(0.4, f"measuring it beside version {pair.champion}")
            facts = measure(staged.contender, champion, rows.parts, groups=groups, seed=seed)
    evaluation = Evaluation(
        model=pair.model,
        version=pair.candidate,
        champion=pair.champion,
        held_out=rows.windows.get("held_out"),
        recent=rows.windows.get("recent"),
        facts=facts,
        staging=staged.checks,
        seen_until=seen_until(candidate, rows.windows.values()),
        unread_end=unread_end(candidate),
        measured_at=datetime.now(UTC),
    )
    with translated():
        mlflow = opened(pair.tracking_uri)
        client = mlflow.MlflowClient(tracking_uri=pair.tracking_uri, registry_uri=pair.tracking_uri)
        client.log_text(run_id, evaluation.model_dump_json(), artifact(pair.champion))
    return evaluation


def told(evaluation: Evaluation) -> dict[str, Any]:
    """In short, for the report of a job."""
    accuracy = next((each for each in evaluation.facts.compared if each.name in ("accuracy", "mae")), None)
    return {
        "model": evaluation.model,
        "version": evaluation.version,
        "champion": evaluation.champion,
        "staging": {check.name: "passed" if check.ok else check.reason for check in evaluation.staging},
        accuracy.name if accuracy is not None else "accuracy": {
            "candidate": accuracy.candidate,
            "champion": accuracy.champion,
            "rows": accuracy.rows,
        }
        if accuracy is not None
        else None,
    }


def seen_until(candidate: ModelVersion, windows: Iterable[Window]) -> datetime | None:
    """When what it has learnt from ended, where that is within the rows."""
    until, begins = _learnt_until(candidate), min((window.start for window in windows), default=None)
    return until if until is not None and begins is not None and until > begins else None


def unread_end(candidate: ModelVersion) -> str:
    """What stands in place of the time at which its data ended; empty where it is one, or nothing is said."""
    if _DATA_END not in candidate.tags or _learnt_until(candidate) is not None:
        return ""
    return candidate.tags[_DATA_END][:_SHOWN] or "empty"


def _learnt_until(candidate: ModelVersion) -> datetime | None:
    """A tag is what somebody wrote: without a zone it is UTC, as all times of data are, and it may be no time."""
    try:
        until = datetime.fromisoformat(candidate.tags[_DATA_END])
        return until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None


def champion_run_of(tracking: Tracking, model: str, champion: str) -> str | None:
    return tracking.version(model, champion).run_id


def made_of(client: Any, model: str, version: str, run_id: str) -> Made:
    """`client`: MLflow's."""
    data = client.get_run(run_id).data
    found = {**data.tags, **client.get_model_version(model, version).tags}
    tags = {name: value for name, value in found.items() if not name.startswith("mlflow.")}
    return Made(run_id, dict(data.params), dict(data.metrics), tags)
