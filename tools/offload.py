"""A synchronous library in a process of its own, so that it can neither stall the event loop nor be opened twice.

The child holds one object, made there by `factory(*arguments)`, and answers calls on it one after the other, or in several
threads where the library lets go of the interpreter. It is started on the first call, again after it died, and it ends with its
parent, however the parent ends: end of file on its socket, and a signal from the kernel where there is one. It runs this
module, never the parent's program again, so a parent needs no guard.
"""

import asyncio
import contextlib
import ctypes
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from tools.errors import PermanentError, PortError, TemporaryError

T = TypeVar("T")
O = TypeVar("O")  # noqa: E741
P = ParamSpec("P")

_HEADER_BYTES = 8
_START_S = 120.0
"""More, for the calls that wait for the object: importing a big library may take that long on a machine that is busy."""


class ChildProcess:
    """`factory` and what is sent or answered must be picklable; only this process and its own child are on the socket.

    On Linux a child also ends when the thread ends that started it, which is the one its event loop runs in.
    """

    def __init__(
        self,
        name: str,
        factory: Callable[..., object],
        *arguments: object,
        threads: int = 1,
        close_s: float = 5.0,
        answer_s: float | None = None,
    ) -> None:
        """`threads`: calls at once, on an object that must be safe for it; with one it is used in the child's main thread.
        `close_s`: how long `close` waits for the calls at hand. `answer_s`: how long a call may take, with those before it; a
        child that does not keep to it is stuck, and is killed. None: as long as it takes."""
        self._name = name
        self._recipe = (factory, arguments, threads)
        self._close_s = close_s
        self._answer_s = answer_s
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        """Start it ahead of the first call, and wait until its object is there."""
        await self.call(_ready)

    async def call(self, function: Callable[Concatenate[O, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        """`function(object, *arguments)` in the child.

        Raises what it raises when that is a PortError, PermanentError for anything else, and TemporaryError when the child died
        meanwhile, or was killed because it did not answer in time: then whether it was done is not known.
        """
        async with self._starting:
            if self._closed:
                raise PermanentError(f"the {self._name} process was closed")
            if self._child is None or not self._child.usable:
                self._child = await _Child.started(self._name, self._recipe)
        return await self._child.call(function, arguments, options, self._answer_s)

    async def close(self) -> None:
        """End it: it finishes the calls at hand, and is killed when that takes too long. Those who wait get TemporaryError."""
        async with self._starting:
            self._closed = True
        if self._child is not None:
            await self._child.close(self._close_s)


class _Child:
    """One process, from its start to its end."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.usable = True
        self._answered = False
        """Once at least: its object is there."""
        self._name = name
        self._process = process
        self._writer = writer
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._reading = asyncio.create_task(self._read(reader), name=f"{name} answers")

    @classmethod
    async def started(cls, name: str, recipe: object) -> "_Child":
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = _spawned(theirs)
            except OSError as error:
                ours.close()
                raise TemporaryError(f"the {name} process cannot be started: {error}") from error
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(_packed(_pickled(recipe)))
        return cls(name, process, reader, writer)

    async def call(self, function: Callable[..., T], arguments: object, options: object, limit_s: float | None) -> T:
        number = next(self._numbers)
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(_packed((number, _pickled((function, arguments, options)))))
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            if limit_s is not None:
                limit_s += 0.0 if self._answered else _START_S
            done, _ = await asyncio.wait((answer,), timeout=limit_s)
            if not done:
                self._process.kill()
                self._end(TemporaryError(f"the {self._name} process did not answer within {limit_s:g} s, and is started anew"))
            return await answer  # type: ignore[no-any-return]
        finally:
            del self._pending[number]

    async def close(self, patience_s: float) -> None:
        self._end(TemporaryError(f"the {self._name} process was closed"))
        try:
            await asyncio.to_thread(self._process.wait, patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        await self._reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    size = int.from_bytes(await reader.readexactly(_HEADER_BYTES))
                    self._take(*pickle.loads(await reader.readexactly(size)))  # noqa: S301 - our own child
        finally:
            self._end(TemporaryError(f"the {self._name} process died", retry_after=timedelta(milliseconds=200)))
        await asyncio.to_thread(self._process.wait)

    def _take(self, number: int | None, failed: bool, packed: bytes) -> None:
        """An answer; or, without a number, the reason why the object could not be made."""
        answer = self._pending.get(number) if number is not None else None
        if number is not None and answer is None:
            return  # its caller was cancelled
        try:
            value = pickle.loads(packed)  # noqa: S301 - our own child
        except Exception as error:  # noqa: BLE001 - it is the caller that is told
            failed, value = True, PermanentError(f"the {self._name} process answered what cannot be read: {error}")
        self._answered = number is not None
        if answer is None:
            self._end(value)
        elif not answer.done():
            if failed:
                answer.set_exception(value)
            else:
                answer.set_result(value)

    def _end(self, reason: PortError) -> None:
        """Nothing more is sent; who still waits is told why."""
        self.usable = False
        self._writer.close()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(reason)


def _spawned(connection: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: modules come from where the parent's come from, and not from the folder that it happens to be in.
        [sys.executable, "-P", "-m", "tools.offload", str(connection.fileno()), str(os.getpid())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        pass_fds=(connection.fileno(),),
        process_group=0,  # a Ctrl-C in the terminal is the parent's to handle
        stdin=subprocess.DEVNULL,
        # What a library prints must not get among the results of the program that it works for.
        stdout=sys.__stderr__.fileno() if sys.__stderr__ is not None else subprocess.DEVNULL,
    )


def _ready(_held: object) -> None:
    """Answered when the object has been made."""


def _pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def _packed(message: object) -> bytes:
    content = _pickled(message)
    return len(content).to_bytes(_HEADER_BYTES) + content


def _serve(descriptor: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to handle
    _die_with(parent)
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as incoming:
        if (first := _next(incoming)) is None:
            return  # the parent has ended while this started
        try:
            factory, arguments, threads = pickle.loads(first)  # noqa: S301 - our own parent
            held: object = factory(*arguments)
        except Exception as error:  # noqa: BLE001 - it is the caller that is told
            _send(connection, None, error, threading.Lock())
            return  # the next call gets a fresh child, and with it another try
        sending = threading.Lock()

        def answer(number: int, packed: bytes) -> None:
            try:
                function, given, options = pickle.loads(packed)  # noqa: S301 - our own parent
                _send(connection, number, function(held, *given, **options), sending)
            except Exception as error:  # noqa: BLE001 - it is the caller that is told
                _send(connection, number, error, sending)

        if threads == 1:
            while (message := _next(incoming)) is not None:
                answer(*message)
        else:
            with ThreadPoolExecutor(threads) as pool:
                while (message := _next(incoming)) is not None:
                    pool.submit(answer, *message)
    close = getattr(held, "close", None)
    if close is not None:
        close()


def _send(connection: socket.socket, number: int | None, answer: object, sending: threading.Lock) -> None:
    failed = isinstance(answer, Exception)
    packed = _packed((number, failed, _pickled(_told(answer) if isinstance(answer, Exception) else answer)))
    with sending, contextlib.suppress(ConnectionError):  # the parent may be gone, and this process soon will be
        connection.sendall(packed)


def _next(incoming: Any) -> Any:
    """None when the parent is done: a parent that closes before it has read every answer resets the connection."""
    try:
        header = incoming.read(_HEADER_BYTES)
    except ConnectionResetError:
        return None
    if len(header) < _HEADER_BYTES:
        return None
    return pickle.loads(incoming.read(int.from_bytes(header)))  # noqa: S301 - our own parent


def _told(error: Exception) -> PortError:
    if isinstance(error, PortError):
        return error
    traceback.print_exception(error)
    return PermanentError(f"{type(error).__name__}: {error}")


def _die_with(parent: int) -> None:
    """Linux: be killed when the parent is. Elsewhere the end of the socket has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
