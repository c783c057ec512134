"""Recent labelled traffic for a job of the platform's own, and what of it is nobody's measure."""

import base64
import tempfile
from pathlib import Path

from graphs.context import Context
from tools.errors import PermanentError
from tools.values import LeftOut, Window

_MOST_BYTES = 600_000
"""Of the traffic: in base64 it is a third more, and all files of a job together have 900,000."""
_FEWEST = 2


async def left_out_of(model: str, stretches: list[Window], context: Context) -> tuple[LeftOut, ...]:
    """Data in quarantine is nobody's measure."""
    found: dict[str, LeftOut] = {}
    for stretch in stretches:
        for each in await context.tools.quarantines.in_force(model, stretch):
            found[each.id] = each.left_out
    return tuple(found.values())


async def labelled_traffic(model: str, recent: Window, most: int, left_out: tuple[LeftOut, ...], context: Context) -> str:
    """As Parquet in base64, as many rows as fit; empty where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recent.parquet"
        while most >= _FEWEST:
            found = await context.tools.predictions.sample(model, recent, file, most=most, without=left_out, labelled=True)
            if not found.sampled:
                return ""
            if (size := file.stat().st_size) <= _MOST_BYTES:
                return base64.b64encode(file.read_bytes()).decode()
            # A little less than what should fit: what is the same in all rows does not get less.
            most = min(most, found.sampled) * _MOST_BYTES * 9 // (size * 10)
    raise PermanentError(f"{_FEWEST} rows of the traffic of {model} have more than {_MOST_BYTES:,} bytes")
