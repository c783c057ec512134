"""The load: so many keep-alive clients, each sending its next request when the last was answered. A process of its own.

`python -m benchmarks.load` reads a plan (JSON) from stdin and prints what it saw (JSON). HTTP/1.1 by hand over uvloop, because
a client library would cost more than the servers that it is to measure.
"""

import asyncio
import json
import sys
import time
from typing import cast

import msgspec
import uvloop
from msgspec import Struct


class Plan(Struct):
    port: int
    path: str
    bodies: list[str]
    """Sent in turn."""
    clients: int
    seconds: float
    host: str = "127.0.0.1"


class Seen(Struct):
    answered: int
    """Status 200."""
    failed: int
    seconds: float
    latencies_ms: list[float]


class Client(asyncio.Protocol):
    def __init__(self, requests: list[bytes], first: int, deadline: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._next = first
        self._deadline = deadline
        self._done = done
        self._buffer = b""
        self._sent = 0.0
        self.latencies: list[float] = []
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._done.done():
            self.failed += 1
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < _length(head):
            return
        now = time.perf_counter()
        self._buffer = b""
        if head.startswith(b"HTTP/1.1 200"):
            self.latencies.append((now - self._sent) * 1000)
        else:
            self.failed += 1
        if now < self._deadline:
            self._send()
        else:
            self._done.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        self._sent = time.perf_counter()
        self._transport.write(request)


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(b"content-length:") + 15
    end = lowered.find(b"\r\n", start)
    return int(lowered[start : end if end >= 0 else None])


async def run(plan: Plan) -> Seen:
    loop = asyncio.get_running_loop()
    requests = [
        f"POST {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        for body in plan.bodies
    ]
    started = time.perf_counter()
    clients: list[Client] = []
    ends: list[asyncio.Future[None]] = []
    for number in range(plan.clients):
        end = loop.create_future()
        client = Client(requests, number, started + plan.seconds, end)
        await loop.create_connection(lambda client=client: client, plan.host, plan.port)  # type: ignore[misc]
        clients.append(client)
        ends.append(end)
    await asyncio.gather(*ends)
    latencies = [latency for client in clients for latency in client.latencies]
    failed = sum(client.failed for client in clients)
    return Seen(len(latencies), failed, time.perf_counter() - started, latencies)


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    print(json.dumps(msgspec.to_builtins(uvloop.run(run(plan)))))


if __name__ == "__main__":
    main()
