"""Feast, imported late (seconds) and kept from the rest of the process."""

import functools
import importlib.util

from tools.errors import PermanentError
from tools.importing import environment_kept


@functools.cache
def load() -> None:
    """Before anything else of Feast is imported. Raises PermanentError where it is not installed.

    Once: it is called on the way of every lookup, and writing the whole environment back would be most of what that takes.
    """
    if importlib.util.find_spec("feast") is None:
        raise PermanentError("Feast is not installed: install oppen[features]")
    with environment_kept():
        # First, or it would be told by Feast to keep the figures of this process in files.
        import feast  # noqa: F401
        import prometheus_client  # noqa: F401
