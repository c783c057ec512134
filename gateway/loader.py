"""`python -m gateway.loader`: moves segments into a prediction store on another machine, beside the gateway that writes them.

With the embedded store the service loads by itself; this is for a ClickHouse server, which both can reach.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from tools.errors import PermanentError, TemporaryError
from tools.predictions.clickhouse import open_store
from tools.predictions.loader import Loader

log = structlog.get_logger()

_LONGEST_PAUSE_S = 30.0


async def run(segments: Path, store_url: str, every_s: float) -> None:
    """Until SIGTERM; the segment at hand is finished. A store that is away is tried again, less and less often."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store, pause = open_store(store_url), every_s
    loader = Loader(store, segments)
    try:
        while not stop.is_set():
            try:
                report = await loader.sweep()
                pause = every_s
                if report.segments:
                    log.info("segments.loaded", segments=report.segments, records=report.records)
            except TemporaryError as error:
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                log.warning("segments.waiting", reason=str(error), retry_s=pause)
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue
    finally:
        await store.close()


def main() -> int:
    parser = argparse.ArgumentParser("python -m gateway.loader", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--segments", type=Path, required=True, help="the gateway's folder, HOME/segments")
    parser.add_argument("--store", default=os.environ.get("OPPEN_PREDICTIONS_URL"), help="default: OPPEN_PREDICTIONS_URL")
    parser.add_argument("--every-s", type=float, default=1.0, help="how often it looks (default 1)")
    options = parser.parse_args()
    if not options.store:
        parser.error("--store: say where to, or set OPPEN_PREDICTIONS_URL (it may hold a password, so better there)")
    try:
        asyncio.run(run(options.segments, options.store, options.every_s))
    except PermanentError as error:
        log.error("loader.failed", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
