"""Bytes that are held: artifacts of models, checkpoints of jobs, the lake, and what is logged of predictions.

Folders of this machine are walked; what lies in a bucket or in a server's own storage is its owner's to tell, and not guessed.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

from tools.costs.meters.holding import Holding
from tools.costs.port import Component, Owner
from tools.costs.units import Resource

STORAGE, LOGGING = "storage", "inference logging"
_RUN = re.compile(r"^run_id: *'?([0-9a-f]{32})'?\s*$", re.MULTILINE)
_MOST_SAID = 100_000
"""Bytes of a file that says whose a folder is."""


def folder_bytes(path: Path) -> int:
    """Of all files in it; what goes away meanwhile counts nothing. Links are not followed."""
    total, waiting = 0, [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def artifact_bytes(root: Path) -> Mapping[str, int]:
    """Of MLflow's folder of artifacts, by the run that made them; of what no run is known to have made, under an empty name."""
    found: Counter[str] = Counter()
    for path in _folders(root):
        if path.name == "models":
            for logged in _folders(path):
                found[_run_of(logged / "artifacts" / "MLmodel")] += folder_bytes(logged)
        else:
            found[path.name] += folder_bytes(path)
    return found


def checkpoint_bytes(root: Path) -> Mapping[str, int]:
    """Of the folder of local jobs, by model."""
    found: Counter[str] = Counter()
    for path in _folders(root):
        if size := folder_bytes(path / "checkpoints"):
            found[_model_of(path / "spec.json")] += size
    return found


def held(workload: str, sizes: Mapping[str, int], team: Callable[[str], str], *, logged: bool = False) -> tuple[Holding, ...]:
    """`sizes`: bytes by model; an empty name is nobody's in particular. `logged`: of predictions, which is monitoring's."""
    component, part = (Component.MONITORING, LOGGING) if logged else (Component.TRAINING, STORAGE)
    return tuple(
        Holding(
            name=("storage", workload, model),
            resource=Resource.STORAGE,
            rate=Decimal(size),
            owner=Owner(component=component, part=part, model=model[:200], team=team(model), workload=workload),
        )
        for model, size in sorted(sizes.items())
        if size
    )


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [Path(each.path) for each in entries if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")]
    except OSError:
        return []


def _run_of(file: Path) -> str:
    found = _RUN.search(_said(file))
    return found[1] if found else ""


def _model_of(file: Path) -> str:
    try:
        return str(json.loads(_said(file))["about"]["model"])
    except (ValueError, KeyError, TypeError):
        return ""


def _said(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            return text.read(_MOST_SAID)
    except OSError:
        return ""
