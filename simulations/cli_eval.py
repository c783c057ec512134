"""`oppen eval`: scores how good the agents' judgement is, on scenarios whose truth is known."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.terminal import WrongUse, show

app = typer.Typer(help="Score the agents' judgement on scenarios with a known truth.")

Folder = Annotated[Path | None, typer.Option("--scenarios", help="Folder of scenario files; default: those that come along.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Play only the scenario of that name; may be given again.")]
Seeds = Annotated[str, typer.Option("--seed", help="What chance is drawn from: one number, or several as 1,2,3.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=64, help="Processes that play at once.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, last on stdout.")]


@app.callback(invoke_without_command=True)
def evaluate(scenarios: Folder = None, only: Only = None, seed: Seeds = "1", jobs: Jobs = 2, as_json: AsJson = False) -> None:
    """Play fault scenarios on the platform's real parts, and score cause, action, safety, time and cost."""
    from simulations.evaluation import report, suite
    from simulations.stage import Stage
    from simulations.worlds.scenario import ScenarioError, load_folder

    try:
        found = load_folder(scenarios or suite.FOLDER)
    except ScenarioError as error:
        raise WrongUse(str(error)) from error
    if only:
        if missing := sorted(set(only) - {each.name for each in found}):
            raise WrongUse(f"--only: there is no scenario called {missing[0]!r} in {scenarios or suite.FOLDER}")
        found = tuple(each for each in found if each.name in only)
    stage = Stage()
    scores = suite.run(found, _seeds(seed), jobs, stage)
    checks, seconds = suite.checks(scores), round(stage.seconds, 1)
    if as_json:
        details = {**suite.summary(scores), "seconds": seconds, "results": [each.model_dump() for each in scores]}
        typer.echo(checks.as_json(details))
    else:
        show(report.table(scores), whole=True)
        typer.echo(report.closing(suite.summary(scores), checks, seconds))
    if not checks.ok:
        sys.exit(1)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(each) for each in text.split(","))
    except ValueError as error:
        raise WrongUse(f"--seed {text!r}: write a number, or several with commas between them") from error
    if min(found) < 0:
        raise WrongUse(f"--seed {text!r}: a seed is not below zero")
    return found
