"""How long a job has run, over its attempts: what its cost is reckoned from while it is still running."""

import json
import os
import time
from pathlib import Path

from tools.jobs import processes


class Meter:
    """`folder`: what the next attempt finds again; None: this attempt counts alone."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "seconds.json" if folder is not None else None
        self._before = self._read()

    @property
    def seconds(self) -> float:
        """With the start of this process, which is paid for too."""
        begun = processes.started(os.getpid())
        assert begun is not None
        return self._before + time.clock_gettime(time.CLOCK_BOOTTIME) - begun / os.sysconf("SC_CLK_TCK")

    def keep(self) -> None:
        """So that the next attempt counts on. What a killed one did after the last time is not counted."""
        if self._path is not None:
            draft = self._path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(self.seconds))
            draft.replace(self._path)

    def _read(self) -> float:
        if self._path is None:
            return 0.0
        try:
            return float(json.loads(self._path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return 0.0
