"""A synchronous library in a process of its own: what is answered, what is said of failures, and how it ends."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit import offloaded
from tests.unit.offloaded import Counter
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.offload import ChildProcess


@pytest.fixture
async def child() -> AsyncIterator[ChildProcess]:
    child = ChildProcess("counting", Counter, 40)
    yield child
    await child.close()


async def test_it_holds_one_object_from_call_to_call(child: ChildProcess) -> None:
    await child.call(Counter.add, 1)
    assert await child.call(Counter.add, 0, twice=True) == 41


async def test_calls_at_once_are_answered_each_with_its_own_result(child: ChildProcess) -> None:
    assert await asyncio.gather(*(child.call(Counter.add, 1) for _ in range(50))) == list(range(41, 91))


async def test_it_is_another_process_and_started_once(child: ChildProcess) -> None:
    ids = await asyncio.gather(*(child.call(offloaded.pid) for _ in range(5)))
    assert len({*ids}) == 1
    assert ids[0] != os.getpid()


async def test_megabytes_go_both_ways(child: ChildProcess) -> None:
    content = os.urandom(8_000_000)
    assert await child.call(offloaded.echo, content) == content


async def test_an_error_of_a_port_comes_back_as_it_is(child: ChildProcess) -> None:
    with pytest.raises(Conflict, match="it has moved on"):
        await child.call(offloaded.refuse)


async def test_any_other_error_is_a_permanent_one_and_the_child_lives_on(child: ChildProcess) -> None:
    with pytest.raises(PermanentError, match="Fussy: this and that"):
        await child.call(offloaded.fail)
    with pytest.raises(PermanentError, match="pickle"):
        await child.call(offloaded.unpicklable)
    assert await child.call(Counter.add, 2) == 42


async def test_a_function_that_is_not_there_in_the_child_is_a_permanent_error(child: ChildProcess) -> None:
    lost = offloaded.known_here_only()
    with pytest.raises(PermanentError, match="AttributeError"):
        await child.call(lost)
    assert await child.call(Counter.add, 2) == 42


async def test_who_waits_when_it_dies_is_told_and_the_next_call_has_a_new_one(child: ChildProcess) -> None:
    await child.call(Counter.add, 60)
    with pytest.raises(TemporaryError, match="counting process died"):
        await child.call(offloaded.die)
    assert await child.call(Counter.add, 1) == 41


async def test_a_factory_that_failed_is_tried_again_at_the_next_call(tmp_path: Path) -> None:
    child = ChildProcess("late", offloaded.broken_until, tmp_path / "now")
    with pytest.raises(PermanentError, match="not yet"):
        await child.start()
    (tmp_path / "now").touch()
    assert await child.call(Counter.add, 1) == 1
    await child.close()


async def test_a_caller_that_is_cancelled_leaves_nothing_behind(child: ChildProcess, tmp_path: Path) -> None:
    await child.start()
    waiting = asyncio.create_task(child.call(offloaded.wait_for, tmp_path / "go"))
    await asyncio.sleep(0)
    waiting.cancel()
    (tmp_path / "go").write_text("nobody asked any more")
    assert await child.call(Counter.add, 2) == 42


async def test_the_loop_runs_on_while_the_child_is_busy(child: ChildProcess, tmp_path: Path) -> None:
    await child.start()
    waiting = asyncio.create_task(child.call(offloaded.wait_for, tmp_path / "go"))
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert not waiting.done()
    (tmp_path / "go").write_text("done")
    assert await waiting == "done"


async def test_with_threads_calls_go_on_beside_each_other(tmp_path: Path) -> None:
    child = ChildProcess("counting", Counter, threads=2)
    waiting = asyncio.create_task(child.call(offloaded.wait_for, tmp_path / "go"))
    await asyncio.sleep(0)
    assert await child.call(Counter.add, 1) == 1
    with pytest.raises(PermanentError, match="Fussy"):
        await child.call(offloaded.fail)
    assert not waiting.done()
    (tmp_path / "go").write_text("done")
    assert await waiting == "done"
    contents = [os.urandom(300_000) for _ in range(12)]
    assert await asyncio.gather(*(child.call(offloaded.echo, content) for content in contents)) == contents
    await child.close()


async def test_a_child_that_does_not_answer_in_time_is_killed_and_the_next_call_gets_a_fresh_one(tmp_path: Path) -> None:
    child = ChildProcess("stuck", Counter, answer_s=0.2)
    first = await child.call(offloaded.pid)
    waiting = asyncio.create_task(child.call(offloaded.wait_for, tmp_path / "never"))
    await asyncio.sleep(0)
    behind = asyncio.create_task(child.call(Counter.add, 1))
    for each in (waiting, behind):
        with pytest.raises(TemporaryError, match=r"did not answer within 0\.2 s"):
            await each
    assert await child.call(offloaded.pid) != first
    await child.close()


async def test_an_interrupt_is_left_to_the_parent(child: ChildProcess) -> None:
    assert await child.call(offloaded.interrupt) == "still here"


async def test_closing_lets_the_object_close_and_is_final(tmp_path: Path) -> None:
    child = ChildProcess("counting", offloaded.marked, tmp_path / "mark")
    await child.call(Counter.add, 3)
    await child.close()
    await child.close()
    assert (tmp_path / "mark").read_text() == "3"
    with pytest.raises(PermanentError, match="was closed"):
        await child.call(Counter.add, 1)


async def test_closing_what_was_never_started_starts_nothing() -> None:
    child = ChildProcess("counting", Counter)
    await child.close()
    with pytest.raises(PermanentError):
        await child.start()


async def test_closing_does_not_wait_for_a_call_without_end(tmp_path: Path) -> None:
    child = ChildProcess("stuck", Counter, close_s=0.1)
    await child.start()
    waiting = asyncio.create_task(child.call(offloaded.wait_for, tmp_path / "never"))
    await asyncio.sleep(0)
    await child.close()
    with pytest.raises(TemporaryError):
        await waiting


_PARENT = """
import asyncio, sys
from pathlib import Path
from tests.unit import offloaded
from tools.offload import ChildProcess

async def main():
    child = ChildProcess("counting", offloaded.Counter)
    await child.call(offloaded.said)
    print("ready", flush=True)
    if sys.argv[1] == "wait":
        await child.call(offloaded.wait_for, Path(sys.argv[2]))

asyncio.run(main())  # no guard: the child does not run this again
"""


def _parent(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _PARENT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_it_ends_with_a_parent_that_is_killed_and_what_it_prints_is_no_result(tmp_path: Path) -> None:
    parent = _parent("wait", str(tmp_path / "never"))
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    # The pipe to its error output is the child's too: it ends when both are gone.
    _, errors = parent.communicate(timeout=10)
    assert "a library talks" in errors


def test_it_ends_with_a_parent_that_forgets_to_close_it() -> None:
    parent = _parent("leave")
    output, _ = parent.communicate(timeout=10)  # both are gone
    assert output == "ready\n"


def test_a_child_whose_parent_closed_before_it_was_told_anything_ends_without_a_word() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-m", "tools.offload", str(theirs.fileno()), str(os.getpid())],
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
        )
        theirs.close()
        ours.close()
        _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (0, b"")


def test_a_parent_that_imports_it_has_imported_nothing_heavy() -> None:
    heavy = "{'chdb', 'mlflow', 'numpy', 'pandas', 'pyarrow', 'clickhouse_connect', 'multiprocessing'}"
    seen = subprocess.run(
        [sys.executable, "-c", f"import sys, tools.offload; print(*({heavy} & {{*sys.modules}}))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == ""
