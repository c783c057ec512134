"""A synchronous library in a process of its own, so that it can neither stall the event loop nor be opened twice.

The child holds one object, made there by `factory(*arguments)`, and answers calls on it one after the other. It is started on
the first call, again after it died, and it ends with its parent, however the parent ends: end of file on its socket, and a
signal from the kernel where there is one.
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
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from tools.errors import PermanentError, PortError, TemporaryError

T = TypeVar("T")
O = TypeVar("O")  # noqa: E741
P = ParamSpec("P")

_HEADER_BYTES = 8
_CLOSE_S = 5.0


class ChildProcess:
    """`factory` and what is sent or answered must be picklable; only this process and its own child are on the socket."""

    def __init__(self, name: str, factory: Callable[..., object], *arguments: object) -> None:
        self._name = name
        self._recipe = (factory, arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._starting = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        """Start it ahead of the first call, and wait until its object is there."""
        await self.call(_ready)

    async def call(self, function: Callable[Concatenate[O, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        """`function(object, *arguments)` in the child.

        Raises what it raises when that is a PortError, PermanentError for anything else, and TemporaryError when the child died
        meanwhile: then whether it was done is not known.
        """
        async with self._starting:
            if self._writer is None:
                await self._launch()
        writer = self._writer
        if writer is None:
            raise TemporaryError(f"the {self._name} process ended while it started")
        number = next(self._numbers)
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            writer.write(_packed((number, function, arguments, options)))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            return await answer  # type: ignore[no-any-return]
        finally:
            self._pending.pop(number, None)

    async def close(self) -> None:
        """End it: it finishes the call at hand, and is killed when that takes too long."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, _CLOSE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        if self._reading is not None:
            await self._reading

    async def _launch(self) -> None:
        if self._closed:
            raise PermanentError(f"the {self._name} process was closed")
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - some milliseconds, once
                [sys.executable, "-m", "tools.offload", str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # What a library prints must not get among the results of the program that it works for.
                stdout=sys.__stderr__.fileno() if sys.__stderr__ is not None else subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._writer.write(_packed(self._recipe))
        self._reading = asyncio.create_task(self._read(reader, self._process), name=f"{self._name} answers")

    async def _read(self, reader: asyncio.StreamReader, process: subprocess.Popen[bytes]) -> None:
        """Hand answers to those who wait; when there are no more, tell them so and let the next call start anew."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(_HEADER_BYTES))
                number, failed, value = pickle.loads(await reader.readexactly(size))  # noqa: S301 - our own child
                answer = self._pending.get(number)
                if answer is not None and not answer.done():
                    if failed:
                        answer.set_exception(value)
                    else:
                        answer.set_result(value)
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(TemporaryError(f"the {self._name} process died", retry_after=timedelta(milliseconds=200)))
        await asyncio.to_thread(process.wait)


def _ready(_held: object) -> None:
    """Answered when the object has been made."""


def _packed(message: object) -> bytes:
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(_HEADER_BYTES) + content


def _serve(descriptor: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to handle
    _die_with(parent)
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as incoming:
        factory, arguments = _next(incoming)
        held: object = None
        broken: Exception | None = None
        try:
            held = factory(*arguments)
        except Exception as error:  # noqa: BLE001 - it is the caller that is told
            broken = _told(error)
        while (message := _next(incoming)) is not None:
            number, function, given, options = message
            try:
                if broken is not None:
                    raise broken
                answer = (number, False, function(held, *given, **options))
            except Exception as error:  # noqa: BLE001 - it is the caller that is told
                answer = (number, True, _told(error))
            connection.sendall(_packed(answer))
            if broken is not None:
                return  # the next call gets a fresh child, and with it another try
    close = getattr(held, "close", None)
    if close is not None:
        close()


def _next(incoming: Any) -> Any:
    header = incoming.read(_HEADER_BYTES)
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
