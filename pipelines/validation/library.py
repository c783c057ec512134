"""Pandera, imported late (seconds) and kept from the rest of the process."""

from typing import Any

from tools.importing import environment_kept


def pandera() -> Any:
    """Its module for pandas."""
    with environment_kept():
        import pandera.pandas as module

    return module
