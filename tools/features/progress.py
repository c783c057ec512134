"""How far each version has been materialized into one online store: a file beside the rows, replaced as a whole.

Not in the registry: Feast keeps an interval there for each time, and its file grows without end.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from tools.errors import PermanentError
from tools.features.port import View
from tools.values import Frozen, Instant


class Mark(Frozen):
    until: Instant | None = None
    """Online is what was so then."""
    seen: Instant | None = None
    """When the latest batch was added that is in it."""


class _Marks(Frozen):
    views: dict[str, Mark] = Field(default_factory=dict)


class Progress:
    def __init__(self, folder: Path, store: str) -> None:
        """`store`: tells one online store from another, so that an empty one is filled."""
        self._path = folder / f"materialized-{store}.json"

    def of(self, view: View) -> Mark:
        return self._read().views.get(view.id, Mark())

    def advance(self, view: View, until: Instant, seen: Instant | None) -> None:
        marks = _Marks(views={**self._read().views, view.id: Mark(until=until, seen=seen)})
        fresh = self._path.with_suffix(".new")
        fresh.write_text(marks.model_dump_json())
        fresh.replace(self._path)

    def _read(self) -> _Marks:
        try:
            return _Marks.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Marks()
        except ValidationError as error:
            raise PermanentError(f"{self._path} cannot be read: remove it, and everything is materialized anew") from error
