"""Programs that a test runs beside itself; none outlives its block."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO


@asynccontextmanager
async def child(
    *module: str, limit_s: float, environment: Mapping[str, str] | None = None, stderr: int | IO[bytes] = PIPE
) -> AsyncIterator[Process]:
    """`python -m module...`, killed at the end unless it has ended; its stdout is a pipe. Raises TimeoutError when the block
    takes longer than `limit_s`."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, stdout=PIPE, stderr=stderr, env={**os.environ, **(environment or {})}
    )
    try:
        async with asyncio.timeout(limit_s):
            yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()
