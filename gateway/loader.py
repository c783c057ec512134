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
from tools.predictions.port import PredictionStore

log = structlog.get_logger()

_LONGEST_PAUSE_S = 30.0


async def run(store: PredictionStore, loader: Loader, every_s: float) -> None:
    """Until SIGTERM, which a sweep that is under way is given up for: what it was at is loaded again later, and is there once.

    A store that is away is tried again, less and less often.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    pause = every_s
    try:
        while not stop.is_set():
            sweep = asyncio.create_task(loader.sweep())
            await asyncio.wait({sweep, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not sweep.done():
                sweep.cancel()
            try:
                report = await sweep
                pause = every_s
                if report.segments:
                    log.info("segments.loaded", **report.model_dump())
            except TemporaryError as error:
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                log.warning("segments.waiting", reason=str(error), retry_s=pause)
            except asyncio.CancelledError:
                log.info("loader.stopped")
            await asyncio.wait({stopping}, timeout=pause)
    finally:
        await store.close()


def main() -> int:
    parser = argparse.ArgumentParser("python -m gateway.loader", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--segments", type=Path, required=True, help="the gateway's folder, HOME/segments")
    parser.add_argument("--store", default=os.environ.get("OPPEN_PREDICTIONS_URL"), help="default: OPPEN_PREDICTIONS_URL")
    parser.add_argument("--archive", type=Path, help="a folder beside, for segments that are loaded (default: delete them)")
    parser.add_argument("--every-s", type=float, default=1.0, help="how often it looks (default 1)")
    options = parser.parse_args()
    if not options.store:
        parser.error("--store: say where to, or set OPPEN_PREDICTIONS_URL (it may hold a password, so better there)")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    try:
        store = open_store(options.store)
    except PermanentError as error:
        parser.error(str(error))
    asyncio.run(run(store, Loader(store, options.segments, options.archive), options.every_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
