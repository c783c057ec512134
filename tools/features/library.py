"""Feast, imported late (seconds) and kept from the rest of the process."""

import importlib.util

from tools.errors import PermanentError
from tools.importing import environment_kept


def load() -> None:
    """Before anything else of Feast is imported. Raises PermanentError where it is not installed."""
    if importlib.util.find_spec("feast") is None:
        raise PermanentError("Feast is not installed: install oppen[features]")
    with environment_kept():
        # First, or it would be told by Feast to keep the figures of this process in files.
        import feast  # noqa: F401
        import prometheus_client  # noqa: F401
