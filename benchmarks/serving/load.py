"""A load generator in a process of its own: asks over kept connections, at a rate or as fast as answers come.

    python benchmarks/serving/load.py outcome.json < plan.json

With a rate (open loop) a request is due at its time whether or not earlier ones were answered, and its latency counts
from then on, so that a stall is not hidden by requests that were never sent (coordinated omission). Without one (closed
loop) each connection asks as soon as it has its answer.

Plan: host, port, connections, seconds, rate (or null), requests (a list of {method, path, body, headers}; "{n}" in a
body becomes a running number), keep (whether bodies are returned), warm (seconds that do not count).
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop


class Connection(asyncio.Protocol):
    """One kept connection with one request under way at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: Any = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport, self.open = transport, True

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is under way."""
        self.open = False
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionResetError("closed"))

    def data_received(self, data: bytes) -> None:
        """Gather an answer with a Content-Length."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) >= end + 4 + size:
            body = bytes(self.buffer[end + 4 : end + 4 + size])
            if b"\r\nconnection: close" in head:  # the server will not read what is sent over it from now on
                self.open = False
                self.transport.close()
            del self.buffer[: end + 4 + size]
            if self.answer is not None and not self.answer.done():
                self.answer.set_result((int(head[9:12]), body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer


class Load:
    """Plays one plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.requests = [self._parts(one) for one in plan["requests"]]
        self.number = int(plan.get("first", 0))
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.bodies: list[tuple[int, str]] = []
        self.counts_from = 0.0

    def _parts(self, one: dict[str, Any]) -> tuple[bytes, str]:
        headers = {"host": f"127.0.0.1:{self.plan['port']}", "content-type": "application/json"}
        headers |= self.plan.get("headers", {}) | one.get("headers", {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{one['method']} {one['path']} HTTP/1.1\r\n{lines}".encode(), one.get("body") or ""

    def next(self) -> bytes:
        """Return the next request as bytes."""
        head, body = self.requests[self.number % len(self.requests)]
        content = body.replace("{n}", str(self.number)).encode()
        self.number += 1
        return head + b"content-length: %d\r\n\r\n" % len(content) + content

    async def connect(self) -> Connection:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Connection, self.plan["host"], self.plan["port"])
        return made

    async def one(self, connection: Connection, due: float) -> bool:
        """Ask once; return whether the connection can be used again."""
        try:
            status, body = await connection.ask(self.next())
        except (OSError, ConnectionError):
            self.statuses["failed"] += 1
            return False
        now = time.perf_counter()
        if due >= self.counts_from:
            self.latencies.append(now - due)
            self.statuses[str(status)] += 1
            if self.plan.get("keep"):
                self.bodies.append((status, body.decode()))
        return connection.open

    async def closed(self, end: float) -> None:
        """Ask over one connection until the end."""
        connection = await self.connect()
        while time.perf_counter() < end:
            if not await self.one(connection, time.perf_counter()):
                try:
                    connection = await self.connect()
                except OSError:
                    return
        connection.transport.close()

    async def opened(self, begin: float, end: float, rate: float) -> None:
        """Ask at a rate, over as many connections as it takes."""
        free: list[Connection] = []
        under_way: set[asyncio.Task[None]] = set()

        async def ask(due: float) -> None:
            while free and free[-1].transport.is_closing():  # kept too long without a request
                free.pop()
            try:
                connection = free.pop() if free else await self.connect()
            except OSError:
                self.statuses["refused"] += 1
                return
            if await self.one(connection, due):
                free.append(connection)

        due = begin
        while due < end:
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.ensure_future(ask(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += 1 / rate
        await asyncio.wait(under_way, timeout=30) if under_way else None

    async def play(self) -> dict[str, Any]:
        """Play the plan and return what came of it."""
        begin = time.perf_counter()
        self.counts_from = begin + self.plan.get("warm", 0.0)
        end = self.counts_from + self.plan["seconds"]
        if self.plan.get("rate"):
            await self.opened(begin, end, self.plan["rate"])
        else:
            await asyncio.gather(*(self.closed(end) for _ in range(self.plan["connections"])))
        ordered = sorted(self.latencies)
        found: dict[str, Any] = {
            "requests": len(ordered),
            "per_second": len(ordered) / self.plan["seconds"],
            "statuses": dict(self.statuses),
            **{f"p{share}_ms": 1e3 * _at(ordered, share / 100) for share in (50, 90, 95, 99)},
            "max_ms": 1e3 * (ordered[-1] if ordered else 0.0),
        }
        if self.plan.get("keep"):
            found["bodies"] = self.bodies
        return found


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


if __name__ == "__main__":
    gc.disable()  # a pause of the generator would be counted as the service's
    Path(sys.argv[1]).write_text(json.dumps(uvloop.run(Load(json.load(sys.stdin)).play())))
