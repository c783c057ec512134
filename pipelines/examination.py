"""The platform's own evaluation as a job: a candidate beside the champion, on rows that the platform names, signed by it.

What is asked for is in `evaluation.json`, recent traffic beside it; the registry is MLFLOW_TRACKING_URI. The evaluation is
left with the candidate's run, where the training could write too: it is believed for its signature alone.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pipelines.apart import Order as Asked
from pipelines.apart import measured_apart
from pipelines.beside import champion_run_of, made_of, seen_until, told, unread_end
from pipelines.card import FILE as CARD
from pipelines.card import card
from pipelines.held_out import Source, collect
from tools.errors import PermanentError, PortError
from tools.inference.engines import read_spec
from tools.predictions.port import LABEL
from tools.registry.evaluations import KEY, Evaluation, signed_artifact
from tools.registry.library import opened
from tools.registry.signing import digest, sign
from tools.registry.tracking import Tracking, translated
from tools.values import LeftOut, Window

CONFIG = "evaluation.json"
TRAFFIC = "recent.parquet.base64"


@dataclass(frozen=True)
class Order:
    """What is asked of the job."""

    job: str
    model: str
    candidate: str
    champion: str
    tracking_uri: str
    key: str
    source: Source
    held_out: Window | None
    recent: Window | None
    traffic: str
    asked_at: datetime
    left_out: tuple[LeftOut, ...] = ()
    load_seconds: float = 1.0
    memory_bytes: int | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From what a job finds. Raises PermanentError, which names the variable or field."""
        try:
            folder = Path(environment["OPPEN_JOB_CONFIG"])
            asked = json.loads((folder / CONFIG).read_text())
            traffic = folder / TRAFFIC
            return cls(
                job=environment["OPPEN_JOB"],
                model=str(asked["model"]),
                candidate=str(asked["candidate"]),
                champion=str(asked["champion"]),
                tracking_uri=environment["MLFLOW_TRACKING_URI"],
                key=environment[KEY],
                source=Source(
                    name=str(asked["source"]),
                    label=str(asked["label"]),
                    time=str(asked["time"]),
                    most_rows=int(asked["most_rows"]),
                    groups=tuple(map(str, asked["groups"])),
                    least_group=int(asked["least_group"]),
                ),
                held_out=_window(asked["held_out"]),
                recent=_window(asked["recent"]),
                traffic=traffic.read_text() if traffic.is_file() else "",
                asked_at=datetime.fromisoformat(asked["asked_at"]),
                left_out=tuple(LeftOut(**each) for each in asked["left_out"]),
                load_seconds=float(asked["load_seconds"]),
                memory_bytes=int(asked["memory_bytes"]),
            )
        except KeyError as error:
            raise PermanentError(f"{error.args[0]}: it is not set, and an evaluation job needs it") from error
        except (OSError, ValueError, TypeError) as error:
            raise PermanentError(f"OPPEN_JOB_CONFIG: {CONFIG} cannot be used: {error}") from error


def examine(
    order: Order,
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> dict[str, Any]:
    """Repeating it replaces what it has left. A candidate that cannot be loaded, or that ends the process that loads it, is no
    error but a failed check. Blocking, some ten seconds. Raises PortError: a PermanentError when the champion cannot be loaded,
    or there are no rows."""
    tracking = Tracking(order.tracking_uri, order.key)
    candidate = tracking.version(order.model, order.candidate)
    if candidate.run_id is None:
        name = f"{order.model} {order.candidate}"
        raise PermanentError(f"{name} was registered by no run: there is nowhere to leave its evaluation")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        progress(0.05, "fetching both versions")
        ours, theirs = (tracking.fetch(order.model, each, folder / "models") for each in (order.candidate, order.champion))
        artefact, champion_artefact = digest(ours.folder), digest(theirs.folder)
        held_as_evaluated(tracking, order.model, order.champion, champion_artefact)
        rows = collect(
            order.source,
            read_spec(theirs),
            folder,
            held_out=order.held_out,
            recent=order.recent,
            traffic=order.traffic,
            left_out=order.left_out,
        )
        progress(0.2, "; ".join(rows.told))
        asked = Asked(
            candidate=ours,
            champion=theirs,
            parts={str(part): path for part, path in rows.parts.items()},
            label=LABEL,
            groups=order.source.groups,
            least_group=order.source.least_group,
            seed=seed,
            load_seconds=order.load_seconds,
            memory_bytes=order.memory_bytes,
        )
        found = measured_apart(asked, folder)
    evaluation = Evaluation(
        model=order.model,
        version=order.candidate,
        champion=order.champion,
        held_out=rows.windows.get("held_out"),
        recent=rows.windows.get("recent"),
        facts=found.facts,
        staging=found.staging,
        seen_until=seen_until(candidate, rows.windows.values()),
        unread_end=unread_end(candidate),
        measured_at=datetime.now(UTC),
        asked_at=order.asked_at,
        job=order.job,
        artefact=artefact,
        champion_artefact=champion_artefact,
    )
    progress(0.9, "leaving what was found")
    with translated():
        mlflow = opened(order.tracking_uri)
        client = mlflow.MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.tracking_uri)
        made = made_of(client, order.model, order.candidate, candidate.run_id)
        champion_run = champion_run_of(tracking, order.model, order.champion)
        text = card(
            evaluation, found.spec, made, data="; ".join(rows.told), champion_run=champion_run, claim=_claim(order, tracking)
        )
        client.log_text(candidate.run_id, text, CARD)
        # Last: whoever finds the evaluation finds the card.
        client.log_text(candidate.run_id, sign(evaluation, order.key), signed_artifact(order.champion))
    progress(1.0, f"version {order.candidate} beside version {order.champion}")
    return {"ok": True, "job": order.job, "artefact": artefact, **told(evaluation)}


def held_as_evaluated(tracking: Tracking, model: str, champion: str, artefact: str) -> None:
    """Raises PermanentError when the champion's files are not those with which it became champion, where the platform has
    evaluated them: a candidate that beats them would have beaten what nobody has chosen."""
    known = tracking.evaluated(model, champion)
    if known is not None and known.artefact != artefact:
        raise PermanentError(
            f"the files of {model} {champion}, the champion, have been changed since {known.job} evaluated them: "
            "put them back, or make a version champion whose files are as they were"
        )


def _claim(order: Order, tracking: Tracking) -> Evaluation | None:
    """What cannot be read claims nothing."""
    try:
        return tracking.claim(order.model, order.candidate, order.champion)
    except PortError:
        return None


def _window(given: dict[str, Any] | None) -> Window | None:
    return Window(**given) if given is not None else None
