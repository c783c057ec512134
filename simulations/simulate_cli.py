"""`oppen simulate ...`: the platform under a world whose truth is known."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.terminal import fail

app = typer.Typer(no_args_is_help=True, help="Play a world with a known truth under the platform.")

_PATIENCE_MIN = 60.0
"""How long a person has for each decision of `--live`."""


@app.callback()
def simulate() -> None:
    """Play a world with a known truth under the platform."""


@app.command("48h")
def hours48(
    seed: Annotated[int, typer.Option(min=0, help="Of the world: customers, their outcomes, their moments.")] = 7,
    report: Annotated[Path | None, typer.Option(file_okay=False, help="Folder that gets report.html and report.json.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Slow enough to follow, and you decide.")] = False,
    no_drift: Annotated[bool, typer.Option("--no-drift", help="Leave the fault out.")] = False,
    refuse: Annotated[bool, typer.Option("--refuse-approvals", help="The operator says no to whatever is asked.")] = False,
    no_gain: Annotated[bool, typer.Option("--no-quantization-gain", help="A model so small that INT8 saves nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, last on stdout.")] = False,
    home: Annotated[Path, typer.Option(help="Folder of the simulation's installation; emptied first.")] = Path(
        ".oppen/simulation"
    ),
) -> None:
    """Two days of a shop in minutes: drift, retraining, canary, cost. The report says what came about, beside what was told."""
    import httpx

    from simulations.hours48.story import HoursOptions, play
    from simulations.processes import Failed
    from simulations.stage import Stage

    options = HoursOptions(
        home,
        not live,
        _PATIENCE_MIN * 60,
        seed=seed,
        drift=not no_drift,
        refuse=refuse,
        quantization_pays=not no_gain,
        report=report,
    )
    try:
        checks, details = asyncio.run(play(options, Stage()))
    except Failed as error:
        fail(str(error))
    except httpx.HTTPError as error:
        fail(f"a program of the simulation has stopped answering ({type(error).__name__}); the logs are in {home}")
    except KeyboardInterrupt:
        fail("ended by you; nothing keeps running")
    if as_json:
        typer.echo(checks.as_json(details))
    else:
        for row in details["timeline"]:
            typer.echo(f"{row['verdict']:6}  hour {row['hour']:g}, {row['says']}: {row['value']} (wanted {row['wanted']:g})")
        for check in checks.entries:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.value} {check.unit}".rstrip())
    if not checks.ok:
        sys.exit(1)
