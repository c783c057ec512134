"""For libraries that change the environment of the whole process when they are imported.

Pandera sets PYARROW_IGNORE_TIMEZONE, and from then on Arrow takes noon in Berlin for noon in UTC, in code that knows nothing of
it. Feast sets PROMETHEUS_MULTIPROC_DIR, and from then on figures of the process go to files. Both were seen, in tests that
failed when they ran after others.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


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


@contextlib.contextmanager
def absent(module: str) -> Iterator[None]:
    """What the block imports takes `module` for not installed, unless it is loaded already. For what a library would load to
    offer something that nobody here uses."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


@contextlib.contextmanager
def arguments_unchecked() -> Iterator[None]:
    """Functions that the block defines are not rewritten by typeguard to check their arguments: that compiles each anew."""
    import typeguard

    def unchanged(target: Any = None, **_options: Any) -> Any:
        return target if target is not None else lambda function: function

    checking = typeguard.typechecked
    typeguard.typechecked = unchanged
    try:
        yield
    finally:
        typeguard.typechecked = checking
