"""Lineage in a file of JSON lines, one OpenLineage event a line: without a server, and read as a whole when it is asked."""

from collections.abc import Iterable
from pathlib import Path

from tools.errors import PermanentError
from tools.lineage.lines import append, events
from tools.lineage.memory import Memory
from tools.lineage.port import Event, Graph, Query
from tools.lineage.projection import Facts, facts


class FileLineage:
    """`Lineage`. Several processes may write at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def destination(self) -> str:
        return str(self._path)

    def emit(self, event: Event) -> None:
        from tools.lineage.openlineage import as_openlineage

        append(self._path, as_openlineage(event))

    def graph(self, query: Query) -> Graph:
        return Memory(gathered([self._path])).graph(query)

    def close(self) -> None:
        """Nothing is held between events."""


def gathered(paths: Iterable[Path]) -> Facts:
    """What all events in these files say together. A line that is no event of lineage says nothing."""
    found = Facts()
    for path in paths:
        for event, _ in events(path):
            try:
                said = facts(event)
            except PermanentError:
                continue
            found.add(said)
    return found
