"""`python -m tests.contract.dying_submitter ROOT BOUNDARY COMMAND`: submits a local job and is killed on the way, at the
instant that its arguments say."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from datetime import timedelta
from pathlib import Path

from tools.jobs.folder import Folder
from tools.jobs.local import LocalJobs
from tools.jobs.port import MIB, JobSpec, Resources

KEY = "flights/run-1"
BOUNDARIES = ("before claim", "inside claim", "after claim", "supervisor without its input", "after start", "never")


def spec_of(command: str, *, retries: int = 0, secrets: frozenset[str] = frozenset()) -> JobSpec:
    return JobSpec(
        model="flights",
        team="search",
        run_id="run-1",
        command=("sh", "-c", command),
        resources=Resources(cpu=0.5, memory_bytes=64 * MIB),
        deadline=timedelta(seconds=60),
        grace=timedelta(seconds=1),
        retries=retries,
        secrets=secrets,
    )


class DyingFolder(Folder):
    def _written(self, name: str, content: dict[str, object]) -> Path:
        draft = super()._written(name, content)
        if name == "spec" and END == "inside claim":
            die()
        return draft


class DyingJobs(LocalJobs):
    def _folder(self, name: str) -> Folder:
        return DyingFolder(self._root / name)

    def claim(self, folder: Folder, key: str, spec: JobSpec) -> None:
        if END == "before claim":
            die()
        super().claim(folder, key, spec)
        if END == "after claim":
            die()

    async def start_supervisor(self, folder: Folder) -> None:
        await super().start_supervisor(folder)
        if END == "after start":
            die()


async def cut_short(_: Process, _input: bytes) -> tuple[bytes, bytes]:
    die()
    raise AssertionError


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, root, END, shell = sys.argv
    if END == "supervisor without its input":
        Process.communicate = cut_short  # type: ignore[method-assign]
    if END.endswith(" ms"):  # what the kernel then sends ends a process that does not catch it
        signal.setitimer(signal.ITIMER_REAL, int(END.removesuffix(" ms")) / 1000)
    asyncio.run(DyingJobs(Path(root)).submit(KEY, spec_of(shell)))
