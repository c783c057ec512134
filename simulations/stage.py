"""What the audience of a demo sees: progress on stderr, so that stdout belongs to the result."""

import time

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel


class Stage:
    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def say(self, text: str) -> None:
        self._console.print(f"[dim]{self.seconds:5.1f} s[/dim]  {text}")

    def card(self, title: str, markdown: str) -> None:
        self._console.print(Panel(Markdown(markdown), title=title, border_style="yellow", padding=(1, 2)))

    def command(self, text: str) -> None:
        """A command to copy: printed as it is, never wrapped or marked up."""
        self._console.print(text, markup=False, soft_wrap=True, style="cyan")
