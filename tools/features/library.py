"""Feast, imported late and kept from the rest of the process.

As it comes it takes four seconds, in every process that computes features or looks them up: one for torch, whose tensors we
do not store, and two for the checks of arguments that typeguard writes into its classes, which we call with checked types.
Without the two it is less than one.
"""

import functools
import importlib.util

from tools.errors import PermanentError
from tools.importing import absent, arguments_unchecked, environment_kept


@functools.cache
def load() -> None:
    """Before anything else of Feast is imported. Raises PermanentError where it is not installed.

    Once: it is called on the way of every lookup, and writing the whole environment back would be most of what that takes.
    """
    if importlib.util.find_spec("feast") is None:
        raise PermanentError("Feast is not installed: install oppen[features]")
    with environment_kept(), absent("torch"), arguments_unchecked():
        # First, or it would be told by Feast to keep the figures of this process in files.
        import feast  # noqa: F401
        import prometheus_client  # noqa: F401
