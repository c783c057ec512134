"""Evidently's report on two samples, drawn in a process of its own: it takes seconds, memory, and an interpreter to itself."""

import asyncio
import html
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

from tools.errors import PermanentError
from tools.offload import ChildProcess
from tools.reports.port import Made, Side

_LIMIT_S = 300
_ADVICE = "the report is drawn by Evidently, which is not installed here: `pip install evidently>=0.7.23,<0.8` where OPPEN runs"


class NotInstalled(PermanentError):
    """This installation lacks the library."""


def require_evidently() -> None:
    """Raises NotInstalled."""
    if importlib.util.find_spec("evidently") is None:
        raise NotInstalled(_ADVICE)


async def draw(reference: tuple[Path, Side], current: tuple[Path, Side], out: Path, *, limit_s: float = _LIMIT_S) -> Made:
    """Draw the report of two Parquet files as one HTML file, which is there as a whole or not at all.

    Raises NotInstalled; PermanentError where the samples cannot be compared, or it takes longer than `limit_s`; TemporaryError
    where the process died.
    """
    require_evidently()
    child = ChildProcess("report", Drawing, close_s=0.0)
    try:
        async with asyncio.timeout(limit_s):
            return await child.call(Drawing.draw, reference, current, out)
    except TimeoutError as error:
        raise PermanentError(f"the report was not drawn within {limit_s:g} s: ask for a smaller sample") from error
    finally:
        await child.close()


class Drawing:
    """Lives in the child."""

    def draw(self, reference: tuple[Path, Side], current: tuple[Path, Side], out: Path) -> Made:
        os.environ["DO_NOT_TRACK"] = "1"
        # Of Evidently's own dependencies; what was wrong with the samples is said by what it raises.
        warnings.simplefilter("ignore")
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        sides = [_readable(pd.read_parquet(path)) for path, _ in (reference, current)]
        numbers, words, left_out = _columns(*sides)
        if not numbers and not words:
            raise PermanentError("the two samples have no column in common that has values on both sides")
        shape = DataDefinition(numerical_columns=numbers, categorical_columns=words)
        ours, theirs = (Dataset.from_pandas(side[[*numbers, *words]], shape) for side in sides)
        drawn = Report([DataDriftPreset()]).run(theirs, ours)
        fresh = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            drawn.save_html(str(fresh))
            text = fresh.read_text().replace("<body>", f"<body>{_note(reference[1], current[1], left_out)}", 1)
            fresh.write_text(text)
            fresh.replace(out)
        finally:
            fresh.unlink(missing_ok=True)
        return Made(bytes=out.stat().st_size, columns=len(numbers) + len(words), left_out=tuple(left_out))


def _readable(side: Any) -> Any:
    """Text and truth as objects, decimals as numbers and infinities as nulls, which is what Evidently takes; dates as times."""
    import numpy as np
    import pandas as pd

    for name in side.columns:
        column = side[name]
        if pd.api.types.is_bool_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
            side[name] = column.astype("object")
        elif pd.api.types.is_float_dtype(column):
            # Each by itself: over all of them, pandas makes truth values of the objects again.
            side[name] = column.replace([np.inf, -np.inf], np.nan)
        elif column.dtype == "object" and (kind := pd.api.types.infer_dtype(column, skipna=True)) in ("decimal", "date"):
            side[name] = column.astype("float64") if kind == "decimal" else pd.to_datetime(column, errors="coerce")
    return side


def _columns(reference: Any, current: Any) -> tuple[list[str], list[str], list[str]]:
    import pandas as pd

    numbers, words, left_out = [], [], []
    for name in reference.columns:
        both = name in current.columns and reference[name].notna().any() and current[name].notna().any()
        timed = both and any(pd.api.types.is_datetime64_any_dtype(side[name]) for side in (reference, current))
        if not both or timed:
            left_out.append(str(name))
        elif all(pd.api.types.is_numeric_dtype(side[name]) for side in (reference, current)):
            numbers.append(name)
        else:
            words.append(name)
    return numbers, words, [*left_out, *(str(name) for name in current.columns if name not in reference.columns)]


def _note(reference: Side, current: Side, left_out: list[str]) -> str:
    lines = [
        f"Reference: {reference}.",
        f"Current: {current}.",
        "These are Evidently's verdicts on these rows, by its defaults; OPPEN's are of all rows, and ask for significance.",
    ]
    if left_out:
        lines.append(f"Not shown, because they are times or have no values on a side: {', '.join(left_out)}.")
    told = "<br>".join(html.escape(line) for line in lines)
    return f'<p style="font-family: sans-serif; margin: 1em">{told}</p>'
