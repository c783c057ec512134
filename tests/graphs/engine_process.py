"""An engine as a process of its own: `python -m tests.graphs.engine_process URL NAME HOW RUN:EVENT[+AGAIN]...`.

Says on its output what happens to the workflows, line by line, and ends when the first of them is done, with what was counted.
`hang`: a move begins and never ends. `leave`: so does it, and the engine is stopped meanwhile. `finish`: it ends.
`forget`: it ends, and its row is dropped. `share`: one run moves at a time, and the first ends only after the second has.
`stumble`: a store is away at the first try. `break`: something that nobody foresaw is wrong at the first try.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import structlog

from api.work.engine import Engine
from tools.errors import TemporaryError


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(url: str, name: str, how: str, moves: list[str]) -> None:
    done = asyncio.Event()
    tries = 0

    ended: set[str] = set()

    async def advance(run_id: str, event: str) -> None:
        nonlocal tries
        if how == "share" and run_id == "run-1" and "run-2" not in ended:
            raise TemporaryError("the store is away", retry_after=timedelta(milliseconds=10))
        tries += 1
        say(f"begun {run_id} {event}")
        if how == "hang":
            await asyncio.Event().wait()
        if how == "leave":
            done.set()
            try:
                await asyncio.Event().wait()
            finally:
                say(f"broken off {run_id} {event}")
        if how == "stumble" and tries == 1:
            raise TemporaryError("the store is away", retry_after=timedelta(milliseconds=10))
        if how == "break" and tries == 1:
            raise RuntimeError("nobody foresaw this")
        say(f"done {run_id} {event}")
        ended.add(run_id)
        if how != "share" or run_id == "run-1":
            done.set()

    async def forgotten(engine: Engine, before: datetime) -> None:
        say(f"forgotten {await engine.forget(before, limit=10)}")

    engine = Engine(url, advance, executor=name, concurrency=1 if how == "share" else 16)
    await engine.start()
    for move in moves:
        run_id, _, event = move.partition(":")
        event, _, again = event.partition("+")
        await engine.dispatch(run_id, event, again=again)
    await done.wait()
    if how == "forget":
        now = datetime.now(UTC)
        await forgotten(engine, now - timedelta(days=1))
        while True:
            # The row says that it is over a moment after the move has ended.
            if gone := await engine.forget(now + timedelta(days=1), limit=10):
                say(f"forgotten {gone}")
                break
        await forgotten(engine, now + timedelta(days=1))
    for told, count in engine.retried.items():
        if count:
            say(f"{told} {count}")
    await engine.stop()
    say("stopped")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
