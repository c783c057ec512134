"""`oppen demo ...`: the commands that show the platform at work."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.terminal import fail

app = typer.Typer(no_args_is_help=True, help="Show the platform at work.")


@app.callback()
def demo() -> None:
    """Show the platform at work."""


Approve = Annotated[bool, typer.Option("--approve", help="Say yes by itself, where it would wait for you.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, last on stdout.")]
Home = Annotated[Path, typer.Option(help="Folder of the demo's installation; emptied first.")]
Wait = Annotated[float, typer.Option(min=0.1, help="How long it waits for each of your decisions.")]


@app.command()
def incident(
    approve: Approve = False, as_json: AsJson = False, home: Home = Path(".oppen/demo"), wait_minutes: Wait = 30.0
) -> None:
    """A model goes bad in production: noticed, explained, rolled back after a yes, verified, written down."""
    _show("incident", approve, as_json, home, wait_minutes)


@app.command()
def lifecycle(
    approve: Approve = False, as_json: AsJson = False, home: Home = Path(".oppen/demo"), wait_minutes: Wait = 30.0
) -> None:
    """Drift is noticed, a training approved and run, its version evaluated, rolled out stage by stage, and champion."""
    _show("lifecycle", approve, as_json, home, wait_minutes)


@app.command("bad-canary")
def bad_canary(
    approve: Approve = False, as_json: AsJson = False, home: Home = Path(".oppen/demo"), wait_minutes: Wait = 30.0
) -> None:
    """A candidate that looks better on paper is worse on live traffic, and is taken back by itself at the first stage."""
    _show("bad-canary", approve, as_json, home, wait_minutes)


def _show(name: str, approve: bool, as_json: bool, home: Path, wait_minutes: float) -> None:
    import httpx

    from simulations import incident, lifecycle
    from simulations.processes import Failed
    from simulations.stage import Stage
    from simulations.story import Options

    stories = {"incident": incident.play, "lifecycle": lifecycle.play, "bad-canary": lifecycle.play_bad_canary}
    try:
        checks, details = asyncio.run(stories[name](Options(home, approve, wait_minutes * 60), Stage()))
    except Failed as error:
        fail(str(error))
    except httpx.HTTPError as error:
        fail(f"a program of the demo has stopped answering ({type(error).__name__}); the logs are in {home}")
    except KeyboardInterrupt:
        fail("ended by you; nothing keeps running")
    if as_json:
        typer.echo(checks.as_json(details))
    else:
        for check in checks.entries:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.value} {check.unit}".rstrip())
    if not checks.ok:
        sys.exit(1)
