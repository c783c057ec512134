"""The key that evaluations are signed with: one that the installation names, or one made at the first start and kept."""

import os
import secrets
from pathlib import Path

from api.settings import Settings

FILE = "evaluation-key"
"""In `home`."""
LEAST = 16
"""Characters."""
_BYTES = 32


def of(settings: Settings) -> str:
    """The same at every start. Raises OSError where the home cannot be written."""
    if settings.evaluation_key is not None:
        return settings.evaluation_key.get_secret_value()
    file = settings.home.absolute() / FILE
    if not file.exists():
        _make(file)
    return file.read_text().strip()


def _make(file: Path) -> None:
    """Whole or not at all; of two that make it at once the first one's stands."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as written:
        written.write(secrets.token_urlsafe(_BYTES))
        written.flush()
        os.fsync(written.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
