"""`python -m tests.contract.dying_supervisor FOLDER SAVE MOMENT`: a supervisor that is killed before, after, or inside its
SAVE-th write of the status."""

import os
import signal
import sys
import time
from typing import Any

from tools.jobs import runner
from tools.jobs.folder import Folder


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingFolder(Folder):
    saves = 0

    def save(self, status: dict[str, Any]) -> None:
        DyingFolder.saves += 1
        fatal = DyingFolder.saves == SAVE
        if fatal and MOMENT == "before":
            time.sleep(0.3)  # time enough for a command that did not wait to be on record
            die()
        if fatal and MOMENT == "inside":
            self._written("status", status)
            die()
        super().save(status)
        if fatal and MOMENT == "after":
            die()


if __name__ == "__main__":
    SAVE, MOMENT = int(sys.argv[2]), sys.argv[3]
    runner.Folder = DyingFolder  # type: ignore[misc]
    runner.main()
