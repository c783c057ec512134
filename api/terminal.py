"""What the command line prints: results to stdout, as JSON where a program reads them; complaints to stderr."""

import json
import sys
from typing import Annotated, Any, NoReturn

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Refused(Exception):
    """The command cannot be carried out; the message says why, and what to do."""


def emit(result: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(result, default=str) if as_json else text)


def fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    sys.exit(1)
