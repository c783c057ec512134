"""What the command line prints: results to stdout, as JSON where a program reads them; complaints to stderr."""

import json
import sys
from typing import Annotated, Any, NoReturn

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Refused(Exception):
    """The command cannot be carried out; the message says why, and what to do."""

    exit_code = 1


class WrongUse(Refused):
    """The command was not given what it needs."""

    exit_code = 2


def emit(result: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(result, default=str) if as_json else text)


def show(renderable: Any) -> None:
    """Something of rich's, on stdout. Without a terminal it is as wide as a page."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    console.print(renderable)


def fail(text: str, code: int = 1) -> NoReturn:
    typer.echo(text, err=True)
    sys.exit(code)
