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


@app.command()
def incident(
    approve: Annotated[bool, typer.Option("--approve", help="Say yes by itself, where it would wait for you.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, last on stdout.")] = False,
    home: Annotated[Path, typer.Option(help="Folder of the demo's installation; emptied first.")] = Path(".oppen/demo"),
    wait_minutes: Annotated[float, typer.Option(min=0.1, help="How long it waits for your decision.")] = 30.0,
) -> None:
    """A model goes bad in production: noticed, explained, rolled back after a yes, verified, written down."""
    import httpx

    from simulations.incident import play
    from simulations.processes import Failed
    from simulations.stage import Stage
    from simulations.story import Options

    try:
        checks, details = asyncio.run(play(Options(home, approve, wait_minutes * 60), Stage()))
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
