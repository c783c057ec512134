"""What a check makes of rows on their way into the lake."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Checked:
    accepted: pa.Table
    """Rows as they came, fewer or all; the columns are theirs."""
    quarantined: pa.Table
    """The rest, with the reason in a column `_reason`."""
    refused: str | None = None
    """Why nothing of the batch may be stored."""


Check = Callable[[pa.Table], Checked]
"""Sees the rows of a batch a chunk at a time."""
