"""Where a training left off, on disk, so that a job that was killed goes on instead of beginning anew.

A checkpoint is replaced as a whole: after a kill or a power cut there is the old or the new one. It names what it belongs to,
and one of another recipe, window or data is no checkpoint of this training.
"""

import hashlib
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_FILE = "training.pt"
_UNREADABLE = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError)
"""What torch raises for a file that is not what it wrote."""


def identity(settings: Mapping[str, object], arrays: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of all that decides what comes out of a training."""
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for array in arrays:
        digest.update(repr((array.dtype, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Checkpoints:
    """Of one training, in a folder that its next attempt finds again."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._path = folder / _FILE
        self._identity = identity

    def save(self, state: Mapping[str, Any]) -> None:
        draft = self._path.with_name(f".{_FILE}.{os.getpid()}")
        with draft.open("wb") as file:
            torch.save({"identity": self._identity, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        _settle(self._path.parent)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The latest; None where there is none of this training, or none that can be read. Runs no code of the file."""
        try:
            state = torch.load(self._path, map_location=device, weights_only=True)
        except FileNotFoundError:
            return None
        except _UNREADABLE:
            return None
        return state if isinstance(state, dict) and state.get("identity") == self._identity else None


def _settle(folder: Path) -> None:
    """A name outlives a loss of power only once its folder is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
