"""What takes room and may not be needed any more: versions of models, checkpoints and logs of jobs.

What is discarded is put aside where that is possible, for `KEPT`, so that it can be had back; only what is emptied after that
frees its room. Where a store can only delete, `undo_until` says so by None.
"""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from tools.values import Frozen, Instant

KEPT = timedelta(days=7)
"""Put aside: a week has somebody at work on whatever day it is missed."""


class Leftover(Frozen):
    kind: Literal["version", "checkpoints", "logs"]
    model: str = Field(min_length=1, max_length=200)
    name: str = Field(min_length=1, max_length=200)
    """Of the version, or of the job."""
    size_bytes: int = Field(ge=0)
    since: Instant
    """When it was made, or its job ended."""
    seen: str = Field(max_length=200)
    """What it was when it was listed: anything else under its name is not discarded."""


class Discarded(Frozen):
    size_bytes: int
    undo_until: Instant | None
    """None: it is gone for good."""
