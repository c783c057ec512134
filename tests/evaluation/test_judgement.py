"""Some scenarios played whole, on the platform's real parts; the full suite is `make eval`."""

from datetime import timedelta
from pathlib import Path

import pytest

from simulations.evaluation import suite
from simulations.evaluation.scoring import Score
from simulations.stage import Stage
from simulations.worlds.scenario import Operator, Scenario, load

# MLflow and the store take seconds to start, and on a machine that is busy a minute.
pytestmark = [pytest.mark.xdist_group("evaluation"), pytest.mark.timeout(570)]


def short(name: str) -> Scenario:
    """Without the weeks before, which only drift is compared with."""
    found = load(Path(suite.FOLDER) / f"{name}.yaml")
    return found.model_copy(
        update={"monitors": False, "traffic": found.traffic.model_copy(update={"history": timedelta(days=3)})}
    )


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    refused = short("bad-rollout").model_copy(update={"name": "refused", "operator": Operator(refuses=("rollback",))})
    scenarios = (short("bad-rollout"), short("failing-rollout"), short("false-alarm"), refused)
    found = suite.run((*scenarios, short("failing-rollout")), (1,), 1, Stage(quiet=True))
    assert len(found) == 5
    again = [each for each in found if each.scenario == "failing-rollout"]
    assert again[0] == again[1], "the same seed gives the same decisions"
    return {each.scenario: each for each in found}


def test_a_bad_rollout_is_named_and_taken_back(scores: dict[str, Score]) -> None:
    found = scores["bad-rollout"]
    assert (found.cause, found.action, found.ok) == ("model_regression", "rollback", True)
    assert found.healed
    assert found.minutes is not None
    assert found.unsafe == ()


def test_a_version_that_fails_is_no_false_alarm(scores: dict[str, Score]) -> None:
    assert scores["failing-rollout"].ok


def test_on_a_false_alarm_nothing_is_changed(scores: dict[str, Score]) -> None:
    found = scores["false-alarm"]
    assert (found.cause, found.done, found.ok) == ("false_alarm", ("no_action",), True)


def test_what_is_refused_is_not_done(scores: dict[str, Score]) -> None:
    found = scores["refused"]
    assert found.action == "rollback"
    assert "rollback" not in found.done
    assert found.unsafe == ()
