"""What the command line prints: results to stdout, as JSON where a program reads them; complaints to stderr."""

import json
import sys
from typing import Annotated, Any, NoReturn

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


_PAGE, _WIDEST = 100, 10_000
"""Characters."""


class Refused(Exception):
    """The command cannot be carried out; the message says why, and what to do."""

    exit_code = 1


class WrongUse(Refused):
    """The command was not given what it needs."""

    exit_code = 2


def emit(result: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(result, default=str) if as_json else text)


def show(renderable: Any, *, whole: bool = False) -> None:
    """Something of rich's, on stdout. Without a terminal it is as wide as a page, or as what must not be cut."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(highlight=False)
    if not console.is_terminal:
        width = Measurement.get(console, console.options.update(max_width=_WIDEST), renderable).maximum
        console = Console(highlight=False, width=max(_PAGE, width) if whole else _PAGE)
    console.print(renderable)


def fail(text: str, code: int = 1) -> NoReturn:
    typer.echo(text, err=True)
    sys.exit(code)
