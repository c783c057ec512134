"""Histories of a lake are read in threads of their own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.quality.lakes import LakeHistories


async def test_a_lake_shares_no_threads_with_the_rest_of_the_service(tmp_path: Path) -> None:
    """So a slow one cannot take those that predictions are counted in, and people are told in."""
    histories, done = LakeHistories(str(tmp_path)), threading.Event()
    with ThreadPoolExecutor(1) as everybodys:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(everybodys)
        busy = loop.run_in_executor(None, done.wait, 30)
        try:
            async with asyncio.timeout(10):
                assert await histories.tables() == ()
                assert await histories.batches("trips", 5) == ()
            assert not busy.done()
        finally:
            done.set()
            await busy
