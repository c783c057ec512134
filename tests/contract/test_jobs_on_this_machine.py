"""Jobs as processes of this machine: killed services, killed supervisors, recycled numbers, and what the limits let through."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.dying_submitter import BOUNDARIES, KEY, spec_of
from tools.errors import PermanentError, TemporaryError
from tools.jobs import processes
from tools.jobs.folder import LOCK_PATIENCE_S, Folder
from tools.jobs.local import LocalJobs
from tools.jobs.output import Output
from tools.jobs.port import MIB, JobState, Phase, Reason, Resources, job_name

LIMIT_S = 30
NAME = job_name(KEY)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
async def jobs(root: Path) -> AsyncIterator[LocalJobs]:
    made = LocalJobs(root)
    yield made
    for left in await made.jobs():
        await made.cancel(left.name, reason="the test is over")
        await ended(made, left.name)


def once(runs: Path, rest: str = "true") -> str:
    """Tells in `runs` that it runs, and whether another one of it does at the same time."""
    return f"mkdir {runs}.lock || echo twice >> {runs}; echo run >> {runs}; {rest}; rmdir {runs}.lock"


async def ended(jobs: LocalJobs, name: str = NAME) -> JobState:
    async with asyncio.timeout(LIMIT_S):
        return [state async for state in jobs.watch(name)][-1]


async def until(jobs: LocalJobs, wanted: Callable[[JobState], bool], name: str = NAME) -> JobState:
    async with asyncio.timeout(LIMIT_S), contextlib.aclosing(jobs.watch(name)) as states:
        async for state in states:
            if wanted(state):
                return state
    raise AssertionError(f"it ended as {state}")


def running(state: JobState) -> bool:
    return state.phase is Phase.RUNNING


async def said(path: Path, text: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not path.exists() or text not in path.read_text():
            await asyncio.sleep(0.02)


def supervisor(root: Path) -> int:
    return int(json.loads((root / NAME / "status.json").read_text())["supervisor"][0])


async def dead(pid: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while processes.started(pid) is not None:
            await asyncio.sleep(0.01)


# The one who submits is killed.


@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_a_submission_that_is_killed_leads_to_one_run(jobs: LocalJobs, root: Path, tmp_path: Path, boundary: str) -> None:
    runs = tmp_path / "runs"
    command = once(runs, "sleep 0.3")
    submitter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.dying_submitter", str(root), boundary, command)
    )
    assert await submitter.wait() == (0 if boundary == "never" else -signal.SIGKILL)
    await jobs.submit(KEY, spec_of(command))
    state = await ended(jobs)
    assert (state.phase, state.attempts) == (Phase.SUCCEEDED, 1)
    assert runs.read_text() == "run\n"


async def test_a_submission_that_is_killed_at_any_time_leads_to_one_run(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    """By the kernel's clock, at moments of the tenth of a second that it takes."""
    for milliseconds in (2, 8, 25, 60):
        runs, place = tmp_path / f"runs-{milliseconds}", root / str(milliseconds)
        command = once(runs, "sleep 0.1")
        submitter = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.contract.dying_submitter", str(place), f"{milliseconds} ms", command)
        )
        assert await submitter.wait() in (0, -signal.SIGALRM)
        again = LocalJobs(place)
        await again.submit(KEY, spec_of(command))
        state = await ended(again)
        assert (state.phase, state.attempts, runs.read_text()) == (Phase.SUCCEEDED, 1, "run\n")


async def test_several_services_at_once_start_one(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    spec = spec_of(once(runs, f"sleep {3 * LOCK_PATIENCE_S}"))
    await asyncio.gather(*(LocalJobs(root).submit(KEY, spec) for _ in range(6)))
    state = await ended(jobs)
    assert (state.phase, state.attempts, runs.read_text()) == (Phase.SUCCEEDED, 1, "run\n")


async def test_a_job_outlives_its_service_and_is_found_again(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    runs, go = tmp_path / "runs", tmp_path / "go"
    command = once(runs, f"while [ ! -e {go} ]; do sleep 0.05; done")
    service = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.dying_submitter", str(root), "after start", command)
    )
    assert await service.wait() == -signal.SIGKILL
    await said(runs, "run")
    before = supervisor(root)
    assert (await until(jobs, running)).attempts == 1
    assert supervisor(root) == before
    go.touch()
    assert (await ended(jobs)).phase is Phase.SUCCEEDED
    assert runs.read_text() == "run\n"


# The supervisor is killed.


@pytest.mark.parametrize(
    ("save", "moment"), [(number, moment) for number in (1, 2, 3) for moment in ("before", "inside", "after")]
)
async def test_a_supervisor_that_is_killed_leaves_nothing_that_runs_twice(
    jobs: LocalJobs, root: Path, tmp_path: Path, save: int, moment: str
) -> None:
    """Its writes: the job is pending, its first attempt is on record, and it has ended."""
    runs = tmp_path / "runs"
    command = f"trap 'rmdir {runs}.lock' EXIT; mkdir {runs}.lock || echo twice >> {runs}; echo run >> {runs}; sleep 0.2"
    root.mkdir()
    jobs.claim(Folder(root / NAME), KEY, spec_of(command, retries=1))
    given = json.dumps({"secrets": {}, "gpus": [], "gpu_locks": str(root)}).encode()
    dying = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.dying_supervisor", str(root / NAME), str(save), moment),
        stdin=subprocess.PIPE,
    )
    await dying.communicate(given)
    folder = Folder(root / NAME)
    async with asyncio.timeout(LIMIT_S):
        while folder.supervised():
            await asyncio.sleep(0.02)
    (tmp_path / "runs.lock").rmdir() if (tmp_path / "runs.lock").exists() else None  # its holder died by SIGKILL
    state = await ended(jobs)
    ran = runs.read_text().count("run")
    assert state.phase is Phase.SUCCEEDED
    assert "twice" not in runs.read_text()
    assert ran <= state.attempts <= 2


async def test_a_lost_job_goes_on_from_its_checkpoint(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    mark = '"$OPPEN_JOB_CHECKPOINTS/epoch"'
    command = f"if [ -e {mark} ]; then echo from epoch $(cat {mark}); else echo 3 > {mark}; sleep 600; fi"
    await jobs.submit(KEY, spec_of(command, retries=1))
    await said(root / NAME / "checkpoints" / "epoch", "3")
    os.kill(supervisor(root), signal.SIGKILL)
    state = await ended(jobs)
    assert (state.phase, state.attempts) == (Phase.SUCCEEDED, 2)
    assert [line async for line in jobs.logs(NAME)] == ["from epoch 3"]


async def test_a_lost_job_without_another_attempt_has_failed(jobs: LocalJobs, root: Path) -> None:
    await jobs.submit(KEY, spec_of("sleep 600"))
    await until(jobs, running)
    os.kill(supervisor(root), signal.SIGKILL)
    state = await ended(jobs)
    assert (state.phase, state.reason, state.attempts) == (Phase.FAILED, Reason.LOST, 1)


async def test_nothing_of_a_lost_job_runs_on(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    """Neither its command, nor what that has put into a session of its own."""
    strays = tmp_path / "strays"
    await jobs.submit(KEY, spec_of(f"setsid sh -c 'echo $$ >> {strays}; exec sleep 600' & echo $$ >> {strays}; exec sleep 600"))
    async with asyncio.timeout(LIMIT_S):
        while not strays.exists() or len(strays.read_text().split()) < 2:
            await asyncio.sleep(0.02)
    pids = [int(pid) for pid in strays.read_text().split()]
    os.kill(supervisor(root), signal.SIGKILL)
    await ended(jobs)
    for pid in pids:
        await dead(pid)


async def test_a_cancellation_reaches_a_job_that_was_lost(jobs: LocalJobs, root: Path) -> None:
    await jobs.submit(KEY, spec_of("sleep 600", retries=5))
    await until(jobs, running)
    os.kill(supervisor(root), signal.SIGKILL)
    await jobs.cancel(NAME, reason="enough")
    state = await ended(jobs)
    assert (state.reason, state.detail) == (Reason.CANCELLED, "enough")


async def test_a_supervisor_that_is_told_to_end_costs_no_attempt(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    """As when the machine goes down."""
    runs = tmp_path / "runs"
    await jobs.submit(KEY, spec_of(f"echo run >> {runs}; if [ $(wc -l < {runs}) -lt 2 ]; then sleep 600; fi"))
    await said(runs, "run")
    os.kill(supervisor(root), signal.SIGTERM)
    state = await ended(jobs)
    assert (state.phase, state.attempts, runs.read_text()) == (Phase.SUCCEEDED, 1, "run\nrun\n")


async def test_a_number_that_somebody_else_has_now_is_nobody(jobs: LocalJobs, root: Path) -> None:
    """The status names a process that lives, and is not the job's: it is left alone, and the job is not taken for running."""
    other = subprocess.Popen(["sleep", "600"])
    try:
        root.mkdir()
        folder = Folder(root / NAME)
        jobs.claim(folder, KEY, spec_of("true"))
        mine = [other.pid, processes.started(other.pid), processes.boot()]
        folder.save({"phase": "running", "attempts": 1, "since": time.time(), "started_at": time.time(), "wall_seconds": 1.0,
                     "cpu_seconds": 0.0, "peak_memory_bytes": 0, "supervisor": mine, "child": mine})  # fmt: skip
        assert (await ended(jobs)).reason is Reason.LOST
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


# The machine, or the container, goes down.


def contained() -> bool:
    """Whether there may be another space of process numbers, as a container has one."""
    tried = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True, check=False).returncode == 0


async def test_a_container_that_is_killed_with_all_in_it_costs_no_attempt(jobs: LocalJobs, root: Path, tmp_path: Path) -> None:
    if not contained():
        pytest.skip("no space of process numbers of its own may be made here")
    runs = tmp_path / "runs"
    command = f"echo run >> {runs}; if [ $(wc -l < {runs}) -lt 3 ]; then exec sleep 600; fi"
    inside = f'{sys.executable} -m tests.contract.dying_submitter {root} never "$1" && exec sleep 600'
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside, "sh", command]
    for started in (1, 2):
        up = await asyncio.create_subprocess_exec(*container)
        await said(runs, "run\n" * started)
        up.kill()
        await up.wait()
        async with asyncio.timeout(LIMIT_S):
            while Folder(root / NAME).supervised():
                await asyncio.sleep(0.02)
    state = await ended(jobs)
    assert (state.phase, state.attempts, runs.read_text()) == (Phase.SUCCEEDED, 1, "run\n" * 3)


def went_down(jobs: LocalJobs, root: Path, *, age_s: float = 0, **status: object) -> None:
    """A job that ran `age_s` ago when the machine that it ran on went down."""
    root.mkdir()
    folder = Folder(root / NAME)
    jobs.claim(folder, KEY, spec_of("true"))
    then = time.time() - age_s
    folder.save({"phase": "running", "attempts": 1, "since": then, "started_at": then, "wall_seconds": 1.0, "cpu_seconds": 0.0,
                 "peak_memory_bytes": 0, "life": ["another boot", "pid:[1]", 7], **status})  # fmt: skip
    os.utime(folder.path / "status.json", (then, then))


async def test_the_time_that_a_machine_was_down_is_none_of_the_deadline(jobs: LocalJobs, root: Path) -> None:
    went_down(jobs, root, age_s=3 * 86_400)
    state = await ended(jobs)
    assert (state.phase, state.attempts) == (Phase.SUCCEEDED, 1)


async def test_a_job_that_is_there_whenever_the_machine_goes_down_is_lost_in_the_end(jobs: LocalJobs, root: Path) -> None:
    went_down(jobs, root, restarts=5)
    state = await ended(jobs)
    assert (state.phase, state.reason, state.attempts) == (Phase.FAILED, Reason.LOST, 1)


async def test_checkpoints_of_what_succeeded_go_and_those_of_a_failure_stay(jobs: LocalJobs, root: Path) -> None:
    for key, end in (("a", 0), ("b", 1)):
        await jobs.submit(key, spec_of(f'touch "$OPPEN_JOB_CHECKPOINTS/x"; exit {end}'))
        await ended(jobs, job_name(key))
    async with asyncio.timeout(LIMIT_S):
        while (root / job_name("a") / "checkpoints").exists():
            await asyncio.sleep(0.02)
    assert (root / job_name("b") / "checkpoints" / "x").exists()


# Limits, secrets, GPUs.


async def test_secrets_reach_the_command_and_no_disk(root: Path) -> None:
    jobs = LocalJobs(root, secrets={"TOKEN": "hush-hush", "OTHER": "not asked for"})
    await jobs.submit(KEY, spec_of('[ ${#TOKEN} = 9 ] && [ -z "$OTHER" ]', secrets=frozenset({"TOKEN"})))
    assert (await ended(jobs)).phase is Phase.SUCCEEDED
    assert not [path for path in (root / NAME).rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]
    with pytest.raises(PermanentError, match="MISSING"):
        await jobs.submit("b", spec_of("true", secrets=frozenset({"MISSING"})))


async def test_gpus_are_held_by_one_job_each(root: Path) -> None:
    jobs = LocalJobs(root, gpus=("0", "GPU-5a"))
    spec = spec_of('echo "$CUDA_VISIBLE_DEVICES"; exec sleep 600')
    spec = spec.model_copy(update={"resources": Resources(cpu=0.5, memory_bytes=64 * MIB, gpus=1)})
    for key in "ab":
        await jobs.submit(key, spec)
        await until(jobs, running, job_name(key))
    await jobs.submit("c", spec)
    waiting = await until(jobs, lambda state: state.reason is not None, job_name("c"))
    assert (waiting.phase, waiting.reason) == (Phase.PENDING, Reason.UNSCHEDULABLE)
    held = set()
    for key in "ab":
        async for line in jobs.logs(job_name(key), follow=True):
            held.add(line)
            break
    assert held == {"0", "GPU-5a"}
    await jobs.cancel(job_name("a"), reason="make room")
    await until(jobs, running, job_name("c"))
    for key in "bc":
        await jobs.cancel(job_name(key), reason="the test is over")
        await ended(jobs, job_name(key))


async def test_a_signal_has_its_name(jobs: LocalJobs) -> None:
    await jobs.submit(KEY, spec_of("kill -9 $$"))
    state = await ended(jobs)
    assert (state.reason, state.exit_code, state.detail) == (Reason.EXIT_CODE, 137, "signal SIGKILL")


async def test_cores_are_counted_out(jobs: LocalJobs) -> None:
    await jobs.submit(KEY, spec_of("grep Cpus_allowed_list /proc/self/status | tr -cd '0-9,-'"))
    await ended(jobs)
    (allowed,) = [line async for line in jobs.logs(NAME)]
    assert allowed.isdigit()


async def test_a_name_is_no_path(jobs: LocalJobs, root: Path) -> None:
    await jobs.submit(KEY, spec_of("true"))
    for name in (f"../jobs/{NAME}", ".", "..", "", ".gone-x"):
        with pytest.raises(PermanentError, match="no job"):
            await jobs.state(name)
    await ended(jobs)


async def test_a_folder_that_cannot_be_written_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TemporaryError, match="folder"):
        await LocalJobs(tmp_path / "file").ping()


async def test_a_program_that_is_not_there_is_told(jobs: LocalJobs) -> None:
    spec = spec_of("true").model_copy(update={"command": ("no-such-program",)})
    await jobs.submit(KEY, spec)
    state = await ended(jobs)
    assert (state.reason, state.exit_code) == (Reason.EXIT_CODE, 127)
    assert [line async for line in jobs.logs(NAME)] == ["no-such-program: there is no such program"]


# The log.


async def test_a_log_is_bounded_and_followed_while_it_turns_over(jobs: LocalJobs, root: Path) -> None:
    folder = Folder(root / NAME)
    root.mkdir()
    jobs.claim(folder, KEY, spec_of("true"))
    folder.save({"phase": "succeeded", "ended_at": time.time()})
    output = Output(folder.log, folder.older_log, limit_bytes=2000)
    for number in range(1000):
        output.take(f"line {number}\n".encode())
    output.close()
    lines = [line async for line in jobs.logs(NAME)]
    assert lines[-1] == "line 999"
    assert lines == [f"line {number}" for number in range(1000 - len(lines), 1000)]
    assert 900 <= sum(len(line) + 1 for line in lines) <= 2100
    assert [line async for line in jobs.logs(NAME, tail=2)] == ["line 998", "line 999"]


async def test_a_line_without_an_end_is_bounded_too(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", tmp_path / "log.1", limit_bytes=100_000)
    for _ in range(100):
        output.take(b"x" * 10_000)
    output.close()
    assert (tmp_path / "log").stat().st_size + (tmp_path / "log.1").stat().st_size <= 250_000


async def test_a_deadline_counts_over_all_attempts(jobs: LocalJobs) -> None:
    spec = spec_of("sleep 0.4; exit 1", retries=10).model_copy(update={"deadline": timedelta(seconds=2)})
    await jobs.submit(KEY, spec)
    state = await ended(jobs)
    assert (state.reason, state.attempts > 1) == (Reason.DEADLINE, True)


# What is left behind.


async def test_checkpoints_of_a_failed_job_are_put_aside_and_go_after_a_week(jobs: LocalJobs, root: Path) -> None:
    spec = spec_of('echo much > "$OPPEN_JOB_CHECKPOINTS/state"; echo said; exit 1')
    await jobs.submit(KEY, spec)
    await ended(jobs)
    found = {each.kind: each for each in await jobs.leftovers(spec.model)}
    assert (found["checkpoints"].size_bytes, found["logs"].size_bytes) == (5, 5)
    assert [line async for line in jobs.logs(NAME)] == ["said"]
    for item in found.values():
        await jobs.discard(item)
    assert await jobs.leftovers(spec.model) == ()
    assert [line async for line in jobs.logs(NAME)] == []
    await jobs.jobs()
    await jobs.restore(found["logs"])
    assert [line async for line in jobs.logs(NAME)] == ["said"]
    aside = root / NAME / ".discarded-checkpoints"
    assert (aside / "checkpoints" / "state").read_text() == "much\n"
    week = time.time() - timedelta(days=7, minutes=1).total_seconds()
    os.utime(aside, (week, week))
    await jobs.jobs()
    assert not aside.exists()
    with pytest.raises(PermanentError, match="gone for good"):
        await jobs.restore(found["checkpoints"])
