"""For libraries that change the environment of the whole process when they are imported.

Pandera sets PYARROW_IGNORE_TIMEZONE, and from then on Arrow takes noon in Berlin for noon in UTC, in code that knows nothing of
it. Feast sets PROMETHEUS_MULTIPROC_DIR, and from then on figures of the process go to files. Both were seen, in tests that
failed when they ran after others.
"""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def environment_kept() -> Iterator[None]:
    """Whatever the block does to the environment is undone behind it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
