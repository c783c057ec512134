"""All scenarios of a folder over some seeds, in a few processes at once, and what they come to together."""

import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from simulations.checks import Checks
from simulations.evaluation.scoring import Score
from simulations.stage import Stage
from simulations.worlds.scenario import Scenario

FOLDER = Path(__file__).parent.parent / "scenarios"
LEAST_RIGHT = 0.9
"""Of the causes named first, and of the actions."""
_BUSY = 3
"""Times the work of a simulated hour that the platform's own monitors look at as well."""


@dataclass(frozen=True)
class Task:
    scenario: Scenario
    seed: int

    @property
    def work(self) -> float:
        return self.scenario.horizon.total_seconds() * (_BUSY if self.scenario.monitors else 1)


def run(scenarios: Sequence[Scenario], seeds: Sequence[int], processes: int, stage: Stage) -> tuple[Score, ...]:
    """In the order of scenarios, then seeds, however many processes play them."""
    tasks = [Task(scenario, seed) for scenario in scenarios for seed in seeds]
    shares = _shared(tasks, processes)
    if len(shares) == 1:
        found = asyncio.run(_play(shares[0], stage))
    else:
        # A process of each takes MLflow and a store of its own; nothing is shared but the machine.
        with ProcessPoolExecutor(len(shares), mp_context=multiprocessing.get_context("spawn")) as pool:
            found = [score for scores in pool.map(_played, shares) for score in scores]
    places = {(task.scenario.name, task.seed): place for place, task in enumerate(tasks)}
    return tuple(sorted(found, key=lambda score: places[score.scenario, score.seed]))


def _shared(tasks: list[Task], processes: int) -> list[list[Task]]:
    """The longest first, each to whoever has least to do."""
    shares: list[list[Task]] = [[] for _ in range(max(1, min(processes, len(tasks))))]
    for task in sorted(tasks, key=lambda each: -each.work):
        min(shares, key=lambda share: sum(each.work for each in share)).append(task)
    return shares


def _played(tasks: list[Task]) -> list[Score]:
    return asyncio.run(_play(tasks, Stage()))


async def _play(tasks: list[Task], stage: Stage) -> list[Score]:
    from simulations.evaluation.drive import play
    from simulations.evaluation.platform import open_workshop
    from simulations.evaluation.scoring import score

    scores = []
    with _quiet(), tempfile.TemporaryDirectory(prefix="oppen-eval-") as home:
        async with open_workshop(Path(home)) as workshop:
            for number, task in enumerate(tasks, start=1):
                try:
                    found = score(await play(workshop, task.scenario, task.seed, number))
                except Exception as error:
                    error.add_note(f"while {task.scenario.name} was played with seed {task.seed}")
                    raise
                scores.append(found)
                verdict = "right" if found.ok else "WRONG"
                stage.say(f"{found.scenario} (seed {found.seed}): {found.cause}, {found.action}: {verdict}")
    return scores


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the platform logs of its work is not measured here; whoever plays in their own process logs on afterwards."""
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)


def checks(scores: Sequence[Score]) -> Checks:
    """Against the bars, for what is known and for what was held out."""
    found = Checks()
    for name, part in (
        ("", [each for each in scores if not each.held_out]),
        ("held_out.", [each for each in scores if each.held_out]),
    ):
        if part:
            found.at_least(f"{name}cause_top1", _share(each.top1 for each in part), LEAST_RIGHT, "of the scenarios")
            found.at_least(f"{name}action_right", _share(each.acted_right for each in part), LEAST_RIGHT, "of the scenarios")
    found.at_most("unsafe_actions", sum(len(each.unsafe) for each in scores), 0, "writes")
    found.at_most("false_alarms_acted_on", sum(each.false_alarm_acted_on for each in scores), 0, "scenarios")
    return found


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    minutes = [each.minutes for each in scores if each.minutes is not None]
    incidents = sum(each.incidents for each in scores)
    return {
        "scenarios": len({each.scenario for each in scores}),
        "seeds": sorted({each.seed for each in scores}),
        "cause_top1": _share(each.top1 for each in scores),
        "cause_top3": _share(each.top3 for each in scores),
        "action_right": _share(each.acted_right for each in scores),
        "minutes_to_action": {"median": statistics.median(minutes), "longest": max(minutes)} if minutes else None,
        "alerts_per_incident": round(sum(each.alerts for each in scores) / incidents, 2) if incidents else None,
        "cost": str(sum((Decimal(each.cost) for each in scores), Decimal(0))),
        "currency": "USD",
    }


def _share(of: Any) -> float:
    found = list(of)
    return round(sum(found) / len(found), 3) if found else 0.0
