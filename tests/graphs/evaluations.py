"""What an evaluation job of the platform leaves, as a test wants it."""

from datetime import UTC, datetime
from typing import Any

from agents.examination import key_of
from tests.graphs.platform import MODEL, Platform
from tools.jobs.port import job_name
from tools.registry.evaluations import CHECKS, Compared, Discordance, Evaluation, Facts, StagingCheck
from tools.registry.signing import sign

ROWS, RIGHT = 6_000, 5_142


def evaluation_of(version: str, champion: str = "1", run_id: str = "run-1") -> str:
    """The job's name."""
    return job_name(key_of(run_id, version, champion))


def measured(version: str, champion: str = "1", *, won: int = 226, lost: int = 109, **more: Any) -> Evaluation:
    """`won`: rows that only the candidate has got right."""
    fact = Compared(
        name="accuracy",
        window="held_out",
        candidate=(RIGHT + won - lost) / ROWS,
        champion=RIGHT / ROWS,
        rows=ROWS,
        discordance=Discordance(only_candidate_right=won, only_champion_right=lost),
    )
    given: dict[str, Any] = {
        "model": MODEL,
        "version": version,
        "champion": champion,
        "held_out": None,
        "recent": None,
        "facts": Facts(compared=(fact,)),
        "staging": tuple(StagingCheck(name=name, ok=True, reason="looked at") for name in CHECKS),
        "measured_at": datetime(2026, 3, 2, 12, tzinfo=UTC),
        "job": evaluation_of(version, champion),
        **more,
    }
    return Evaluation(**given)


def leave(platform: Platform, version: str, evaluation: Evaluation, *, key: str = "", artefact: str = "") -> None:
    """With the candidate's run, signed."""
    files = {
        "artefact": artefact or platform.registry.artefact(MODEL, version),
        "champion_artefact": platform.registry.artefact(MODEL, evaluation.champion),
    }
    bound = evaluation.model_copy(update=files)
    text = sign(bound, key or platform.registry.key)
    platform.registry.evaluate(MODEL, version, evaluation.champion, text)
