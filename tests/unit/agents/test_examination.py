"""What is submitted for an evaluation is what its job reads; which rows it is on; and what only its job may know."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agents.actions import Retrain
from agents.evaluation import Standing, evaluate
from agents.evaluation_job import EvaluationJob
from agents.examination import CONFIG, TRAFFIC, Examination, is_evaluation, key_of, spec_of, windows
from agents.policies import Training
from agents.promotion_rules import Evaluations
from agents.training import TRACKING
from pipelines import examination
from pipelines.held_out import Source
from tests.unit.agents.worlds import NOW
from tools.errors import PermanentError
from tools.jobs.port import job_name
from tools.registry.evaluations import KEY, Compared, Discordance, Facts
from tools.values import LeftOut, Window

DAY = timedelta(days=1)
WEEK = Window(start=NOW - 7 * DAY, end=NOW)
YESTERDAY = Window(start=NOW - DAY, end=NOW)
LOST = LeftOut(window=YESTERDAY, features=("temp",))
ASKED = Examination(model="flights", candidate="4", champion="3", job="oppen-evaluation-1", begun_at=NOW)
RETRAIN = Retrain(model="flights", version="3", window_start=NOW - 30 * DAY, window_end=NOW - DAY)


def test_the_job_reads_what_was_asked(tmp_path: Path) -> None:
    rules = EvaluationJob(source="/rows.parquet", label="late", time="at", groups=("sex",), memory_mib=512)
    rows: dict[str, Any] = {"held_out": WEEK, "recent": YESTERDAY, "left_out": (LOST,), "traffic": "cGFy", "least_group": 50}
    spec = spec_of(ASKED, "run-1", rules, Training(), **rows)
    for name in (CONFIG, TRAFFIC):
        (tmp_path / name).write_text(spec.config[name])
    found = {"OPPEN_JOB": "oppen-evaluation-1", "OPPEN_JOB_CONFIG": str(tmp_path), TRACKING: "sqlite:////m.db", KEY: "k"}
    read = examination.Order.read({**spec.environment, **found})
    assert (read.model, read.candidate, read.champion, read.job) == ("flights", "4", "3", "oppen-evaluation-1")
    assert read.source == Source("/rows.parquet", "late", "at", 100_000, ("sex",), 50)
    assert (read.held_out, read.recent, read.left_out, read.traffic) == (WEEK, YESTERDAY, (LOST,), "cGFy")
    assert (read.key, read.memory_bytes, read.load_seconds) == ("k", 512 << 20, 3.0)
    with pytest.raises(PermanentError, match=KEY):
        examination.Order.read({**spec.environment, **{name: value for name, value in found.items() if name != KEY}})


def test_the_end_of_a_trainings_window_is_held_out_and_never_most_of_it() -> None:
    held_out, recent = windows(EvaluationJob(), RETRAIN, timedelta(0), NOW)
    assert held_out == Window(start=RETRAIN.window_end - 7 * DAY, end=RETRAIN.window_end)
    assert recent == YESTERDAY
    short = RETRAIN.model_copy(update={"window_start": RETRAIN.window_end - 4 * DAY})
    assert windows(EvaluationJob(), short, timedelta(0), NOW)[0] == Window(
        start=RETRAIN.window_end - DAY, end=RETRAIN.window_end
    )


def test_traffic_whose_labels_may_still_come_is_not_looked_at() -> None:
    held_out, recent = windows(EvaluationJob(), None, 2 * DAY, NOW)
    assert held_out == Window(start=NOW - 7 * DAY, end=NOW - 2 * DAY)
    assert recent == Window(start=NOW - 3 * DAY, end=NOW - 2 * DAY)
    assert windows(EvaluationJob(held_out="0s", recent="0s"), RETRAIN, 2 * DAY, NOW) == (None, None)


def test_evaluations_are_told_by_their_names() -> None:
    assert is_evaluation(job_name(key_of("run_01", "4", "3")))
    assert not is_evaluation(job_name("run_01/1"))
    assert key_of("run_01", "4", "3") != key_of("run_01", "4", "2")


def test_no_policy_gives_a_training_the_key() -> None:
    for rules in (Training, EvaluationJob):
        with pytest.raises(ValidationError, match="given to evaluation jobs"):
            rules(secrets={KEY})
    with pytest.raises(ValidationError, match="no password"):
        EvaluationJob(source="postgresql://me:sesame@host/db#rows")
    assert EvaluationJob(source="postgresql://me:${DB}@host/db#rows", secrets={"DB"}).source


def test_on_traffic_alone_the_verdict_says_so() -> None:
    fact = Compared(
        name="accuracy",
        window="recent",
        candidate=0.9,
        champion=0.85,
        rows=4_000,
        discordance=Discordance(only_candidate_right=300, only_champion_right=100),
    )
    better = evaluate(Facts(compared=(fact,)), Evaluations())
    assert (better.standing, "on recent traffic alone" in better.reason) == (Standing.BETTER, True)
    few = evaluate(Facts(compared=(fact,)), Evaluations(min_rows=5_000))
    assert (few.standing, "on recent traffic alone" in few.reason) == (Standing.INCONCLUSIVE, True)
    both = (fact, fact.model_copy(update={"name": "auc", "window": "held_out"}))
    assert "not measured on held-out rows" in evaluate(Facts(compared=both), Evaluations()).reason
