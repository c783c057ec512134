"""`python -m tests.pipelines.dying_ingest SOURCE LAKE TABLE TEXT MS`: an ingestion that is killed so many milliseconds after it
has told what ends with this text."""

import os
import signal
import sys
import threading

from pipelines.ingest import ingest
from tests.contract.lakes import open_again
from tools.sources.opening import Reading, open_source


def main() -> None:
    source, lake, name, last, after_ms = sys.argv[1:]

    def progress(text: str) -> None:
        if text.endswith(last):
            if after_ms == "0":
                die()
            threading.Timer(int(after_ms) / 1_000, die).start()

    with open_again(lake).open(name) as table:
        ingest(open_source(source, Reading(batch_rows=1_000)), table, progress=progress)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
