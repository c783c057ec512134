"""What a drill has started ends with it, however it is made to end; the programs here are stubborn, and have to be killed."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulations.processes import Failed, Programs
from simulations.stage import Stage
from simulations.story import Options, Story, perform

LIMIT_S = 20.0

DRILL = """
import asyncio, sys
from pathlib import Path
from simulations.processes import Programs

async def main():
    with Programs() as programs:
        for name in ("one", "two"):
            programs.start(name, ["tests.unit.stubborn"], {}, Path(sys.argv[1]) / f"{name}.log")
        await asyncio.Event().wait()

asyncio.run(main())
"""

NEVER_LEFT = """
import sys, time
from pathlib import Path
from simulations.processes import Programs

programs = Programs().__enter__()
programs.start("one", ["tests.unit.stubborn"], {}, Path(sys.argv[1]) / "one.log")
while len((Path(sys.argv[1]) / "one.out").read_text().split()) < 1:
    time.sleep(0.01)
raise KeyboardInterrupt
"""


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def said(folder: Path, name: str) -> list[str]:
    try:
        return (folder / f"{name}.out").read_text().split()
    except FileNotFoundError:
        return []


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def drill(script: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for name in ("one", "two"):
            for pid in said(folder, name)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_told_twice_it_leaves_nothing_behind(sign: signal.Signals, tmp_path: Path) -> None:
    with drill(DRILL, tmp_path) as process:
        until(lambda: all(said(tmp_path, name) for name in ("one", "two")))
        pids = [int(said(tmp_path, name)[0]) for name in ("one", "two")]
        process.send_signal(sign)
        until(lambda: "asked" in said(tmp_path, "two"))
        process.send_signal(sign)
        until(lambda: "asked" in said(tmp_path, "one"))
        process.send_signal(sign)
        assert process.wait(LIMIT_S) != 0
        assert [lives(pid) for pid in pids] == [False, False]


def test_what_was_never_left_ends_with_the_process(tmp_path: Path) -> None:
    with drill(NEVER_LEFT, tmp_path) as process:
        until(lambda: "asked" in said(tmp_path, "one"))
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
        until(lambda: not lives(int(said(tmp_path, "one")[0])))


def test_what_a_signal_did_before_it_does_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Programs():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


async def test_a_second_demo_leaves_the_folder_of_the_first_alone(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    home.mkdir()
    (home / "state").touch()
    with (tmp_path / "demo.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        begins = datetime(2013, 6, 1, tzinfo=UTC)
        with pytest.raises(Failed, match="another demo is at work"):
            await perform(Story, Options(home, True, 1.0), Stage(), begins=begins, policies="demo.yaml", rate=1.0)
    assert (home / "state").exists()
